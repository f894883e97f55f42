"""Every setting, declared once, and the defaults that depend on other settings.

Secrets come from the environment only, never show in a repr and never travel in run config.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.settings import kinds
from danbooru_pipeline.settings.declaration import setting
from danbooru_pipeline.settings.environment import EnvironmentSource, unknown_variables
from danbooru_pipeline.version import version

DEFAULT_ROOT: Final = Path("data")
# Danbooru's ingress allows 10 requests a second from one address; staff ask to stay below that in total.
POLITE_REQUESTS_PER_SECOND: Final = 8.0
POLITE_DOWNLOADS_PARALLEL: Final = 4
#: Following has all night: some 2,000 files at this pace take less than an hour.
FOLLOW_REQUESTS_PER_SECOND: Final = 2.0
LOOPBACK_REQUESTS_PER_SECOND: Final = 500.0
LOOPBACK_DOWNLOADS_PARALLEL: Final = 8


class Settings(BaseSettings):
    """What an operator can choose. Each field is the environment variable ``DANBOORU_`` + its name in capitals.

    ``Settings(root=…)`` takes values from its keywords alone, `from_env` from an environment alone. Both are immutable.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=False, hide_input_in_errors=True)

    root: kinds.Folder = setting("folder of the store, the metadata and the releases", default=DEFAULT_ROOT)
    api_url: kinds.SiteUrl = setting("address of the booru's site and JSON API", default="https://danbooru.donmai.us")
    cdn_url: kinds.SiteUrl = setting("address of the host that serves files", default="https://cdn.donmai.us")
    contact: str = setting(
        "mail or web address of the operator, sent in the User-Agent; required unless both hosts are loopback",
        default="",
    )
    login: str = setting("name of the booru account to use", default="")
    api_key: str = setting("API key of that account", default="", secret=True)
    posts_source: kinds.PostsSource = setting(
        "where posts come from: `api`, `bigquery`, `dump` or `archive`", default="api"
    )
    tables_source: kinds.PostsSource | None = setting(
        "where side tables come from: one of the same names", default_text="as `DANBOORU_POSTS_SOURCE`"
    )
    dump: str = setting("folder, `http(s)://` or `gs://` address of the dumps, for the source `dump`", default="")
    archive: str = setting(
        "metadata folder or `metadata.json.tar.xz` of an earlier release, for the source `archive`", default=""
    )
    bigquery_tables: str = setting("project and dataset of the public mirror", default="danbooru1.danbooru_public")
    bigquery_grpc: str = setting(
        "`host:port` of an emulator's Storage Read API, used with `BIGQUERY_EMULATOR_HOST`; empty for the real one",
        default="",
    )
    requests_per_second: kinds.Rate | None = setting(
        "upper limit on requests per second, to all hosts together",
        default_text="`8`, or `500` on loopback",
        unit="requests/s",
    )
    downloads_parallel: kinds.Count | None = setting(
        "upper limit on downloads in flight", default_text="`4`, or `8` on loopback", unit="downloads"
    )
    workers: kinds.Count = setting(
        "image worker processes",
        default_factory=lambda: os.cpu_count() or 1,
        default_text="one per core",
        unit="processes",
    )
    exclude_tags: kinds.Words | None = setting(
        "tags, separated by spaces or commas; posts with any of them get no file in any release. `none`, or an "
        "empty value, excludes no tag. Until it is set, nothing from a public host is published",
        allow_empty=True,
    )
    accept_incomplete: kinds.Reasons = setting(
        "what may be missing from a release and why, like `tags: gone upstream since 2023`; separate several by "
        "semicolons. The reasons become part of RELEASE.json",
        default_factory=dict,
        default_text="nothing",
    )
    hash_blocklist: kinds.Folder | None = setting(
        "private file of MD5 and SHA-256 hashes, one per line; posts with such a file are taken down"
    )
    publisher: kinds.Line = setting("publisher's name, as used in citations", default="Anonymous", former_name="MAKER")
    removal_contact: kinds.Line = setting(
        "where to ask for a removal", default="", default_text="as `DANBOORU_CONTACT`"
    )
    public_url: kinds.PublicUrl = setting("address below which the releases are served", default="")
    static_address: kinds.StoreAddress = setting(
        "address that releases are published to, of any kind that fsspec knows, like `s3://bucket/releases`; "
        "credentials are those of its own tools, from the environment",
        default="",
    )
    hub_owner: kinds.HubOwner = setting(
        "user or organisation of the Hugging Face Hub that releases are published for, as `OWNER/danbooru2022`; the "
        "token is `HF_TOKEN`",
        default="",
    )
    webdataset: kinds.Switch = setting("`on` also ships the 512px images as one tar per bucket", default=False)
    torrent: kinds.Switch = setting("`on` makes a torrent of `metadata.json.tar.xz`", default=False)
    dialect_2017: kinds.Switch = setting(
        "`on` also writes posts in the JSON format of 2017 to 2020, for tools that read it", default=False
    )
    corrected: kinds.Switch = setting(
        "`on` also writes posts with what reviewers decided about their tags, to `parquet-corrected/`", default=False
    )
    signing_key: kinds.Folder | None = setting("SSH private key, without a passphrase, that signs `SHA256SUMS`")
    mirrors: kinds.Mirrors = setting(
        "addresses below which mirrors serve their copies, with `danbooru2022.trace` beside `danbooru2022/`, separated "
        "by spaces or commas; each day they are asked what they hold, for `releases/mirrors.html`",
        default=(),
    )
    grace_days: kinds.WholeDays = setting(
        "how long a replaced version of a release stays beside its successor, as `danbooru2022.0`, for mirrors that "
        "read it; 0 removes it at once. One that has an image which its successor lacks never stays",
        default=7,
        unit="days",
    )
    first_year: kinds.Year = setting("first release year", default=2021)
    min_free_bytes: kinds.Bytes = setting(
        "stop when free space on the root's disk would fall below this",
        default=256 * 2**20,
        default_text="256 MiB",
        unit="bytes",
    )
    retry_seconds: kinds.Seconds = setting(
        "longest total wait between the attempts of one request", default=120.0, unit="seconds"
    )
    png_level: kinds.PngLevel = setting(
        "effort of lossless PNG optimisation, 0 to 6; level 3 takes 1.6 times the CPU time of level 2 and saves up to "
        "1 percentage point more",
        default=2,
    )
    jpg_archive: kinds.JpgArchive = setting(
        "`jxl` keeps JPG originals as JPEG XL, a fifth smaller; `export originals` gives the same files back",
        default="off",
    )
    px512_quality: kinds.JpegQuality = setting("JPEG quality of 512px images, 1 to 100", default=90)
    px512_background: kinds.Background = setting(
        "background of transparent pictures: `white`, `black` or `contrast` (white, or black or grey where more of "
        "the picture remains visible)",
        default="contrast",
    )
    max_pixels: kinds.Pixels = setting("pictures with more pixels are not decoded", default=200_000_000, unit="pixels")
    automation: kinds.Switch = setting(
        "`on` enables sensors and schedules by default; with `off`, enable them in the UI", default=False
    )
    settling_days: kinds.Days = setting(
        "how long after New Year the yearly rebuild waits for recent metadata to stabilise", default=21.0, unit="days"
    )
    publish_pending: kinds.Whole = setting(
        "how many pending posts may be left for the yearly release to be published by itself, after one more try; with "
        "more it waits for the job `finish_release`, and with 0 for every file",
        default=20,
    )
    follow: kinds.Switch = setting(
        "`on` enables the nightly schedule that follows the running year by default; with `off`, enable it in the UI",
        default=False,
    )
    follow_delay_hours: kinds.Hours = setting(
        "following leaves posts alone until they are so old, since uploads are edited at first",
        default=12.0,
        unit="hours",
    )
    follow_requests_per_second: kinds.Rate | None = setting(
        "upper limit on requests per second while following",
        default_text="`2`, or as `DANBOORU_REQUESTS_PER_SECOND` on loopback or where that is less",
        unit="requests/s",
    )
    poll_seconds: kinds.Seconds = setting(
        "how often the yearly sensor asks the source; a release starts after three identical answers in a row",
        default=21_600.0,
        unit="seconds",
        former_name="LOOK_SECONDS",
    )
    ui_url: kinds.WebUrl = setting("address of the Dagster UI, for links in messages", default="http://127.0.0.1:3000")
    notify_to: kinds.Words = setting(
        "mail addresses, separated by spaces or commas, that are notified of failures and releases", default=()
    )
    notify_from: str = setting("sender of those mails", default="", default_text="first of `DANBOORU_NOTIFY_TO`")
    smtp_url: kinds.SmtpUrl = setting(
        "mail server, like `smtp://user:password@mail.example.org:587`", default="", secret=True
    )
    webhook_url: kinds.WebUrl = setting(
        'address that receives failures and releases as JSON, `{"text": …}`', default="", secret=True
    )
    heartbeat_url: kinds.WebUrl = setting(
        "address that the daemon asks for each minute as long as it lives; a monitor there notices when it stops",
        default="",
        secret=True,
    )

    @property
    def excluded(self) -> frozenset[str]:
        """Tags whose posts get no file; empty before there is a decision."""
        return frozenset(self.exclude_tags or ())

    @property
    def on_loopback(self) -> bool:
        """Whether both hosts are this machine, as in the demo and the tests."""
        return kinds.is_loopback(self.api_url) and kinds.is_loopback(self.cdn_url)

    @property
    def user_agent(self) -> str:
        """``danbooru-pipeline/VERSION (+CONTACT)``: the site blocks clients that pretend to be browsers."""
        return f"danbooru-pipeline/{version().number} (+{self.contact or 'loopback'})"

    @property
    def pace(self) -> float:
        """Requests per second, the default filled in."""
        polite = LOOPBACK_REQUESTS_PER_SECOND if self.on_loopback else POLITE_REQUESTS_PER_SECOND
        return polite if self.requests_per_second is None else self.requests_per_second

    @property
    def follow_pace(self) -> float:
        """Requests per second while following, the default filled in; never more than for anything else."""
        polite = self.pace if self.on_loopback else FOLLOW_REQUESTS_PER_SECOND
        return min(self.pace, self.follow_requests_per_second or polite)

    @property
    def downloads(self) -> int:
        """Parallel downloads, the default filled in."""
        polite = LOOPBACK_DOWNLOADS_PARALLEL if self.on_loopback else POLITE_DOWNLOADS_PARALLEL
        return polite if self.downloads_parallel is None else self.downloads_parallel

    @property
    def side_tables_source(self) -> str:
        """Where side tables come from, the default filled in."""
        return self.tables_source or self.posts_source

    @property
    def removal_address(self) -> str:
        """Where to ask for a removal, the default filled in."""
        return self.removal_contact or self.contact

    @property
    def mail_sender(self) -> str:
        """Sender of mails, the default filled in; empty when nobody receives any."""
        return self.notify_from or next(iter(self.notify_to), "")

    def in_force(self) -> dict[str, Any]:
        """Field -> value, with the defaults that follow from other settings filled in."""
        return dict(self) | {
            "requests_per_second": self.pace,
            "follow_requests_per_second": self.follow_pace,
            "downloads_parallel": self.downloads,
            "tables_source": self.side_tables_source,
            "removal_contact": self.removal_address,
            "notify_from": self.mail_sender,
        }

    def replace(self, **changes: Any) -> Self:
        """The same settings with some changed; defaults stay defaults."""
        return type(self)(**{name: getattr(self, name) for name in self.model_fields_set} | changes)

    @classmethod
    def settings_customise_sources(cls, *_model: Any, **sources: Any) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keywords alone: a test or the demo must not depend on the environment that it runs in."""
        return (sources["init_settings"],)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, *, offline: bool = False) -> Self:
        """Read all settings; `offline` ones, for commands that ask nobody, need no contact.

        Raises:
            SettingsError: some are not valid (it has a line for each), or the contact is missing.
        """
        source = EnvironmentSource(cls, environ)
        try:
            settings = cls(**source())
        except ValidationError as error:
            raise SettingsError(*source.complaints(error)) from None
        if not offline:
            settings.require_contact()
        return settings

    @classmethod
    def from_env_with_defaults(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read all settings, with the default in place of each that is not valid.

        For what is decided at import: a code location must load whatever the settings are, to say in the UI what is
        wrong with them.
        """
        texts = EnvironmentSource(cls, environ)()
        try:
            return cls(**texts)
        except ValidationError as error:
            wrong = {problem["loc"][0] for problem in error.errors(include_url=False)}
            return cls(**{field: text for field, text in texts.items() if field not in wrong})

    def require_contact(self) -> None:
        """Refuse to talk to a public host without saying who we are.

        Raises:
            SettingsError: no contact, and a host is not loopback.
        """
        if bool(self.login) != bool(self.api_key):
            raise SettingsError("only one of DANBOORU_LOGIN and DANBOORU_API_KEY is set; set both or neither")
        if self.on_loopback:
            return
        if not self.contact:
            raise SettingsError(
                "no contact is set and the source is a public host; set DANBOORU_CONTACT to your mail or web address",
            )
        if not self.contact.isascii() or not self.contact.isprintable():
            raise SettingsError("DANBOORU_CONTACT cannot go into a header; set it to plain printable ASCII")

    @classmethod
    def unknown(cls, environ: Mapping[str, str] = os.environ) -> list[str]:
        """Names that look like a setting and are not: most likely misspelt."""
        return unknown_variables(cls, environ)

"""Every setting, declared once: name, default, unit and help. Read from ``DANBOORU_*`` variables and from nowhere else.

Secrets (the API key) come from the environment only, never show in a repr and never travel in run config.
"""

import dataclasses
import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.version import version

PREFIX = "DANBOORU_"
POSTS_SOURCES = ("api", "bigquery", "dump", "archive")
BACKGROUNDS = ("contrast", "white", "black")
ARCHIVES = ("off", "jxl")

# Danbooru's ingress allows 10 requests a second from one address; staff ask to stay below that in total.
POLITE_REQUESTS_PER_SECOND = 8.0
POLITE_DOWNLOADS_PARALLEL = 4
LOOPBACK_REQUESTS_PER_SECOND = 500.0
LOOPBACK_DOWNLOADS_PARALLEL = 8


def _setting(
    default: Any,
    help_: str,
    *,
    unit: str = "",
    parse: Callable[[str], Any] = str,
    secret: bool = False,
    empty_says: bool = False,
) -> Any:
    """Declare one; `empty_says`: that the variable is set is an answer, even when it is empty."""
    metadata = {"help": help_, "unit": unit, "parse": parse, "secret": secret, "empty_says": empty_says}
    if callable(default):
        return field(default_factory=default, metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


def _parse_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ValueError("an address like https://danbooru.donmai.us")
    if url.username or url.password:
        raise ValueError("an address without a login in it; use DANBOORU_LOGIN and DANBOORU_API_KEY")
    if url.scheme == "http" and not is_loopback(text):
        raise ValueError("https (plain http is for loopback only)")
    return text.rstrip("/")


def _parse_tags(text: str) -> tuple[str, ...]:
    """Tags; ``none`` and nothing at all both say that no tag is excluded."""
    tags = tuple(text.replace(",", " ").split())
    return () if tags == ("none",) else tags


def _parse_public_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname or url.username or any(c in text for c in "\"'<>{} "):
        raise ValueError("the address of the folder of releases, like https://data.example.org/releases")
    return text.rstrip("/")


def _parse_one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("one line of text")
    return text


def _number(kind: type[int] | type[float], *, above: float) -> Callable[[str], Any]:
    def parse(text: str) -> float:
        value = kind(text)
        if not value > above or value == float("inf"):
            raise ValueError(f"a number above {above:g}")
        return value

    return parse


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return text

    return parse


def _parse_year(text: str) -> int:
    year = int(text)
    if not 2005 <= year <= 9999:
        raise ValueError("a year from 2005, when the site began")
    return year


def _parse_png_level(text: str) -> int:
    level = int(text)
    if not 0 <= level <= 6:
        raise ValueError("a level from 0 to 6")
    return level


def _parse_switch(text: str) -> bool:
    if text.lower() not in {"on", "off"}:
        raise ValueError("on or off")
    return text.lower() == "on"


def _parse_smtp(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in {"smtp", "smtps"} or not url.hostname:
        raise ValueError("an address like smtp://user:password@mail.example.org:587")
    return text


def _parse_web(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ValueError("an address like https://hooks.example.org/T0/B0")
    return text


def _parse_quality(text: str) -> int:
    quality = int(text)
    if not 1 <= quality <= 100:
        raise ValueError("a JPEG quality from 1 to 100")
    return quality


def is_loopback(url: str) -> bool:
    """Whether an address can only mean this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator can choose. Each field is the environment variable ``DANBOORU_`` + its name in capitals."""

    root: Path = _setting(lambda: Path("data"), "folder of store, metadata and releases", parse=Path)
    api_url: str = _setting("https://danbooru.donmai.us", "address of the booru's site and JSON API", parse=_parse_url)
    cdn_url: str = _setting("https://cdn.donmai.us", "address of the host that serves files", parse=_parse_url)
    contact: str = _setting(
        "", "mail or web address of the operator, sent in the User-Agent; required unless both hosts are loopback"
    )
    login: str = _setting("", "name of the booru account to use")
    api_key: str = _setting("", "API key of that account", secret=True)
    posts_source: str = _setting(
        "api", "where posts come from: " + ", ".join(POSTS_SOURCES), parse=_one_of(POSTS_SOURCES)
    )
    tables_source: str = _setting(
        "",
        "where side tables come from, when from elsewhere than posts: one of the same names",
        parse=_one_of(POSTS_SOURCES),
    )
    dump: str = _setting("", "folder, http(s):// or gs:// address of the dumps, for the source dump")
    archive: str = _setting("", "metadata folder or metadata.json.tar.xz, for the source archive")
    bigquery_tables: str = _setting("danbooru1.danbooru_public", "project and dataset of the public mirror")
    bigquery_grpc: str = _setting("", "host:port of an emulator's Storage Read API; empty for the real one")
    requests_per_second: float = _setting(
        0.0,
        "most requests a second, to all hosts together; default 8, or 500 when both hosts are loopback",
        unit="requests/s",
        parse=_number(float, above=0),
    )
    downloads_parallel: int = _setting(
        0,
        "most downloads at once; default 4, or 8 when both hosts are loopback",
        unit="downloads",
        parse=_number(int, above=0),
    )
    workers: int = _setting(
        lambda: os.cpu_count() or 1,
        "image worker processes; default one a core",
        unit="processes",
        parse=_number(int, above=0),
    )
    exclude_tags: tuple[str, ...] | None = _setting(
        None,
        "tags, separated by spaces or commas, whose posts get no file in any release; `none` for no tags; "
        "nothing is published from public hosts until it is set",
        parse=_parse_tags,
        empty_says=True,
    )
    hash_blocklist: Path | None = _setting(
        None, "private file of MD5 and SHA-256, one a line; posts with such a file are taken down", parse=Path
    )
    maker: str = _setting("Anonymous", "who publishes the releases, as they are cited", parse=_parse_one_line)
    removal_contact: str = _setting("", "where to ask for a removal; default the contact", parse=_parse_one_line)
    public_url: str = _setting("", "address below which the releases are served", parse=_parse_public_url)
    webdataset: bool = _setting(
        default=False, help_="also ship the 512px images as one tar a bucket: on or off", parse=_parse_switch
    )
    torrent: bool = _setting(
        default=False, help_="make a torrent of metadata.json.tar.xz: on or off", parse=_parse_switch
    )
    dialect_2017: bool = _setting(
        default=False,
        help_="also write the posts as Danbooru2017 to 2020 had them, for their readers: on or off",
        parse=_parse_switch,
    )
    signing_key: Path | None = _setting(None, "SSH private key without a passphrase that signs SHA256SUMS", parse=Path)
    first_year: int = _setting(2021, "first release year", unit="year", parse=_parse_year)
    min_free_bytes: int = _setting(
        256 * 2**20,
        "stop before the disk of the root has less free space than this",
        unit="bytes",
        parse=_number(int, above=-1),
    )
    retry_seconds: float = _setting(
        120.0, "longest time spent on retrying one request", unit="seconds", parse=_number(float, above=0)
    )
    png_level: int = _setting(
        2,
        "effort of lossless PNG optimisation; 1 halves its CPU time for 1 point less saving",
        unit="0-6",
        parse=_parse_png_level,
    )
    jpg_archive: Literal["off", "jxl"] = _setting(
        "off",
        "`jxl` keeps JPG originals as JPEG XL, a fifth smaller; `export originals` gives the same files back; or off",
        parse=_one_of(ARCHIVES),
    )
    px512_quality: int = _setting(90, "JPEG quality of 512px images", unit="1-100", parse=_parse_quality)
    px512_background: Literal["contrast", "white", "black"] = _setting(
        "contrast",
        "behind transparent pictures: contrast (white, or black where the content would vanish), white or black",
        parse=_one_of(BACKGROUNDS),
    )
    max_pixels: int = _setting(
        200_000_000, "larger pictures are not decoded", unit="pixels", parse=_number(int, above=0)
    )
    automation: bool = _setting(
        False,  # noqa: FBT003 - the default of a setting
        "whether sensors and schedules are on before anyone switches them in the UI; on or off",
        parse=_parse_switch,
    )
    settling_days: float = _setting(
        21.0,
        "how long after New Year the yearly rebuild waits for recent metadata to stabilise",
        unit="days",
        parse=_number(float, above=-1),
    )
    look_seconds: float = _setting(
        21_600.0,
        "how often the yearly sensor looks at the source; it wants the same answer three times in a row",
        unit="seconds",
        parse=_number(float, above=0),
    )
    ui_url: str = _setting(
        "http://127.0.0.1:3000", "address of the Dagster UI, for links in messages", parse=_parse_web
    )
    notify_to: tuple[str, ...] = _setting(
        (), "mail addresses, separated by spaces or commas, that hear of failures and releases", parse=_parse_tags
    )
    notify_from: str = _setting("", "sender of those mails; default the first of DANBOORU_NOTIFY_TO")
    smtp_url: str = _setting(
        "", "mail server, like `smtp://user:password@mail.example.org:587`", parse=_parse_smtp, secret=True
    )
    webhook_url: str = _setting(
        "", 'address that gets failures and releases as JSON, `{"text": …}`', parse=_parse_web, secret=True
    )

    @property
    def excluded(self) -> frozenset[str]:
        """Tags whose posts get no file; none before there is a decision."""
        return frozenset(self.exclude_tags or ())

    @property
    def on_loopback(self) -> bool:
        """Whether both hosts are this machine, as in the demo and the tests."""
        return is_loopback(self.api_url) and is_loopback(self.cdn_url)

    @property
    def user_agent(self) -> str:
        """``danbooru-pipeline/VERSION (+CONTACT)``: the site blocks clients that pretend to be browsers."""
        return f"danbooru-pipeline/{version().number} (+{self.contact or 'loopback'})"

    @property
    def pace(self) -> float:
        """Requests a second, the default filled in."""
        return self.requests_per_second or (
            LOOPBACK_REQUESTS_PER_SECOND if self.on_loopback else POLITE_REQUESTS_PER_SECOND
        )

    @property
    def downloads(self) -> int:
        """Parallel downloads, the default filled in."""
        return self.downloads_parallel or (
            LOOPBACK_DOWNLOADS_PARALLEL if self.on_loopback else POLITE_DOWNLOADS_PARALLEL
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, *, offline: bool = False) -> "Settings":
        """Read all settings; `offline` ones, for commands that ask nobody, need no contact.

        Raises:
            SettingsError: one is not valid, or the contact is missing.
        """
        known = {PREFIX + f.name.upper(): f for f in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for name, setting in known.items():
            text = environ.get(name, "").strip()
            if not text and not (setting.metadata["empty_says"] and name in environ):
                continue
            try:
                values[setting.name] = setting.metadata["parse"](text)
            except ValueError as error:
                shown = "the value" if setting.metadata["secret"] else repr(text)
                wanted = str(error) if setting.metadata["parse"] not in {int, float} else "a number"
                raise SettingsError(f"{name} is {shown}, which is not valid; set it to {wanted}") from None
        settings = cls(**values)
        if not offline:
            settings.require_contact()
        return settings

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
        """Names that look like a setting and are none: most likely misspelt."""
        known = {PREFIX + f.name.upper() for f in dataclasses.fields(cls)}
        return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)

    def shown(self) -> dict[str, str]:
        """Every setting as text, for people; secrets as ``***``."""
        return {
            PREFIX + f.name.upper(): "***"
            if f.metadata["secret"] and getattr(self, f.name)
            else str(getattr(self, f.name))
            for f in dataclasses.fields(self)
        }

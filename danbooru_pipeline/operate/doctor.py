"""What an operator wants to know before a long build, and first when something is odd. Each question, one finding.

Changes nothing but a few bytes in a temporary folder of the root, which are gone when it ends.
"""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import httpx
import pyvips

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import DanbooruPipelineError
from danbooru_pipeline.io.atomic import link_or_copy
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.notify import channels
from danbooru_pipeline.operate.preflight import nearest_folder
from danbooru_pipeline.operate.readiness import look_at
from danbooru_pipeline.progress import human_bytes
from danbooru_pipeline.settings import PREFIX, Settings
from danbooru_pipeline.years import cutoff, finished_years

#: libvips loaders that 512px images are made with.
LOADERS: Final = ("jpegload", "pngload", "gifload", "webpload", "heifload")
#: A file of the store and its name in a release need an inode; fewer free ones than this will not last a year.
MIN_FREE_INODES: Final = 1_000_000
#: A clock that is further off than this would move posts over New Year, and break TLS.
MAX_CLOCK_SECONDS: Final = 60.0
TIMEOUT_SECONDS: Final = 15.0


class Health(StrEnum):
    """How a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question; what is not ok ends by saying what to do."""

    name: str
    health: Health
    text: str

    def line(self) -> str:
        """For people."""
        return f"{self.health:8}{self.name}: {self.text}"

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


Check = Callable[[Settings], Finding]


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings, one after the other; an examination that fails itself is a finding."""
    for check in CHECKS:
        name = check.__name__.removeprefix("check_")
        try:
            yield check(settings)
        except (OSError, DanbooruPipelineError, httpx.HTTPError) as error:
            yield Finding(name, Health.ERROR, str(error) or type(error).__name__)


def check_settings(settings: Settings) -> Finding:
    """Whether there is a contact, and whether any variable is misspelt."""
    settings.require_contact()
    unknown = Settings.unknown()
    if unknown:
        return Finding("settings", Health.WARNING, f"{', '.join(unknown)} are no settings; correct or remove them")
    return Finding("settings", Health.OK, f"contact {settings.contact or 'not needed on loopback'}")


def check_disk(settings: Settings) -> Finding:
    """Free bytes of the root."""
    free = shutil.disk_usage(nearest_folder(settings.root)).free
    text = f"{human_bytes(free)} free at {settings.root}"
    if free < settings.min_free_bytes:
        least = f"less than {PREFIX}MIN_FREE_BYTES ({human_bytes(settings.min_free_bytes)})"
        return Finding("disk", Health.ERROR, f"{text}, {least}; free some, or set {PREFIX}ROOT to another disk")
    return Finding("disk", Health.OK, text)


def check_inodes(settings: Settings) -> Finding:
    """Free inodes of the root; some file systems have no limit and say zero."""
    facts = os.statvfs(nearest_folder(settings.root))
    text = f"{facts.f_favail:,} of {facts.f_files:,} free"
    if facts.f_files and facts.f_favail < MIN_FREE_INODES:
        return Finding("inodes", Health.WARNING, f"{text}; 10 M images take 20 M, use a file system with more")
    return Finding("inodes", Health.OK, text if facts.f_files else "no limit")


def check_hard_links(settings: Settings) -> Finding:
    """Whether store and releases share files, or every release would be a copy."""
    layout = Layout(settings.root)
    folders = [nearest_folder(layout.store), nearest_folder(layout.releases)]
    with (
        tempfile.TemporaryDirectory(prefix=".doctor-", dir=folders[0]) as one,
        tempfile.TemporaryDirectory(prefix=".doctor-", dir=folders[1]) as other,
    ):
        source = Path(one) / "file"
        source.write_bytes(b"doctor")
        linked = link_or_copy(source, Path(other) / "file")
    if not linked:
        text = f"{folders[0]} and {folders[1]} cannot share files, so releases take full space; use one disk"
        return Finding("hard_links", Health.WARNING, text)
    return Finding("hard_links", Health.OK, "store and releases share files")


def check_libvips(_settings: Settings) -> Finding:
    """Whether the decoders are there."""
    missing = [name for name in LOADERS if not pyvips.type_find("VipsOperation", name)]
    version = ".".join(str(pyvips.version(part)) for part in range(3))
    if missing:
        text = f"libvips {version} lacks {', '.join(missing)}; reinstall pyvips-binary"
        return Finding("libvips", Health.ERROR, text)
    return Finding("libvips", Health.OK, f"{version} with {', '.join(LOADERS)}")


def check_credentials(settings: Settings) -> Finding:
    """Which credentials are there; never what they are."""
    there = {
        "booru account": bool(settings.login and settings.api_key),
        "Google credentials": bool(os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")),
        "notification": bool(channels(settings)),
    }
    text = ", ".join(f"{name} {'set' if has else 'not set'}" for name, has in there.items())
    needs_google = settings.posts_source == "bigquery" and not os.environ.get("BIGQUERY_EMULATOR_HOST")
    if needs_google and not there["Google credentials"]:
        return Finding("credentials", Health.ERROR, f"{text}; set GOOGLE_APPLICATION_CREDENTIALS, or another source")
    if not there["notification"]:
        return Finding("credentials", Health.WARNING, f"{text}; nobody hears of failures, set {PREFIX}WEBHOOK_URL")
    return Finding("credentials", Health.OK, text)


def check_clock(settings: Settings) -> Finding:
    """This machine's clock against that of the site."""
    with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=not settings.on_loopback) as client:
        answer = client.head(settings.api_url, headers={"User-Agent": settings.user_agent})
    theirs = answer.headers.get("date")
    if theirs is None:
        return Finding("clock", Health.WARNING, f"{settings.api_url} tells no time; compare the clock by hand")
    off = abs(time.time() - parsedate_to_datetime(theirs).timestamp())
    if off > MAX_CLOCK_SECONDS:
        return Finding("clock", Health.ERROR, f"{off:.0f} s apart from the site's; set it, best by NTP")
    return Finding("clock", Health.OK, f"within {max(off, 1):.0f} s of the site's")


def check_source(settings: Settings) -> Finding:
    """Whether the source answers, and whether it covers the newest year that is over."""
    with RunContext(settings) as context:
        context.source.probe()
        years = finished_years(settings.first_year, now=datetime.now(UTC))
        if not years:
            return Finding("source", Health.OK, f"{settings.api_url} answers")
        look = look_at(context.source, years[-1])
    text = f"{context.source.name} answers, {years[-1]}: {look}"
    if not look.covers:
        limit = cutoff(years[-1]) + timedelta(seconds=1)
        text += f"; it has no post from {limit:%Y-%m-%d} on, so it is stale: take another {PREFIX}POSTS_SOURCE, or wait"
        return Finding("source", Health.WARNING, text)
    return Finding("source", Health.OK, text)


def check_dagster_home(settings: Settings) -> Finding:
    """Whether Dagster would remember anything, and whether its folder is fit for secrets."""
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        text = f"not set, so `build` uses {Layout(settings.root).dagster_home} and `dagster dev` forgets everything"
        return Finding("dagster_home", Health.WARNING, f"{text}; export DAGSTER_HOME")
    config = Path(home) / "dagster.yaml"
    if not config.exists():
        return Finding("dagster_home", Health.WARNING, f"{config} is not there; copy one of deploy/ there")
    if config.stat().st_mode & stat.S_IWOTH:
        return Finding("dagster_home", Health.ERROR, f"everybody may write {config}; chmod o-w it")
    return Finding("dagster_home", Health.OK, str(config))


CHECKS: Final[tuple[Check, ...]] = (
    check_settings,
    check_disk,
    check_inodes,
    check_hard_links,
    check_libvips,
    check_credentials,
    check_clock,
    check_source,
    check_dagster_home,
)

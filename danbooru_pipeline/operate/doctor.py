"""Checks an operator runs before a long build, or when something looks wrong. One finding per check.

It writes nothing but a few bytes in a temporary folder of the root, which it removes.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import httpx
import pyvips

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import DanbooruPipelineError
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.fetch.site_clock import off_line
from danbooru_pipeline.io.atomic import link_or_copy
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.follow import follow_status
from danbooru_pipeline.operate.notify import channels
from danbooru_pipeline.operate.preflight import nearest_folder
from danbooru_pipeline.operate.readiness import look_at
from danbooru_pipeline.operate.state_files import find_damage, repair
from danbooru_pipeline.posts.takedowns import unfinished_takedowns
from danbooru_pipeline.progress import human_bytes
from danbooru_pipeline.settings import PREFIX, Settings
from danbooru_pipeline.years import cutoff, finished_years

#: libvips loaders that 512px images need.
LOADERS: Final = ("jpegload", "pngload", "gifload", "webpload", "heifload")
#: Fewer free inodes than this will not last a year.
MIN_FREE_INODES: Final = 1_000_000
#: A clock further off than this would move posts across New Year, and break TLS.
MAX_CLOCK_SECONDS: Final = 60.0


class Health(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; a text that is not ok ends by saying what to do."""

    name: str
    health: Health
    text: str

    def line(self) -> str:
        """One line for people."""
        return f"{self.health:8}{self.name}: {self.text}"

    def as_dict(self) -> dict[str, Any]:
        """A JSON object for programs."""
        return asdict(self)


Check = Callable[[Settings], Finding]


def examine(settings: Settings) -> Iterator[Finding]:
    """Run all checks; a check that fails with an error becomes a finding."""
    for check in CHECKS:
        name = check.__name__.removeprefix("check_")
        try:
            yield check(settings)
        except (OSError, DanbooruPipelineError, httpx.HTTPError) as error:
            yield Finding(name, Health.ERROR, str(error) or type(error).__name__)


def check_settings(settings: Settings) -> Finding:
    """Check for a contact, and for misspelt variables."""
    settings.require_contact()
    unknown = Settings.unknown()
    if unknown:
        return Finding("settings", Health.WARNING, f"{', '.join(unknown)} are unknown settings; correct or remove them")
    return Finding("settings", Health.OK, f"contact {settings.contact or 'not needed on loopback'}")


def check_disk(settings: Settings) -> Finding:
    """Check the free bytes of the root's disk."""
    free = shutil.disk_usage(nearest_folder(settings.root)).free
    text = f"{human_bytes(free)} free at {settings.root}"
    if free < settings.min_free_bytes:
        least = f"less than {PREFIX}MIN_FREE_BYTES ({human_bytes(settings.min_free_bytes)})"
        return Finding("disk", Health.ERROR, f"{text}, {least}; free some, or set {PREFIX}ROOT to another disk")
    return Finding("disk", Health.OK, text)


def check_inodes(settings: Settings) -> Finding:
    """Check the free inodes of the root's disk; file systems without a limit report zero."""
    facts = os.statvfs(nearest_folder(settings.root))
    text = f"{facts.f_favail:,} of {facts.f_files:,} free"
    if facts.f_files and facts.f_favail < MIN_FREE_INODES:
        return Finding("inodes", Health.WARNING, f"{text}; 10 M images take 20 M, use a file system with more")
    return Finding("inodes", Health.OK, text if facts.f_files else "no limit")


def check_hard_links(settings: Settings) -> Finding:
    """Check that a hard link from releases to the store works; without it every release is a full copy."""
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
    """Check that libvips has the decoders."""
    missing = [name for name in LOADERS if not pyvips.type_find("VipsOperation", name)]
    version = ".".join(str(pyvips.version(part)) for part in range(3))
    if missing:
        text = f"libvips {version} lacks {', '.join(missing)}; reinstall pyvips-binary"
        return Finding("libvips", Health.ERROR, text)
    return Finding("libvips", Health.OK, f"{version} with {', '.join(LOADERS)}")


def check_credentials(settings: Settings) -> Finding:
    """List which credentials are set; never their values."""
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
        return Finding("credentials", Health.WARNING, f"{text}; no channel reports failures, set {PREFIX}WEBHOOK_URL")
    return Finding("credentials", Health.OK, text)


def check_clock(settings: Settings) -> Finding:
    """Compare this machine's clock with the site's."""
    with BooruClient(settings) as client:
        ahead = client.seconds_ahead()
    if ahead is None:
        text = f"no Date header came from {settings.api_url} that can be believed; check the clock by hand"
        return Finding("clock", Health.WARNING, text)
    if abs(ahead) > MAX_CLOCK_SECONDS:
        return Finding("clock", Health.ERROR, off_line(ahead))
    return Finding("clock", Health.OK, f"within {max(abs(ahead), 1):.0f} s of the site's")


def check_source(settings: Settings) -> Finding:
    """Check that the source responds, and that it covers the latest finished year."""
    with RunContext(settings) as context:
        context.source.probe()
        years = finished_years(settings.first_year, now=datetime.now(UTC))
        if not years:
            return Finding("source", Health.OK, f"{settings.api_url} answers")
        look = look_at(context.source, years[-1])
    text = f"{context.source.name} answers, {years[-1]}: {look}"
    if not look.covers:
        limit = cutoff(years[-1]) + timedelta(seconds=1)
        text += f"; it has no post from {limit:%Y-%m-%d} on, so it is stale: use another {PREFIX}POSTS_SOURCE, or wait"
        return Finding("source", Health.WARNING, text)
    return Finding("source", Health.OK, text)


def check_dagster_home(settings: Settings) -> Finding:
    """Check that Dagster keeps its state, and that others cannot write its configuration."""
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        text = f"not set, so `build` and `ui` use {Layout(settings.root).dagster_home}"
        return Finding("dagster_home", Health.OK, text)
    config = Path(home) / "dagster.yaml"
    if not config.exists():
        return Finding("dagster_home", Health.WARNING, f"{config} does not exist; copy one from deploy/ there")
    if config.stat().st_mode & stat.S_IWOTH:
        return Finding("dagster_home", Health.ERROR, f"everyone can write to {config}; run chmod o-w on it")
    return Finding("dagster_home", Health.OK, str(config))


def check_follow(settings: Settings) -> Finding:
    """Check that following, once it has begun, goes on: a replaced file is deleted upstream after 30 days."""
    status = follow_status(Layout(settings.root))
    if status is None:
        return Finding("follow", Health.OK, "off; the running year is fetched in January")
    if status.is_late(datetime.now(UTC)):
        text = f"{status.line()}; run danbooru-pipeline follow, or start the schedule nightly_follow"
        return Finding("follow", Health.WARNING, text)
    return Finding("follow", Health.OK, status.line())


def check_takedowns(settings: Settings) -> Finding:
    """Check that no takedown was left unfinished, in the releases or at a place that they were published to."""
    left = unfinished_takedowns(Layout(settings.root))
    if left:
        return Finding("takedowns", Health.ERROR, "; ".join(left))
    return Finding("takedowns", Health.OK, "none is unfinished")


def check_files(settings: Settings) -> Finding:
    """Check that the files of the root can be read; see `state_files`."""
    found = list(find_damage(Layout(settings.root)))
    if not found:
        return Finding("files", Health.OK, f"those of {settings.root} can be read")
    first = found[0]
    more = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
    text = f"{first.line}{more}; run danbooru-pipeline doctor --repair"
    return Finding("files", Health.ERROR, text)


def repair_root(settings: Settings) -> Iterator[Finding]:
    """Make every damaged file of the root again, or set it aside for whoever does; one finding for each."""
    layout, clean = Layout(settings.root), True
    for damage in list(find_damage(layout)):
        clean = False
        try:
            yield Finding(damage.kind.name, Health.WARNING, repair(layout, damage))
        except (OSError, DanbooruPipelineError) as error:
            yield Finding(damage.kind.name, Health.ERROR, str(error))
    if clean:
        yield Finding("files", Health.OK, f"those of {settings.root} can be read; there is nothing to repair")


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
    check_follow,
    check_takedowns,
    check_files,
)

"""Refuses a build that cannot succeed, before it begins. Leaves nothing behind when it does."""

import contextlib
import shutil
import tempfile
from datetime import datetime
from pathlib import Path

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import SettingsError, StoreError
from danbooru_pipeline.fetch.site_clock import require_right_clock, wrong_clock
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.state_files import repair_history, require_takedowns
from danbooru_pipeline.operate.status import is_closed
from danbooru_pipeline.progress import human_bytes
from danbooru_pipeline.release_paths import release_name
from danbooru_pipeline.store.planning import YearPlan
from danbooru_pipeline.years import finished_years


def check_build(context: RunContext, year: int) -> None:
    """Refuse a build that cannot succeed: an unknown year, an unusable root, a silent source, a wrong clock.

    Raises:
        DanbooruPipelineError: with one line that says what to do.
    """
    check_year(year, first=context.settings.first_year, now=context.now())
    check_root(context.settings.root, min_free_bytes=context.settings.min_free_bytes)
    check_history(context.layout, year)
    require_takedowns(context.layout)
    context.source.probe()
    check_clock(context)
    repair_history(context.layout, year)


def check_clock(context: RunContext) -> None:
    """Refuse a clock that is surely wrong by more than a day: later runs would take what it dates for true.

    Raises:
        SettingsError: it is.
    """
    require_right_clock(_seconds_ahead(context))


def find_wrong_clock(context: RunContext) -> str | None:
    """What is wrong with the clock, for those who do not raise; None where nothing is, or nobody knows."""
    return wrong_clock(_seconds_ahead(context))


def _seconds_ahead(context: RunContext) -> float | None:
    """By how much the clock is ahead of the site's; None where nobody knows.

    A build from a copy may need nothing of the site, so it waits for no answer of it.
    """
    try:
        return context.client.seconds_ahead(patient=context.settings.posts_source == "api")
    except SettingsError:  # the site cannot be asked; who needs it for more says what it lacks
        return None


def check_year(year: int, *, first: int, now: datetime) -> None:
    """Refuse a year that can have no release.

    Raises:
        SettingsError: it is before the first year, or not over.
    """
    years = finished_years(first, now=now)
    if year in years:
        return
    if year < first:
        raise SettingsError(f"there is no release {year}: the first is {first}; set DANBOORU_FIRST_YEAR to change that")
    last = f"; the newest possible release is {years[-1]}" if years else ""
    raise SettingsError(f"there is no release {year} yet: a release is made when its year is over{last}")


def check_history(layout: Layout, year: int) -> None:
    """Refuse to rebuild a release that a later one builds on: its metadata would be today's.

    Raises:
        SettingsError: a later release is published.
    """
    if is_closed(layout, year):
        raise SettingsError(
            f"{release_name(year)} is closed, since a later release was made from the same store; it stays as it is "
            f"in {layout.release(year)}. Build a year that has no later release",
        )


def check_space(context: RunContext, plan: YearPlan) -> None:
    """Refuse to begin with downloads that will not fit.

    Raises:
        StoreError: the files still to be fetched are larger than the free space.
    """
    needed = plan.fetch_bytes
    free = shutil.disk_usage(nearest_folder(context.layout.root)).free
    if needed + context.settings.min_free_bytes > free:
        raise StoreError(
            f"the files to fetch need {human_bytes(needed)}, and {context.layout.root} has {human_bytes(free)} free; "
            "free some space, or set DANBOORU_ROOT to another disk, then run again",
        )


def check_root(root: Path, *, min_free_bytes: int) -> None:
    """Refuse a root that cannot be written or has no space; it tries the nearest folder that exists.

    Raises:
        StoreError: one of the two.
    """
    nearest = nearest_folder(root)
    try:
        with tempfile.TemporaryDirectory(prefix=".danbooru-pipeline-", dir=nearest):
            pass
        free = shutil.disk_usage(nearest).free
    except OSError as error:
        raise StoreError(
            f"the root {root} cannot be written ({error.strerror or error}); set DANBOORU_ROOT to a folder that can",
        ) from error
    if free < min_free_bytes:
        raise StoreError(
            f"the disk of {root} has {human_bytes(free)} free, less than DANBOORU_MIN_FREE_BYTES "
            f"({human_bytes(min_free_bytes)}); free some space or set DANBOORU_ROOT to another disk",
        )


def nearest_folder(path: Path) -> Path:
    """The path itself, or its nearest parent that exists."""
    path = path.absolute()
    for candidate in (path, *path.parents):
        with contextlib.suppress(OSError):
            if candidate.exists():
                return candidate
    return Path("/")

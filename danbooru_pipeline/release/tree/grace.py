"""Replaced versions that stay for a while, since mirrors may read them: ``releases/danbooru2022.0`` beside 2022.1.

A version stays only if its successor takes no image away and it names no post that was taken down; else it goes at
once, with every older one that has the same. When a version was replaced is in the history of its successors, so
nothing else remembers it.
"""

import contextlib
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa

from danbooru_pipeline.errors import DanbooruPipelineError, ReleaseError, StoreError
from danbooru_pipeline.io.atomic import commit_part, fsync_folder, remove_folder
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.io.untrusted import is_plain
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.takedowns import read_takedowns
from danbooru_pipeline.release.checksums import is_image
from danbooru_pipeline.release.mentions import Search, removed_ids
from danbooru_pipeline.release.release_json import patch_of, read_release
from danbooru_pipeline.release_paths import RELEASE_JSON, changes_path

_BUSY = "the release is being made; its old versions are looked at later"


def leave_retired(layout: Layout, year: int, *, keep: bool) -> None:
    """Give the replaced version its own name if it may stay, else remove it; the caller holds the release's lock.

    Older versions that may no longer stay go first.

    Args:
        layout: of the root.
        year: of the release.
        keep: whether any may stay.
    """
    retired = layout.retired(year)
    if not retired.exists():
        return
    taken, gone = _taken_away(layout.release(year), retired), read_takedowns(layout).ids
    older = [folder for folder, other in layout.superseded_releases.items() if other == year]
    for folder in (*older, retired):
        if not keep or taken is None or not _may_stay(folder, taken, gone):
            remove_superseded(folder)
    if retired.exists():
        target = layout.superseded(read_release(retired).version)
        remove_superseded(target)  # of the same version, made before the release was moved away by hand
        commit_part(retired, target)
    fsync_folder(layout.releases)


def _taken_away(new: Path, old: Path) -> list[str] | None:
    """Images that a version has no more; None where that cannot be told."""
    try:
        release, before = read_release(new), read_release(old)
        if release.replaces != before.ref:
            return None
        listed = new / changes_path(f"{release.version}-from-{before.version}", "remove.txt")
        return [path for path in listed.read_text().splitlines() if is_image(path)]
    except (ReleaseError, OSError, ValueError):
        return None


def _may_stay(folder: Path, taken: Collection[str], gone: frozenset[int]) -> bool:
    """Whether a replaced version has nothing that must not be served; one that cannot be read may not stay."""
    try:
        return not any(is_plain(folder, path) for path in taken) and not names_removed(folder, gone)
    except (DanbooruPipelineError, OSError, ValueError, pa.ArrowException):
        return False


def names_removed(folder: Path, gone: frozenset[int]) -> set[int]:
    """Those of the posts that were taken down which a release names, unless it was made without them."""
    return Search(gone - removed_ids(folder)).of_release(folder)


def remove_superseded(folder: Path) -> None:
    """Remove a replaced version. Without RELEASE.json, which goes first, a half of it is not a release."""
    (folder / RELEASE_JSON).unlink(missing_ok=True)
    remove_folder(folder)


def stays_until(layout: Layout, folder: Path, *, grace: timedelta) -> datetime | None:
    """When the time of a replaced version is over; None where no release says that it was replaced.

    Raises:
        ReleaseError: the release of its year cannot be read.
    """
    release, patch = read_release(layout.release(layout.superseded_releases[folder])), int(folder.suffix[1:])
    made = {
        patch_of(event.version): event.created_at
        for event in (*release.history, release.event)
        if event.name == release.name
    }
    later = [number for number in made if number > patch]
    if not later:
        return None
    replaced = made[min(later)]
    # Nothing was replaced before it was made; a clock that was set back in between says so.
    return datetime.fromisoformat(max(replaced, made.get(patch, replaced))) + grace


def end_grace(layout: Layout, *, now: datetime, grace: timedelta) -> list[str]:
    """Remove the replaced versions whose time is over. Returns their names.

    What a killed removal left goes, too. A release that is being made is left alone, and one that cannot be read. None
    stays longer than twice its time: one that would was replaced with a clock far ahead.
    """
    ended: list[str] = []
    for folder, year in layout.superseded_releases.items():
        with contextlib.suppress(StoreError, ReleaseError), exclusive(layout.release_lock(year), busy=_BUSY):
            until = stays_until(layout, folder, grace=grace)
            if (until is not None and not now < until <= now + 2 * grace) or not is_plain(folder, RELEASE_JSON):
                remove_superseded(folder)
                ended.append(folder.name)
    return ended

"""Puts a finished release in its place: two renames that replace the version before, and what repairs a crash between.

A new version replaces the published one in two renames: the old tree gets a hidden name, and the staging tree gets the
old one's name. A crash between them leaves the year without a release until `heal` finishes the swap. What becomes of
the old tree then is decided by `grace`.
"""

from pathlib import Path

from danbooru_pipeline.errors import NotARelease, StoreError
from danbooru_pipeline.io.atomic import commit_part
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release.release_json import Release, read_release
from danbooru_pipeline.release.tree.grace import leave_retired
from danbooru_pipeline.release_paths import RELEASE_JSON


def standing_release(layout: Layout, year: int) -> Release | None:
    """The release of a year that a new version would replace, also after a crash in the middle of a swap.

    Raises:
        StoreError: something that is not a release is in its place.
    """
    for folder in (layout.release(year), *_candidates(layout, year)):
        if folder.exists():
            try:
                return read_release(folder)
            except NotARelease:
                raise StoreError(f"{folder} is in the way: it is not a release; move it elsewhere") from None
    return None


def _candidates(layout: Layout, year: int) -> list[Path]:
    """Trees that can become the release of a year after a crash between the two renames, best first."""
    retired, staging = layout.retired(year), layout.staging(year)
    if not retired.exists():
        return []
    return [staging, retired] if (staging / RELEASE_JSON).exists() else [retired]


def swap_in(layout: Layout, year: int) -> None:
    """Publish the staging tree; the caller holds the release's lock, and calls `heal`, which ends the swap."""
    target = layout.release(year)
    if target.exists():
        commit_part(target, layout.retired(year))
    commit_part(layout.staging(year), target)


def heal(layout: Layout, year: int, *, keep: bool = False) -> None:
    """End a swap, even an interrupted one: forwards if the new tree is whole, else backwards.

    Args:
        layout: of the root.
        year: of the release, whose lock the caller holds.
        keep: whether the old tree may stay beside the new one for a while; see `grace`.
    """
    target = layout.release(year)
    if not target.exists():
        for folder in _candidates(layout, year)[:1]:
            commit_part(folder, target)
    leave_retired(layout, year, keep=keep)


def heal_releases(layout: Layout) -> None:
    """Finish all interrupted swaps, since a release between its two names does not count as published."""
    for year in layout.there(layout.retired):
        with exclusive(layout.release_lock(year)):
            heal(layout, year)

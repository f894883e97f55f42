"""A copy of a release without some posts, made from its own files as a takedown makes the publisher's.

It is made beside the copy, of hard links, verified, and takes its place in two renames; a run that fails or is killed
leaves the copy as it was, or is finished by the next one. The result is whole, has the next version and no signature.
"""

import shutil
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from danbooru_pipeline.errors import ReleaseError, ReleaseRefused
from danbooru_pipeline.io.atomic import commit_part, link_or_copy, remove_folder
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.takedowns import Takedowns, TakenDown, read_tombstones, write_takedowns
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.release.mentions import Search
from danbooru_pipeline.release.release_json import published, read_release
from danbooru_pipeline.release.removal_part import BEFORE, removal_part
from danbooru_pipeline.release.takedown.again import plan_again
from danbooru_pipeline.release.tree.snapshot import apply_snapshot
from danbooru_pipeline.release_paths import REMOVED


def remove_from_release(
    folder: Path, ids: Collection[int], *, created_at: datetime, progress: Progress = silent
) -> set[int]:
    """Make a copy of a release again without these posts. Returns those that it named; if none, it is as it was.

    Raises:
        ReleaseRefused: it cannot be made again, as a copy that lacks files cannot; it is as it was.
    """
    heal_release(folder)
    work = removal_part(folder)
    remove_folder(work)  # of a killed run
    named = Search(frozenset(ids)).of_release(folder)
    if not named:
        return named
    year = read_release(folder).year
    try:
        _make_without(folder, year, ids, Layout(work), created_at=created_at, progress=progress)
        _swap(folder, work)
    except BaseException as error:  # a full disk, too, which the part would keep full
        heal_release(folder)
        remove_folder(work)
        if not isinstance(error, ReleaseError):
            raise
        raise ReleaseRefused(
            f"{folder} names posts that are gone and cannot be made again without them ({error}); fetch the newest "
            "version from its publisher"
        ) from error
    return named


def _make_without(
    folder: Path, year: int, ids: Collection[int], layout: Layout, *, created_at: datetime, progress: Progress
) -> None:
    _link_tree(folder, layout, year)
    gone = {*ids, *read_tombstones(folder / REMOVED)}
    takedowns = Takedowns(posts=dict.fromkeys(sorted(gone), TakenDown()))
    write_takedowns(layout, takedowns)
    plan = plan_again(layout, year, takedowns)
    # Nobody but the publisher can sign it, so it must not say who does.
    plan = replace(plan, options=replace(plan.options, signer=""))
    apply_snapshot(plan, created_at=created_at, progress=progress)


def heal_release(folder: Path) -> None:
    """Finish a swap that was killed between its two renames."""
    work = removal_part(folder)
    if (work / BEFORE).exists() and not folder.exists():
        new = published(Layout(work)).values()
        commit_part(next(iter(new), work / BEFORE), folder)
        remove_folder(work)


def _link_tree(folder: Path, layout: Layout, year: int) -> None:
    """The release under its own name in a root that has nothing else."""
    remove_folder(layout.root)
    shutil.copytree(folder, layout.release(year), symlinks=True, copy_function=lambda a, b: _link(Path(a), Path(b)))


def _link(source: Path, target: Path) -> Path:
    link_or_copy(source, target, flush=False)
    return target


def _swap(folder: Path, work: Path) -> None:
    (new,) = published(Layout(work)).values()
    commit_part(folder, work / BEFORE)
    commit_part(new, folder)
    remove_folder(work)

"""A copy of a release without some posts, made from its own files as a takedown makes the publisher's.

It is made beside the copy, of hard links, verified, and takes its place in two renames; a killed run leaves the copy as
it was, or is finished by the next one. The result is whole, has the next version and no signature.
"""

import shutil
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from danbooru_pipeline.errors import ReleaseError, ReleaseRefused
from danbooru_pipeline.io.atomic import commit_part, link_or_copy, remove_folder
from danbooru_pipeline.layout import PART_SUFFIX, Layout
from danbooru_pipeline.posts.takedowns import Takedowns, TakenDown, read_tombstones, write_takedowns
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.release.mentions import Search
from danbooru_pipeline.release.release_json import published, read_release
from danbooru_pipeline.release.takedown.again import plan_again
from danbooru_pipeline.release.tree.snapshot import apply_snapshot
from danbooru_pipeline.release_paths import REMOVED

#: The copy as it was, between the two renames.
_BEFORE: Final = "before"


def remove_from_release(
    folder: Path, ids: Collection[int], *, created_at: datetime, progress: Progress = silent
) -> set[int]:
    """Make a copy of a release again without these posts. Returns those that it named; if none, it is as it was.

    Raises:
        ReleaseRefused: it cannot be made again, as a copy that lacks files cannot; it is as it was.
    """
    work = _work(folder)
    named = Search(frozenset(ids)).of_release(folder)
    if not named:
        remove_folder(work)
        return named
    layout, year = Layout(work), read_release(folder).year
    try:
        _link_tree(folder, layout, year)
        gone = {*ids, *read_tombstones(folder / REMOVED)}
        takedowns = Takedowns(posts=dict.fromkeys(sorted(gone), TakenDown()))
        write_takedowns(layout, takedowns)
        plan = plan_again(layout, year, takedowns)
        # Nobody but the publisher can sign it, so it must not say who does.
        plan = replace(plan, options=replace(plan.options, signer=""))
        apply_snapshot(plan, created_at=created_at, progress=progress)
    except ReleaseError as error:
        remove_folder(work)
        raise ReleaseRefused(
            f"{folder} names posts that are gone and cannot be made again without them ({error}); fetch the newest "
            "version from its publisher"
        ) from error
    _swap(folder, published(layout)[year], work)
    return named


def heal_release(folder: Path) -> None:
    """Finish a swap that was killed between its two renames."""
    work = _work(folder)
    if (work / _BEFORE).exists() and not folder.exists():
        new = published(Layout(work)).values()
        commit_part(next(iter(new), work / _BEFORE), folder)
        remove_folder(work)


def _work(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.removals{PART_SUFFIX}")


def _link_tree(folder: Path, layout: Layout, year: int) -> None:
    """The release under its own name in a root that has nothing else."""
    remove_folder(layout.root)
    shutil.copytree(folder, layout.release(year), symlinks=True, copy_function=lambda a, b: _link(Path(a), Path(b)))


def _link(source: Path, target: Path) -> Path:
    link_or_copy(source, target, flush=False)
    return target


def _swap(folder: Path, new: Path, work: Path) -> None:
    commit_part(folder, work / _BEFORE)
    commit_part(new, folder)
    remove_folder(work)

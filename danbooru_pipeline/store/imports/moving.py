"""What `--move` removes: files that were taken, and those that the store has already, as after a run that was killed.

A file is removed from where it was only if the store certainly has it: its bytes are those that were proven, it is the
file that was read still, and the store keeps a name of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.outcomes import Status
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.store.imports.candidates import Candidate, Identity, Skipped, examine
from danbooru_pipeline.store.imports.held import Held
from danbooru_pipeline.store.ledger import LedgerRow
from danbooru_pipeline.store.plan import BucketPlan


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file of a post whose file the store has.

    Attributes:
        candidate: the file.
        target: the store's own.
        seen: what it was when it was read; None if the store does not certainly have it.
    """

    candidate: Candidate
    target: Path
    seen: Identity | None


def is_own(layout: Layout, folder: Path) -> bool:
    """Whether a folder belongs to the root's store or releases, whose files nothing may move away."""
    real = folder.resolve()
    return any(real.is_relative_to(own.resolve()) for own in (layout.store, layout.releases))


def files_held(plan: BucketPlan, held: Held) -> Iterator[Fetch]:
    """Files of a bucket that the store has, whether or not a row says so."""
    yield from filter(held.has, plan.fetch)
    for row in (*plan.keep, *plan.settle):
        if row.status is Status.OK and row.md5 is not None and row.ext is not None:
            yield Fetch(row.id, row.md5, row.ext, None, None, None)


def judge_leftover(layout: Layout, held: Held, rows: Mapping[int, LedgerRow], candidate: Candidate) -> Leftover:
    """Whether the store certainly has a file. Safe for threads; changes nothing."""
    fetch, row = candidate.fetch, rows.get(candidate.fetch.id)
    target = layout.original(fetch.id, (row.held_ext if row is not None else None) or fetch.ext)
    try:
        read = examine(candidate.path)
        is_held = read.md5 == fetch.md5 and held.is_known(fetch)
        if not is_held and row is not None and row.sha256 is not None and examine(target).sha256 == row.sha256:
            is_held = read.sha256 == row.sha256 or read.md5 == fetch.md5 == row.fetched_md5
    except OSError:
        return Leftover(candidate, target, None)
    return Leftover(candidate, target, read.identity if is_held else None)


def is_removable(layout: Layout, source: Path, target: Path) -> bool:
    """Whether a file is another than the store's own."""
    # One folder may have two paths: by links, which `resolve` follows, or by mounts, which it does not.
    if is_own(layout, source.parent):
        return False
    try:
        return not source.parent.samefile(target.parent)
    except FileNotFoundError:
        return True  # a dry run makes no folder


def remove_source(source: Path, target: Path, seen: Identity | None, unmoved: Skipped) -> bool:
    """Remove a file that the store has from where it was. Returns whether it did; `unmoved` notes why not."""
    try:
        if Identity.of(source.lstat()) != seen:
            unmoved.note(source, "it is another file now")
        elif source.stat().st_nlink > 1 or not source.samefile(target):
            source.unlink()
            return True
    except FileNotFoundError:
        pass  # two posts may have one file
    except OSError as error:
        unmoved.note(source, error.strerror)
    return False

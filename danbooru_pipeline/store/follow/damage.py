"""Files that following brought and that are damaged: they are forgotten, and asked for again."""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.io.atomic import commit_part
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.io.md5 import md5_of
from danbooru_pipeline.layout import Layout, post_of_replaced
from danbooru_pipeline.store.follow.state import find_state, write_state
from danbooru_pipeline.store.ledger import read_ledger, write_ledger
from danbooru_pipeline.store.plan import list_files

_AGAIN = "the next run of follow, or the build in January, fetches it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """Damaged files of one bucket that are of no release yet.

    Attributes:
        ids: of the posts whose first file, or its 512px image, is damaged.
        lines: one for each of them, and for each kept file that is.
        kept, kept_bytes: kept files that were read.
    """

    ids: frozenset[int]
    lines: tuple[str, ...]
    kept: int
    kept_bytes: int


def forget_damaged(layout: Layout, bucket: str, stems: Collection[str]) -> Damaged:
    """Forget damaged files that are of no release yet, and let following ask for them again.

    Args:
        layout: of the root.
        bucket: its name; the caller holds its lock.
        stems: names, without their extensions, of originals and 512px images that were moved away already.
    """
    rows = read_ledger(layout.ledger(bucket))
    swept = max((year for year in layout.metadata_years if layout.posts_report(year).exists()), default=0)
    ids = frozenset(id_ for id_ in map(int, stems) if id_ in rows and (rows[id_].first_release or 0) > swept)
    if ids:
        write_ledger(layout.ledger(bucket), [row for row in rows.values() if row.id not in ids])
    kept = list_files(layout.replaced_bucket(bucket))
    rotten = list(_rotten(layout.replaced_bucket(bucket), kept))
    for path in rotten:
        folder = layout.quarantine_bucket("replaced", bucket)
        folder.mkdir(parents=True, exist_ok=True)
        commit_part(path, folder / path.name)
    _ask_again(layout, ids | {post_of_replaced(path.name) for path in rotten})
    lines = (
        *(f"post {id_}: damaged; {_AGAIN}" for id_ in sorted(ids)),
        *(f"{p.name}: damaged; {_AGAIN}" for p in rotten),
    )
    return Damaged(ids=ids, lines=lines, kept=len(kept), kept_bytes=sum(kept.values()))


def _rotten(folder: Path, names: Collection[str]) -> Iterator[Path]:
    """Kept files that do not have the MD5 of their name."""
    for name in sorted(names):
        if md5_of(folder / name) != name.split(".")[1]:
            yield folder / name


def _ask_again(layout: Layout, ids: Collection[int]) -> None:
    """Note posts for the next run of following. While one works, they are left to the build."""
    if not ids or find_state(layout) is None:
        return
    with contextlib.suppress(StoreError), exclusive(layout.follow_lock, busy="following works"):
        state = find_state(layout)
        if state is not None:
            write_state(layout, state.with_left((), ids))

"""What a year had before it was read again: facts of its posts and counts of its side tables, kept for comparison.

A read replaces the posts and tables of its year, and may have lost some: what was there is written down. It stays until
a read has all of it again, so neither a kill nor another lossy read takes the loss for the rule.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyroaring import BitMap64

from danbooru_pipeline.errors import DamagedFile
from danbooru_pipeline.io.damage import damage_named, set_aside
from danbooru_pipeline.io.parquet import read_batches, row_count, write_parquet
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.table_reports import (
    TableReport,
    load_earlier_reports,
    read_table_reports,
    write_earlier_reports,
)
from danbooru_pipeline.posts.takedowns import read_takedowns

#: The site expunges a few posts of ten thousand in a year. More than a tenth is a fault however few posts there are.
MAX_SHARE_LOST: Final = 0.01
MAX_SHARE_LOST_OF_FEW: Final = 0.1
#: So few that a share of them says nothing.
FEW: Final = 100
#: A source hides some posts in a hundred, and a few more from one year to the next.
MAX_SHARE_HIDDEN: Final = 0.1
#: A side table may lose half of its rows, a small one all but these; of few posts half may lose their MD5.
MAX_SHARE_OF_ROWS_LOST: Final = 0.5
FEW_ROWS: Final = 10

_FACTS: Final = pa.schema(
    [("id", pa.int64()), ("has_md5", pa.bool_()), ("rating", pa.string()), ("is_deleted", pa.bool_())]
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What tells whether posts are still there; ids of millions of posts take a megabyte or two.

    Attributes:
        ids, with_md5: of all posts, and of those that came with an MD5.
        ratings: that there are.
        any_deleted: whether any post is deleted.
    """

    ids: BitMap64
    with_md5: BitMap64
    ratings: frozenset[str | None]
    any_deleted: bool


@dataclass(frozen=True, slots=True)
class Loss:
    """Ids of posts that are gone, and of those that came without the MD5 that they had; each only if too many."""

    posts: BitMap64
    md5s: BitMap64

    def __bool__(self) -> bool:
        return bool(self.posts or self.md5s)


def are_too_many(lost: int, of: int) -> bool:
    """Whether so many of some posts are a fault of the source."""
    return lost > (MAX_SHARE_LOST if lost > FEW else MAX_SHARE_LOST_OF_FEW) * max(1, of)


def find_loss(before: Facts, now: Facts, *, gone: Collection[int]) -> Loss:
    """What is lost.

    Args:
        before: of posts as they were.
        now: of posts as they are.
        gone: ids of posts that were taken down.
    """
    posts = before.ids - now.ids - BitMap64(gone)
    if are_too_many(len(posts), len(before.ids)):
        return Loss(posts, BitMap64())
    md5s = (before.with_md5 & now.ids) - now.with_md5
    allowed = (MAX_SHARE_HIDDEN if len(md5s) > FEW else MAX_SHARE_OF_ROWS_LOST) * len(before.with_md5)
    return Loss(BitMap64(), md5s if len(md5s) > allowed else BitMap64())


def posts_facts(layout: Layout, year: int) -> Facts:
    """Of the posts of a year as they are.

    Raises:
        DamagedFile: they cannot be read.
    """
    return _facts([layout.posts(year)])


def earlier_facts(layout: Layout, year: int) -> Facts | None:
    """Of the posts that a year had before they were read again; None when nothing is known.

    Raises:
        DamagedFile: they cannot be read.
    """
    path = layout.earlier_posts(year)
    return _facts([path]) if path.exists() else None


def settled_facts(layout: Layout, year: int) -> Facts:
    """Of the posts of a year as a later one should have them: of a read that lost some, those that were released.

    Raises:
        DamagedFile: they cannot be read.
    """
    now, before = posts_facts(layout, year), earlier_facts(layout, year)
    if before is None or not find_loss(before, now, gone=read_takedowns(layout).ids):
        return now
    return _facts_if_whole(layout.released_posts(year)) or before


def keep_posts(layout: Layout, year: int) -> None:
    """Write down which posts a year has, or had if it has lost some; called before and after they are replaced."""
    path, posts, released = layout.earlier_posts(year), [layout.posts(year)], layout.released_posts(year)
    now = _facts_if_whole(posts if posts[0].exists() else [])
    before, source = _facts_if_whole([path] if path.exists() else [], aside=True), list[Path]()
    if before is None:
        before, source = _facts_if_whole(released), released
    if now is not None and (before is None or not find_loss(before, now, gone=read_takedowns(layout).ids)):
        source = posts
    elif before is None:
        return
    if source:
        write_parquet(path, _rows(source), schema=_FACTS, dictionary=("rating",))


def earlier_tables(layout: Layout, year: int) -> dict[str, TableReport]:
    """The side tables that a year had before they were read again; empty when nothing is known.

    Raises:
        DamagedFile: the file cannot be read.
    """
    path = layout.earlier_tables(year)
    with damage_named(path):
        return load_earlier_reports(layout, year) if path.exists() else {}


def settled_tables(layout: Layout, year: int) -> dict[str, TableReport]:
    """The side tables of a year as a later one should have them: of those that lost their rows, as they were released.

    Raises:
        DamagedFile: they cannot be read.
    """
    now, before = read_table_reports(layout, year), earlier_tables(layout, year)
    lost = {name: report for name, report in before.items() if lacks(report, now.get(name, TableReport("absent")))}
    return now | {name: _released(layout, year, name) or report for name, report in lost.items()}


def keep_tables(layout: Layout, year: int) -> None:
    """Write down how many rows the side tables of a year have, or had if they lost them; called like `keep_posts`."""
    now = read_table_reports(layout, year)
    try:
        before = earlier_tables(layout, year)
    except DamagedFile as damage:
        set_aside(damage.path, damage.why)
        before = {}
    kept = before | {
        name: report for name, report in now.items() if report.status == "ok" and not lacks(before.get(name), report)
    }
    if kept != before:
        write_earlier_reports(layout, year, kept)


def lacks(before: TableReport | None, now: TableReport) -> bool:
    """Whether a side table has lost nearly all rows that it had."""
    held, rows = rows_of(before), rows_of(now)
    return held > 0 and (not rows or (held - rows > FEW_ROWS and rows < held * (1 - MAX_SHARE_OF_ROWS_LOST)))


def rows_of(report: TableReport | None) -> int:
    """How many rows of a table came."""
    return report.rows if report is not None and report.status == "ok" else 0


def _released(layout: Layout, year: int, table: str) -> TableReport | None:
    """A side table as the release of a year has it; None where there is no release, or it is damaged."""
    if not layout.release_json(year).exists():
        return None
    try:
        with damage_named(layout.release(year)):
            rows = sum(map(row_count, layout.released_table(year, table)))
    except DamagedFile:
        return None
    return TableReport("ok", rows=rows)


def _facts_if_whole(paths: Collection[Path], *, aside: bool = False) -> Facts | None:
    """The facts in some files; None when there are none, or one is damaged: the read is what makes it again."""
    try:
        return _facts(paths) if paths else None
    except DamagedFile as damage:
        if aside:
            set_aside(damage.path, damage.why)
        return None


def _facts(paths: Iterable[Path]) -> Facts:
    ids, with_md5, ratings, any_deleted = BitMap64(), BitMap64(), set[str | None](), False
    for rows in _rows(paths):
        some = rows["id"].to_numpy().astype(np.uint64)
        ids.update(some)
        with_md5.update(some[rows["has_md5"].to_numpy()])
        ratings.update(pc.unique(rows["rating"]).to_pylist())
        any_deleted = any_deleted or bool(pc.any(rows["is_deleted"]).as_py())
    return Facts(ids, with_md5, frozenset(ratings), any_deleted=any_deleted)


def _rows(paths: Iterable[Path]) -> Iterator[pa.Table]:
    """The rows of files of posts, or of one of facts, in tables of `_FACTS`."""
    for path in paths:
        with damage_named(path):
            there = pq.read_schema(path).names
            names = [name if name in there else "md5" for name in _FACTS.names]
            yield from map(_facts_of, read_batches(path, columns=names))


def _facts_of(rows: pa.Table) -> pa.Table:
    if "md5" in rows.column_names:
        rows = rows.append_column("has_md5", rows["md5"].is_valid())
    return rows.select(_FACTS.names).cast(_FACTS)

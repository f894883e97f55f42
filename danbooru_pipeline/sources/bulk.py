"""Sources that give whole tables: a mirror, public dumps, an archive. Rows come in any order and are sorted here.

A read is checked before it replaces anything: as many rows as the source says it has, no truncated line, and posts up
to the cutoff of the release. A read that was killed starts over; the same rows give the same bytes.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET

from danbooru_pipeline.errors import SourceStale, SourceUnusable
from danbooru_pipeline.fetch.site_clock import believable_until
from danbooru_pipeline.io.atomic import atomic_file, remove_folder, write_atomic
from danbooru_pipeline.io.external_sort import ExternalGroupBy, by_id_range
from danbooru_pipeline.io.row_digest import RowDigest
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts import POST_SCHEMA, LineTyper, Typed, posts_writer
from danbooru_pipeline.posts.completed import completed, says_who_is_banned
from danbooru_pipeline.posts.drift import ColumnTally
from danbooru_pipeline.posts.report import SweepReport, judge_freshness, write_posts_report
from danbooru_pipeline.progress import Say, heard_by
from danbooru_pipeline.sources.earlier import keep_posts
from danbooru_pipeline.sources.sweep import ROWS_PER_GROUP, require_md5
from danbooru_pipeline.years import cutoff

#: Rows held in memory before they are sorted and spilled, and ids of one sorted group: 2 KB a row, and some copies.
ROWS_PER_RUN: Final = 100_000
IDS_PER_GROUP: Final = 50_000


class Block(Protocol):
    """Some thousand rows of a table."""

    def posts(self, typer: LineTyper) -> Typed:
        """The rows as posts."""

    def records(self) -> Iterable[Mapping[str, Any]]:
        """The rows as JSON objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkTable:
    """One table of a source.

    Attributes:
        blocks: its rows in any order; can be read once.
        rows: how many the source says there are; None when it does not say.
        modified: when it was last written; None when the source does not say.
        as_of: the instant that the rows are of, where the source can go back in time.
        without: ids of posts that are read and not kept.
        uncounted: why nobody knows how many rows there are, where a source that counts them cannot say.
        never_empty: a table without rows is not written by such a source, so an empty one is a fault.
    """

    blocks: Iterable[Block]
    rows: int | None = None
    modified: datetime | None = None
    as_of: datetime | None = None
    without: Collection[int] = field(default=())
    uncounted: str = ""
    never_empty: bool = False


@runtime_checkable
class BulkSource(Protocol):
    """A source that gives whole tables."""

    @property
    def name(self) -> str:
        """Its name in settings and in RELEASE.json."""

    def probe(self) -> None:
        """Check that the source is available; raises a `SourceError` if it is not."""

    def open_table(self, table: str, year: int) -> BulkTable | None:
        """A table as of a release; None when the source has no such table."""

    def earlier_files(self, year: int) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Metadata of the years before `year`, to be carried along: ``YEAR/NAME`` and the bytes of each file."""


def load_posts(source: BulkSource, layout: Layout, year: int, *, now: datetime, progress: Say) -> SweepReport:
    """Bring all posts of a release from a source of whole tables to ``metadata/YEAR/posts.parquet``.

    Raises:
        SourceStale: the source ends before the release does; earlier posts stay in place.
        SourceUnusable: it has no posts, or not as many as it says.
    """
    with heard_by(progress):
        return _load_posts(source, layout, year, now=now, progress=progress)


def _load_posts(source: BulkSource, layout: Layout, year: int, *, now: datetime, progress: Say) -> SweepReport:
    table = source.open_table("posts", year)
    if table is None:
        raise SourceUnusable(
            f"the {source.name} source has no posts of {year}; check its address, or set DANBOORU_POSTS_SOURCE=api"
        )
    with ExternalGroupBy(
        POST_SCHEMA, key=by_id_range(IDS_PER_GROUP), folder=_ensure_metadata_dir(layout, year), run_rows=ROWS_PER_RUN
    ) as sorter:
        load = _Load(cutoff(year), now)
        for batch in load.batches(table, progress):
            sorter.add(batch)
        _require_all(source.name, "posts", read=load.read, announced=table.rows)
        if table.uncounted:
            progress(f"posts: nobody could check that all rows came: {table.uncounted}")
        seen = load.report(source.name, table, now=now)
        verdict = judge_freshness(seen, year)
        if not verdict.fresh:
            raise SourceStale(verdict.why)
        keep_posts(layout, year)
        report = _write(layout, year, sorter=sorter, seen=seen, says_banned=load.says_banned)
    _write_rejected(layout, year, load)
    _carry_earlier_years(source, layout, year)
    write_posts_report(layout, year, report)
    keep_posts(layout, year)
    return report


def _carry_earlier_years(source: BulkSource, layout: Layout, year: int) -> None:
    """Keep the source's metadata of earlier years, byte for byte, for the releases that are made from these posts."""
    folder = layout.carried(year)
    remove_folder(folder)
    for name, chunks in source.earlier_files(year):
        with atomic_file(folder / name) as file:
            file.writelines(chunks)


def _ensure_metadata_dir(layout: Layout, year: int) -> Path:
    layout.metadata(year).mkdir(parents=True, exist_ok=True)
    return layout.metadata(year)


class _Load:
    """What a read of posts has seen so far."""

    def __init__(self, limit: datetime, now: datetime) -> None:
        self.limit, self.latest = limit, believable_until(now)
        self.first_beyond: int | None = None
        self.read = 0
        self.beyond = 0
        self.says_banned = False
        self.kept = 0
        self.max_id = 0
        self.rejected: list[bytes] = []
        self.created: list[datetime] = []  # of the oldest and the newest post up to the cutoff

    def batches(self, table: BulkTable, progress: Say) -> Iterator[pa.Table]:
        """Typed rows up to the cutoff, some thousand at a time."""
        typer = LineTyper()
        gone = pa.array(sorted(table.without), pa.int64())
        for block in table.blocks:
            typed = block.posts(typer)
            self.read += typed.read
            self.rejected += [row.line for row in typed.rejected]
            rows = typed.table.filter(pc.invert(pc.is_in(typed.table["id"], gone))) if len(gone) else typed.table
            if rows.num_rows:
                yield self._up_to_the_cutoff(rows)
            progress(f"posts: {self.read:,} rows read")

    def _up_to_the_cutoff(self, rows: pa.Table) -> pa.Table:
        within = rows
        self.says_banned |= says_who_is_banned(rows)
        if pc.max(rows["created_at"]).as_py() > self.limit:
            within = rows.filter(pc.less_equal(rows["created_at"], pa.scalar(self.limit, rows["created_at"].type)))
            self.beyond += rows.num_rows - within.num_rows
            self._note_first_beyond(rows)
        if within.num_rows:
            self.kept += within.num_rows
            self.max_id = max(self.max_id, pc.max(within["id"]).as_py())
            self.created += pc.min_max(within["created_at"]).as_py().values()
            self.created = [min(self.created), max(self.created)]
        return within

    def _note_first_beyond(self, rows: pa.Table) -> None:
        """Note the lowest id after the cutoff; a time ahead of the clock is an error of the source."""
        at = rows["created_at"]
        limit, latest = (pa.scalar(each, at.type) for each in (self.limit, self.latest))
        first = pc.min(rows["id"].filter(pc.and_(pc.greater(at, limit), pc.less(at, latest)))).as_py()
        if first is not None:
            self.first_beyond = min(self.first_beyond or first, first)

    def report(self, name: str, table: BulkTable, *, now: datetime) -> SweepReport:
        """What was seen, before the rows are sorted and repetitions are dropped."""
        return SweepReport(
            name=name,
            taken_at=now.astimezone(UTC),
            rows=self.kept,
            rejected=len(self.rejected),
            max_id=self.max_id,
            min_created_at=min(self.created, default=None),
            max_created_at=max(self.created, default=None),
            beyond=self.beyond,
            first_beyond=self.first_beyond if self.first_beyond and self.first_beyond < self.max_id else UNSET,
            announced=table.rows,
            read=self.read,
            modified=table.modified,
            as_of=table.as_of,
            sha256="",
            requests=0,
            drifted=0,
        )


def _require_all(name: str, table: str, *, read: int, announced: int | None) -> None:
    """Refuse a table that is not complete."""
    if announced is not None and read != announced:
        raise SourceUnusable(
            f"the {name} source gave {read:,} rows of {table} and says that there are {announced:,}; read it again, or "
            "take that table from another source (DANBOORU_POSTS_SOURCE, DANBOORU_TABLES_SOURCE)"
        )


def _write(layout: Layout, year: int, *, sorter: ExternalGroupBy, seen: SweepReport, says_banned: bool) -> SweepReport:
    digest, columns = RowDigest(POST_SCHEMA), ColumnTally()
    rows = drifted = 0
    with atomic_file(layout.posts(year)) as file, posts_writer(file) as writer:
        for _, group in sorter.groups():
            came = _newest_of_each(group)
            columns.add(came)
            table = completed(came, says_banned=says_banned)
            for start in range(0, table.num_rows, ROWS_PER_GROUP):
                writer.write_table(table.slice(start, ROWS_PER_GROUP))
            digest.update(table)
            rows += table.num_rows
            drifted += table.num_rows - table["extra"].null_count
        require_md5(seen.name, columns.columns(), rows=rows)
    return replace(seen, rows=rows, drifted=drifted, sha256=digest.hexdigest(), columns=columns.columns())


def _newest_of_each(group: pa.Table) -> pa.Table:
    """The rows of a group by id; of rows with the same id, the one that was updated last."""
    updated = group["updated_at"].cast(pa.int64()).fill_null(-(2**62)).to_numpy()
    table = group.take(pa.array(np.lexsort((updated, group["id"].to_numpy())))).combine_chunks()
    ids = table["id"].to_numpy()
    last = np.append(ids[1:] != ids[:-1], True)
    return table if last.all() else table.filter(pa.array(last))


def _write_rejected(layout: Layout, year: int, load: _Load) -> None:
    path = layout.rejected(year)
    if not load.rejected:
        path.unlink(missing_ok=True)
        return
    write_atomic(path, b"".join(line + b"\n" for line in sorted(set(load.rejected))))

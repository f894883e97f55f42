"""The sweep: all posts of a source up to a release's cutoff, by id, into one Parquet file. It may be killed anywhere.

Pages are kept in parts of some thousand rows. The name of a part says which ids it covers, so an interrupted sweep
resumes after its last part. Posts created after the cutoff are left out. Ids and creation times do not run together
where posts were imported or restored, so a sweep goes on to the newest id: that proves that nothing of the year can
follow. If very many posts in a row were created after the cutoff it stops earlier, and says what it did not read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import UNSET

from danbooru_pipeline import stop
from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.fetch.site_clock import believable_until
from danbooru_pipeline.io.atomic import atomic_file, write_atomic
from danbooru_pipeline.io.parquet import rechunk
from danbooru_pipeline.io.row_digest import RowDigest
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts import (
    POST_SCHEMA,
    PostRow,
    RejectedRow,
    conform,
    parse_api_record,
    posts_table,
    posts_writer,
    write_posts,
)
from danbooru_pipeline.posts.completed import completed, says_who_is_banned
from danbooru_pipeline.posts.drift import Columns, ColumnTally
from danbooru_pipeline.posts.report import SweepReport, load_posts_report, write_posts_report
from danbooru_pipeline.progress import Say
from danbooru_pipeline.sources.earlier import keep_posts
from danbooru_pipeline.sources.parts import Parts, discard_parts, share_of
from danbooru_pipeline.sources.recheck import discard_updates
from danbooru_pipeline.sources.source import Page, Source
from danbooru_pipeline.years import cutoff

PAGES_PER_PART: Final = 50
#: How many posts in a row created after the cutoff end a sweep before the newest id: two months of uploads, 500 pages.
POSTS_BEYOND_CUTOFF: Final = 100_000
#: How many pages in a row a sweep reads above the id that was the newest when it began, if all their posts came after
#: the cutoff: on a site that gets posts as fast as it gives pages, there is always one more.
PAGES_ABOVE_NEWEST: Final = 20
#: How many pages in a row may have rejected records only; with more, the source is unusable.
MAX_BARREN_PAGES: Final = 100
#: Rows of one row group of the posts; fixed, so that the file does not show where a sweep was interrupted.
ROWS_PER_GROUP: Final = 50_000
FIRST_POSSIBLE_YEAR: Final = 2004  # the site began in 2005


def sweep_posts(source: Source, layout: Layout, year: int, *, now: datetime, progress: Say) -> SweepReport:
    """Bring all posts of a release to ``metadata/YEAR/posts.parquet``, resuming where an earlier sweep stopped.

    Raises:
        SourceError: the source cannot be used; the pages read so far are kept.
    """
    folder = layout.sweep(year, "posts")
    parts = Parts(folder, ".parquet")
    cursor = _resume(parts, source, progress)
    began = parts.began(now)
    sweep = _Sweep(parts, cutoff(year), cursor=cursor, now=now)
    sweep.run(source, progress)
    _require_no_step_back(layout, year, sweep.cursor)
    discard_updates(layout, year)
    keep_posts(layout, year)
    report = _merge(sweep, source.name, layout.posts(year), began=began)
    _write_rejected(folder, layout.rejected(year))
    write_posts_report(layout, year, report)
    keep_posts(layout, year)
    discard_parts(folder)
    return report


def _require_no_step_back(layout: Layout, year: int, last_id: int) -> None:
    """Refuse a source that ends before an earlier year did: it is a different one, or has lost posts."""
    earlier = last_sweep_before(layout, year)
    if earlier is not None and last_id < earlier.last_id:
        raise SourceUnusable(
            f"the source ends at id {last_id}, and the posts of {earlier.year} went up to {earlier.last_id}; check the "
            "source, then run again: what was read so far is kept",
        )


@dataclass(frozen=True, slots=True)
class EarlierSweep:
    """The sweep of an earlier year.

    Attributes:
        last_id: the last one that it found.
        all_up_to: the last id before the first post of the next year, where ids and times do not run together.
    """

    year: int
    last_id: int
    all_up_to: int


def last_sweep_before(layout: Layout, year: int) -> EarlierSweep | None:
    """The sweep of the newest earlier year that has one."""
    for earlier in range(year - 1, FIRST_POSSIBLE_YEAR, -1):
        if layout.posts_report(earlier).exists():
            report = load_posts_report(layout, earlier)
            return EarlierSweep(earlier, report.max_id or 0, report.all_up_to)
    return None


def newest_sweep(layout: Layout) -> EarlierSweep | None:
    """The sweep of the newest year that has one, whatever year it is."""
    return last_sweep_before(layout, max(layout.metadata_years, default=0) + 1)


def _resume(parts: Parts, source: Source, progress: Say) -> int:
    """The id after which to resume. Rejected rows without their part belong to a part that was not finished."""
    cursor = parts.resume(source.identity, progress)
    for rejected in parts.folder.glob("*.rejected.jsonl"):
        if not parts.folder.joinpath(rejected.name.replace(".rejected.jsonl", parts.suffix)).exists():
            rejected.unlink()
    return cursor


class _Sweep:
    """A running sweep: what was read since the last part was written."""

    def __init__(self, parts: Parts, limit: datetime, *, cursor: int, now: datetime) -> None:
        self.parts = parts
        self.limit, self.latest = limit, believable_until(now)
        self.start = self.cursor = cursor
        self.kept, self.later_kept = dict(parts.state.beyond), dict(parts.state.later)
        self.beyond, self.later = self.kept.get(cursor, 0), self.later_kept.get(cursor, 0)
        first = parts.state.first_beyond
        self.first_beyond = first if first is not None and first <= cursor else None
        self.counted: int | None = None
        self.pages = self.requests = 0
        self.newest: int | None = None
        self.read_to_end = False
        self.arriving = 0  # pages in a row of posts that came while the sweep ran
        self.rows: dict[int, PostRow] = {}
        self.rejected: dict[bytes, None] = {}  # lines, in the order in which they came

    def run(self, source: Source, progress: Say) -> None:
        """Read page after page until the source or the year ends, and write parts."""
        finished = False
        newest = self.newest = source.newest_id("posts")
        barren = 0  # pages in a row without a post that can be placed
        while not finished:
            stop.check()
            page = source.posts_after(self.cursor)
            self.requests += 1
            self.pages += 1
            barren = 0 if self._take(page) else barren + 1
            if barren > MAX_BARREN_PAGES:
                raise SourceUnusable(
                    f"{barren} pages in a row, up to id {self.cursor}, have no post with an id and a creation time; "
                    "look at the answers of the source, then run again",
                )
            finished = self._is_finished(page)
            if finished or self.pages == PAGES_PER_PART:
                self._write_part()
                progress(f"posts: up to id {self.cursor:,}{share_of(self.cursor, newest)}, {self.requests:,} requests")
        if not self.read_to_end:
            progress(
                f"posts: ids above {self.cursor:,} were not read, since {self.beyond:,} posts in a row were created "
                "after the cutoff"
            )
        self.counted = source.count_posts(up_to=self.cursor) if self.cursor else None
        if self.counted is None:
            progress("posts: the source does not say how many there are, so what was read is not compared with that")

    def _is_finished(self, page: Page) -> bool:
        """Whether nothing of the year can follow this page."""
        self.read_to_end = page.last_id is None
        at_the_newest = self.newest is not None and self.cursor >= self.newest
        self.arriving = self.arriving + 1 if at_the_newest and self.beyond else 0
        chased = self.arriving > PAGES_ABOVE_NEWEST
        return self.read_to_end or chased or (self.beyond >= POSTS_BEYOND_CUTOFF and not at_the_newest)

    def _take(self, page: Page) -> int:
        """Sort the records of a page by what they are. Returns how many have an id and a time."""
        placed = 0
        for record in page.records:
            row = parse_api_record(record)
            if isinstance(row, RejectedRow):
                # Known by its bytes: a record without id comes again if the next page cannot start after it.
                self.rejected[row.line] = None
                continue
            placed += 1
            if row["created_at"] <= self.limit:
                self.rows[row["id"]] = row
                self.beyond = 0
            else:
                self.beyond += 1
                self.later += 1
                if row["created_at"] < self.latest:  # else its time is an error of the site
                    self.first_beyond = min(self.first_beyond or row["id"], row["id"])
        self.cursor = page.last_id or self.cursor
        return placed

    def _write_part(self) -> None:
        """Keep what was read. The part is written last, so rejected rows without one are known to be unfinished."""
        path = self.parts.path(self.start, self.cursor)
        if self.rejected:
            write_atomic(path.with_suffix(".rejected.jsonl"), b"".join(line + b"\n" for line in self.rejected))
        self.kept = {self.start: self.kept.get(self.start, 0), self.cursor: self.beyond}
        self.later_kept = {self.start: self.later_kept.get(self.start, 0), self.cursor: self.later}
        self.parts.keep(
            replace(self.parts.state, beyond=self.kept, later=self.later_kept, first_beyond=self.first_beyond)
        )
        buffer = BytesIO()
        write_posts(posts_table(self.rows.values()), buffer)
        self.parts.add(self.start, self.cursor, data=buffer.getvalue(), rows=len(self.rows))
        self.start, self.pages, self.rows, self.rejected = self.cursor, 0, {}, {}


def _merge(sweep: "_Sweep", name: str, target: Path, *, began: datetime) -> SweepReport:
    """Write the parts one after the other; they cover ascending ids, so the result is sorted."""
    digest, columns = RowDigest(POST_SCHEMA), ColumnTally()
    rows = drifted = max_id = 0
    created: list[datetime] = []
    says_banned = any(map(_says_banned, sweep.parts.paths()))
    with atomic_file(target) as file, posts_writer(file) as writer:
        for came in _row_groups(sweep.parts.paths()):
            columns.add(came)
            table = completed(came, says_banned=says_banned)
            writer.write_table(table)
            digest.update(table)
            rows += table.num_rows
            drifted += table.num_rows - table["extra"].null_count
            max_id = table["id"][-1].as_py()
            created += pc.min_max(table["created_at"]).as_py().values()
        require_md5(name, columns.columns(), rows=rows)
        sweep.parts.require_rows("posts", rows)
    rejected = sum(path.read_bytes().count(b"\n") for path in sweep.parts.folder.glob("*.rejected.jsonl"))
    return SweepReport(
        name=name,
        taken_at=began.astimezone(UTC),
        rows=rows,
        rejected=rejected,
        max_id=max_id,
        min_created_at=min(created, default=None),
        max_created_at=max(created, default=None),
        beyond=sweep.beyond,
        first_beyond=sweep.first_beyond if sweep.first_beyond and sweep.first_beyond < max_id else UNSET,
        announced=sweep.counted,
        read=rows + rejected + sweep.later,
        read_up_to=sweep.cursor,
        newest_id=sweep.newest,
        read_to_the_end=sweep.read_to_end,
        sha256=digest.hexdigest(),
        requests=sweep.requests,
        drifted=drifted,
        columns=columns.columns(),
    )


def require_md5(name: str, columns: Columns, *, rows: int) -> None:
    """Refuse posts of which none has an MD5: the source does not carry that column, and no file could be named."""
    if rows and "md5" not in columns.filled:
        odd = columns.retyped.get("md5", 0)
        why = f"{odd:,} have something in its place that is no text" if odd else "so it does not carry that column"
        raise SourceUnusable(
            f"none of the {rows:,} posts of the {name} source has an MD5, {why}, and no file can be named; "
            "take posts from the API (DANBOORU_POSTS_SOURCE=api), or check what this account may see"
        )


def _row_groups(parts: list[Path]) -> Iterator[pa.Table]:
    """The rows of all parts in tables of `ROWS_PER_GROUP` rows; the last one may be shorter."""
    tables = (conform(pq.ParquetFile(part).read()) for part in parts)
    # One chunk each: the pages of a Parquet file would show where the chunks of a table end.
    return (table.combine_chunks() for table in rechunk(tables, ROWS_PER_GROUP))


def _says_banned(part: Path) -> bool:
    """Whether any row of a part says if its post is banned."""
    return says_who_is_banned(pq.ParquetFile(part).read(["is_banned"]))


def _write_rejected(folder: Path, target: Path) -> None:
    parts = sorted(folder.glob("*.rejected.jsonl"))
    if not parts:
        target.unlink(missing_ok=True)
        return
    with atomic_file(target) as file:
        for part in parts:
            file.write(part.read_bytes())

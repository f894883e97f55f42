"""Side tables of a release: tags, aliases, pools and the like, as JSON lines in the dialect of 2021.

A table that the source does not offer is reported as absent. A table that it offers and fails to give is an error,
since a release without its tags must be somebody's decision; all other tables are written before it is raised. What was
read is kept until all tables are complete, so an export that was killed or failed resumes where it stopped.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from danbooru_pipeline import stop
from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.io.atomic import atomic_file
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts import encode_record
from danbooru_pipeline.posts.record import UNSTORABLE, UnstorableRecord
from danbooru_pipeline.posts.table_reports import LEFT_OUT, TableReport, write_table_reports
from danbooru_pipeline.progress import Say, heard_by
from danbooru_pipeline.sources.bulk import BulkSource
from danbooru_pipeline.sources.earlier import keep_tables
from danbooru_pipeline.sources.excluding import refers_to
from danbooru_pipeline.sources.parts import Parts, discard_parts, drop_if_old, share_of
from danbooru_pipeline.sources.source import Source
from danbooru_pipeline.years import cutoff

#: Tables that an anonymous user can read in full and that explain the tags and pools of posts. An allow-list, since
#: some tables of the site hold private data.
SIDE_TABLES: Final = (
    "tags",
    "tag_aliases",
    "tag_implications",
    "artists",
    "artist_urls",
    "pools",
    "notes",
    "artist_commentaries",
    "wiki_pages",
    "comments",
    "forum_topics",
    "forum_posts",
    "favorites",
)


#: Pages of up to 1,000 records between two parts.
PAGES_PER_PART: Final = 20


def stale_tables(reports: Mapping[str, TableReport], year: int) -> list[str]:
    """Tables that the source last wrote before the release's year was over."""
    limit = cutoff(year)
    return [name for name, report in reports.items() if report.modified is not None and report.modified < limit]


def export_side_tables(
    source: Source | BulkSource, layout: Layout, year: int, *, progress: Say
) -> dict[str, TableReport]:
    """Write all side tables of the source to ``metadata/YEAR/tables``, resuming where an earlier export stopped.

    Raises:
        SourceError: the source cannot be used, or a table could not be read to its end.
    """
    reports: dict[str, TableReport] = {}
    keep_tables(layout, year)
    folder = layout.sweep(year, "tables")
    drop_if_old(folder)
    for table in SIDE_TABLES:
        try:
            if isinstance(source, BulkSource):
                with heard_by(progress):
                    reports[table] = _export_rows(source, layout, year, table=table)
            else:
                reports[table] = _Pages(source, table, folder / table).export(layout.side_table(year, table), progress)
        except SourceUnusable as error:
            reports[table] = TableReport("failed", problem=str(error))
        if reports[table].status != "ok":
            # The file of an earlier export would contradict the report.
            layout.side_table(year, table).unlink(missing_ok=True)
        progress(f"{table}: {reports[table].status}, {reports[table].rows:,} rows{_unchecked(reports[table])}")
    write_table_reports(layout, year, reports)
    keep_tables(layout, year)
    failed = {table: report.problem for table, report in reports.items() if report.status == "failed"}
    if failed:
        name, problem = next(iter(failed.items()))
        raise SourceUnusable(f"{len(failed)} side table(s) could not be read, first of them {name}: {problem}")
    discard_parts(folder)
    return reports


def _unchecked(report: TableReport) -> str:
    return f"; nobody could check that all came: {report.uncounted}" if report.uncounted else ""


def leave_out_side_tables(layout: Layout, year: int) -> dict[str, TableReport]:
    """Decide that a release has no side tables; nothing is asked for, and the next export overrules it."""
    keep_tables(layout, year)
    reports = {table: TableReport(LEFT_OUT, problem="left out by build --without-tables") for table in SIDE_TABLES}
    write_table_reports(layout, year, reports)
    for table in SIDE_TABLES:
        layout.side_table(year, table).unlink(missing_ok=True)
    return reports


def _export_rows(source: BulkSource, layout: Layout, year: int, *, table: str) -> TableReport:
    found = source.open_table(table, year)
    if found is None:
        return TableReport("absent")
    rows, with_id, digest = 0, 0, hashlib.sha256()
    with atomic_file(layout.side_table(year, table)) as file:
        for block in found.blocks:
            stop.check()
            for record in block.records():
                rows += 1
                with_id += record.get("id") is not None
                if not found.without or not refers_to(record, "post_id", found.without):
                    line = encode_record(record)
                    digest.update(line)
                    file.write(line)
        if found.rows is not None and rows != found.rows:
            raise SourceUnusable(f"{table} has {rows:,} rows, but the source says {found.rows:,}; read it again")
        if rows and not with_id:
            # As a site says that something failed: {"success":false,"error":"…"}
            raise SourceUnusable(f"{table} is no table: none of its {rows:,} rows has an id; get it again")
    if not rows and found.never_empty:
        return TableReport("empty", problem=f"the file of {table} has no rows", modified=found.modified)
    return TableReport(
        "ok", rows=rows, modified=found.modified, sha256=digest.hexdigest(), uncounted=found.uncounted or None
    )


class _Pages:
    """A table that is read page by page. Lines are kept in parts, so an interrupted export resumes after the last."""

    def __init__(self, source: Source, table: str, folder: Path) -> None:
        self._source, self._table = source, table
        self._parts = Parts(folder, ".jsonl")
        self._rejected = 0

    def export(self, target: Path, progress: Say) -> TableReport:
        """Write the whole table to one file."""
        cursor = self._parts.resume(self._source.identity, progress)
        self._rejected = self._parts.state.rejected.get(cursor, 0)
        if not self._parts.state.finished and not self._read_on(cursor, progress):
            return TableReport("absent")
        rows, digest = 0, hashlib.sha256()
        with atomic_file(target) as file:
            for part in self._parts.paths():
                data = part.read_bytes()
                rows += data.count(b"\n")
                digest.update(data)
                file.write(data)
            self._parts.require_rows(self._table, rows)
        if self._rejected:
            progress(f"{self._table}: {self._rejected:,} records were rejected, since they hold {UNSTORABLE}")
        return TableReport("ok", rows=rows, rejected=self._rejected, sha256=digest.hexdigest())

    def _read_on(self, cursor: int, progress: Say) -> bool:
        """Read the records that follow an id; False when the source has no such table."""
        page = self._source.table_after(self._table, cursor)
        if page is None:
            return False
        newest = self._source.newest_id(self._table)
        start, lines, pages = cursor, list[bytes](), 0
        while page is not None and page.last_id is not None:
            stop.check()
            storable = [record for record in page.records if not isinstance(record, UnstorableRecord)]
            self._rejected += len(page.records) - len(storable)
            lines += map(encode_record, storable)
            cursor, pages = page.last_id, pages + 1
            if pages == PAGES_PER_PART:
                self._add(start, cursor, lines)
                progress(f"{self._table}: up to id {cursor:,}{share_of(cursor, newest)}")
                start, lines, pages = cursor, [], 0
            page = self._source.table_after(self._table, cursor)
        if cursor > start:
            self._add(start, cursor, lines)
        self._parts.keep(replace(self._parts.state, finished=True))
        return True

    def _add(self, start: int, end: int, lines: list[bytes]) -> None:
        state = self._parts.state
        if self._rejected:
            self._parts.keep(replace(state, rejected={**state.rejected, end: self._rejected}))
        self._parts.add(start, end, data=b"".join(lines), rows=len(lines))

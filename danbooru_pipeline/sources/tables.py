"""Side tables of a release: tags, aliases, pools and the like, as JSON lines in the dialect of 2021.

A table that the source does not offer is reported as absent. One that it offers and fails to give is an error: a
release without its tags must be somebody's decision. The other tables are written before that is said.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from danbooru_pipeline.atomic import atomic_file, write_atomic
from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release.jsonl import encode_record
from danbooru_pipeline.sources.bulk import BulkSource
from danbooru_pipeline.sources.source import Source

#: Tables that an anonymous user can read in full and that make tags and pools of posts understandable. An allow-list,
#: since some tables of the site hold private data.
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


@dataclass(frozen=True, slots=True)
class TableReport:
    """How the export of one side table went: ``ok``, ``absent`` or ``failed``, and then why."""

    status: str
    rows: int = 0
    problem: str | None = None


def export_side_tables(
    source: Source | BulkSource, layout: Layout, year: int, *, progress: Callable[[str], None]
) -> dict[str, TableReport]:
    """Write all side tables that the source has to ``metadata/YEAR/tables``.

    Raises:
        SourceError: the source cannot be used, or a table of it could not be read to its end.
    """
    reports: dict[str, TableReport] = {}
    for table in SIDE_TABLES:
        try:
            reports[table] = _export_table(source, layout, year, table)
        except SourceUnusable as error:
            reports[table] = TableReport("failed", problem=str(error))
        if reports[table].status != "ok":
            # A file of an earlier export would be from another time than the report.
            layout.side_table(year, table).unlink(missing_ok=True)
        progress(f"{table}: {reports[table].status}, {reports[table].rows:,} rows")
    write_atomic(layout.side_tables_report(year), msgspec.json.format(msgspec.json.encode({"tables": reports})))
    failed = {table: report.problem for table, report in reports.items() if report.status == "failed"}
    if failed:
        name, problem = next(iter(failed.items()))
        raise SourceUnusable(f"{len(failed)} side table(s) could not be read, first of them {name}: {problem}")
    return reports


def _export_table(source: Source | BulkSource, layout: Layout, year: int, table: str) -> TableReport:
    if not isinstance(source, BulkSource):
        return _export_pages(source, layout, year, table)
    found = source.open_table(table, year)
    if found is None:
        return TableReport("absent")
    rows = 0
    with atomic_file(layout.side_table(year, table)) as file:
        for record in found.records:
            rows += 1
            if found.left_out is None or not found.left_out(record):
                file.write(encode_record(record))
        if found.rows is not None and rows != found.rows:
            raise SourceUnusable(f"{table} has {rows:,} rows and is said to have {found.rows:,}; read it again")
    return TableReport("ok", rows=rows)


def _export_pages(source: Source, layout: Layout, year: int, table: str) -> TableReport:
    page = source.table_after(table, 0)
    if page is None:
        return TableReport("absent")
    rows = 0
    with atomic_file(layout.side_table(year, table)) as file:
        while page is not None and page.last_id is not None:
            for record in page.records:
                file.write(encode_record(record))
            rows += len(page.records)
            page = source.table_after(table, page.last_id)
    return TableReport("ok", rows=rows)

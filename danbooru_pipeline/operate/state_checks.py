"""How damage of the files of the root shows: each check raises `StoreError` or `ReleaseError` with the file's name."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from danbooru_pipeline.errors import DamagedFile, NewerFile
from danbooru_pipeline.io.damage import damage_named
from danbooru_pipeline.io.formats import require_known_schema
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.databases import is_damaged
from danbooru_pipeline.operate.repairs import year_of
from danbooru_pipeline.posts.report import load_posts_report
from danbooru_pipeline.posts.table_reports import load_table_reports, read_table_reports
from danbooru_pipeline.sources.earlier import earlier_tables

#: ``check(layout, path)`` raises `StoreError` or `ReleaseError` when the file is damaged.
Check = Callable[[Layout, Path], object]


def check_parquet(columns: tuple[str, ...]) -> Check:
    """A check that a table can be read in full and has some columns."""

    def check(_layout: Layout, path: Path) -> None:
        with damage_named(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
            require_known_schema(path, file.schema_arrow)
            absent = [name for name in columns if name not in file.schema_arrow.names]
            if absent:
                raise DamagedFile(path, f"it has no column {absent[0]}")
            for number in range(file.num_row_groups):
                file.read_row_group(number, use_threads=False)

    return check


def check_posts_report(layout: Layout, path: Path) -> None:
    """The report of a year's posts can be read."""
    with damage_named(path):
        load_posts_report(layout, year_of(layout, path))


def check_tables(layout: Layout, path: Path) -> None:
    """The report of a year's side tables can be read."""
    with damage_named(path):
        load_table_reports(layout, year_of(layout, path))


def check_earlier_tables(layout: Layout, path: Path) -> None:
    """The counts of an earlier read of side tables can be read."""
    earlier_tables(layout, year_of(layout, path))


def check_table(layout: Layout, path: Path) -> None:
    """A side table has the bytes that came."""
    with contextlib.suppress(NewerFile), damage_named(path):  # of tables.json, which is told by itself
        report = read_table_reports(layout, year_of(layout, path)).get(path.stem)
        if report is not None and report.sha256 not in {None, sha256_of(path)}:
            raise DamagedFile(path, "its bytes are not those that came")


def check_database(_layout: Layout, path: Path) -> None:
    """SQLite can read a database."""
    if is_damaged(path):
        raise DamagedFile(path, "SQLite cannot read it")

"""DuckDB over Parquet files: joins and aggregates of more rows than memory holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pyarrow as pa

from danbooru_pipeline.io.bounded_parquet import untrusted_files

if TYPE_CHECKING:
    import duckdb

#: Rows of each table in which a result is returned.
BATCH_ROWS = 65_536
#: What does not fit is spilled; DuckDB would take 80 % of the machine's memory first.
_MEMORY_MIB, _MEMORY_MIB_A_THREAD = 1024, 128


@contextmanager
def database(*, threads: int, spill: Path | None = None) -> Iterator["duckdb.DuckDBPyConnection"]:
    """An in-memory database that reads files and installs no extensions; it spills to a folder below `spill`."""
    import duckdb  # noqa: PLC0415 - takes as long as all else that a search needs

    with TemporaryDirectory(prefix=".sql-", dir=spill) as folder:
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": max(1, threads),
            "temp_directory": folder,
            "memory_limit": f"{_MEMORY_MIB + _MEMORY_MIB_A_THREAD * threads}MiB",
            "autoinstall_known_extensions": False,
            "preserve_insertion_order": False,
        }
        connection = duckdb.connect(":memory:", config=config)
        try:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()


def view(connection: "duckdb.DuckDBPyConnection", name: str, folder: Path, pattern: str) -> None:
    """Create a view over the Parquet files in a folder. `name` and `pattern` are trusted; the folder is not.

    Raises:
        ReleaseError: it has no such files, or they cannot be given to a reader of Parquet.
    """
    # The folder's own name may contain wildcards, so the files are named one by one.
    paths = untrusted_files(folder, pattern)
    files = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    connection.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM read_parquet([{files}])")


def tables(connection: "duckdb.DuckDBPyConnection", query: str, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of a query as Arrow tables of a schema."""
    for batch in connection.sql(query).to_arrow_reader(BATCH_ROWS):
        yield pa.Table.from_batches([batch]).cast(schema)

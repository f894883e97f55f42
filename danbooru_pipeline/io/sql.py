"""DuckDB over the Parquet files of a release: joins and sums of more rows than memory holds, in bounded memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

#: Rows of one table that a result is read in.
BATCH_ROWS = 65_536


@contextmanager
def database(*, threads: int, spill: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory that reads files and installs nothing; what does not fit goes to a folder in `spill`."""
    with TemporaryDirectory(prefix=".sql-", dir=spill) as folder:
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": max(1, threads),
            "temp_directory": folder,
            "autoinstall_known_extensions": False,
            "preserve_insertion_order": False,
        }
        connection = duckdb.connect(":memory:", config=config)
        try:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()


def view(connection: duckdb.DuckDBPyConnection, name: str, folder: Path, pattern: str) -> None:
    """Make a view over Parquet files of a release; `name` and `pattern` are ours, the folder is quoted."""
    # A folder's own name may hold wildcards, so the files are named one by one.
    files = ", ".join("'" + str(file).replace("'", "''") + "'" for file in sorted(folder.glob(pattern)))
    connection.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM read_parquet([{files}])")


def tables(connection: duckdb.DuckDBPyConnection, query: str, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of a query as Arrow tables of a schema."""
    for batch in connection.sql(query).to_arrow_reader(BATCH_ROWS):
        yield pa.Table.from_batches([batch]).cast(schema)

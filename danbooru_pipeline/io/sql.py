"""DuckDB over Parquet files: joins and aggregates of more rows than memory holds."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
_MEMORY_MIB, _MEMORY_MIB_A_THREAD, _MOST_MEMORY_MIB = 1024, 128, 4096
_CGROUP = Path("/sys/fs/cgroup/memory.max")


@contextmanager
def database(*, threads: int, spill: Path | None = None) -> Iterator["duckdb.DuckDBPyConnection"]:
    """An in-memory database that reads files and installs no extensions; it spills to a folder below `spill`."""
    import duckdb  # noqa: PLC0415 - takes as long as all else that a search needs

    with TemporaryDirectory(prefix=".sql-", dir=spill) as folder:
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": max(1, threads),
            "temp_directory": folder,
            "memory_limit": f"{_memory_mib(threads)}MiB",
            "autoinstall_known_extensions": False,
            "preserve_insertion_order": False,
        }
        connection = duckdb.connect(":memory:", config=config)
        try:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()


def _memory_mib(threads: int) -> int:
    """What a database may hold: never more than half of what this process may use, in a container, too."""
    mib = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20]
    with suppress(OSError, ValueError):  # no cgroup of version 2, or one without a limit
        mib.append(int(_CGROUP.read_text()) // 2**20)
    return min(_MEMORY_MIB + _MEMORY_MIB_A_THREAD * threads, _MOST_MEMORY_MIB, max(128, min(mib) // 2))


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

"""The rows of a query over a release, a window of ids at a time, in memory that does not grow with the release.

Ids are found first (`select`). The columns of some ten thousand of them are read at a time, of which Parquet's
statistics pick the row groups. A sort of all rows with all columns would hold them all (`benchmarks/export.py memory`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy.typing as npt
import pyarrow as pa

from danbooru_pipeline.consume.corrected import table_patterns
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.io.sql import database, view

if TYPE_CHECKING:
    import duckdb


#: Ids of one window. With all its columns it is what an export holds at least, so more of them cost memory (180 MB for
#: 50,000 of them), and save no time (benchmarks/README.md).
WINDOW_ROWS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Window:
    """Some of the ids, from `first` to `last`."""

    first: int
    last: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenRows:
    """Ids that were chosen, as the table ``chosen`` beside the views ``posts`` and ``files`` of a release.

    Attributes:
        rows: how many.
        size: the manifest's column with the size of the file that counts.
        windows: all ids, in order.
    """

    release: Path
    rows: int
    size: str
    windows: tuple[Window, ...]
    _connection: "duckdb.DuckDBPyConnection"

    @property
    def bytes(self) -> int:
        """Of their files, which are summed up when somebody asks."""
        total = f"SELECT coalesce(sum(f.{self.size}), 0) FROM files f WHERE f.id IN (SELECT id FROM chosen)"
        return int(self.run(total).fetchall()[0][0])

    def run(self, query: str, parameters: Sequence[Any] = ()) -> "duckdb.DuckDBPyConnection":
        """Run SQL beside whatever else is being read. Returns a cursor of its own."""
        with damage_named(self.release):
            return self._connection.cursor().execute(query, list(parameters))

    def dicts(self, query: str, parameters: Sequence[Any] = (), *, size: int = 10_000) -> Iterator[dict[str, Any]]:
        """The rows of a query, as dictionaries."""
        cursor = self.run(query, parameters)
        names = [column[0] for column in cursor.description or ()]
        with damage_named(self.release):
            while rows := cursor.fetchmany(size):
                yield from (dict(zip(names, row, strict=True)) for row in rows)

    def windowed(self, columns: str, *, order: str = "ORDER BY p.id") -> Iterator[tuple[Window, str]]:
        """Each window, with the SQL of these columns of its posts `p` and their files `f`."""
        for window in self.windows:
            within = f"BETWEEN {window.first} AND {window.last}"
            yield (
                window,
                (
                    f"SELECT {columns} FROM posts p LEFT JOIN (SELECT * FROM files WHERE id {within}) f ON p.id = f.id "
                    f"WHERE p.id {within} AND p.id IN (SELECT id FROM chosen WHERE id {within}) {order}"
                ),
            )

    def schema(self, query: str) -> pa.Schema:
        """The columns of a query's rows."""
        with damage_named(self.release):
            return self._connection.cursor().sql(f"SELECT * FROM ({query}) LIMIT 0").to_arrow_table().schema

    def tables(self, query: str) -> Iterator[pa.Table]:
        """The rows of a query as Arrow tables."""
        with damage_named(self.release):
            for batch in self._connection.cursor().sql(query).to_arrow_reader(10_000):
                yield pa.Table.from_batches([batch])


@contextmanager
def open_rows(
    release: Path, ids: npt.NDArray[Any], *, size: str, threads: int = 1, corrected: bool = False
) -> Iterator[ChosenRows]:
    """The rows of some ids.

    Args:
        release: the folder.
        ids: ascending.
        size: the manifest's column with the size of the file that counts.
        threads: of the database.
        corrected: whether posts are those that people corrected.

    Raises:
        ReleaseError: a table is missing or damaged.
    """
    with open_tables(release, threads=threads, corrected=corrected) as connection:
        with damage_named(release):
            connection.register("given", pa.table({"id": pa.array(ids, pa.int64())}))
            connection.execute("CREATE TABLE chosen AS SELECT id FROM given")
        parts = [ids[start : start + WINDOW_ROWS] for start in range(0, len(ids), WINDOW_ROWS)]
        windows = tuple(Window(int(part[0]), int(part[-1]), len(part)) for part in parts)
        yield ChosenRows(release=release, rows=len(ids), size=size, windows=windows, _connection=connection)


@contextmanager
def open_tables(release: Path, *, threads: int = 1, corrected: bool = False) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A database with the views ``posts`` and ``files`` of a release.

    Raises:
        ReleaseError: a table is missing or damaged.
    """
    with database(threads=threads) as connection:
        with damage_named(release):
            for name, pattern in table_patterns(release, corrected=corrected).items():
                view(connection, name, release, pattern)
        yield connection


@contextmanager
def damage_named(release: Path) -> Iterator[None]:
    """Say which release it is that cannot be read."""
    import duckdb  # noqa: PLC0415 - see `io.sql`

    try:
        yield
    except duckdb.Error as error:
        first = str(error).partition("\n")[0]
        raise ReleaseError(f"the tables of {release} cannot be read ({first}); verify the release") from error

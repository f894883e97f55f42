"""Rows that come in one order and are wanted in another, in bounded memory.

A manifest is made bucket by bucket and written by id; the lists of a release are read by id and written bucket by
bucket. Rows are gathered into runs, each sorted by group and spilled to a file without a name (so that a killed process
leaves nothing behind); a group is then put together from its piece of every run.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

#: Rows held in memory before they are spilled; 250 bytes each in a manifest.
RUN_ROWS = 400_000

Ids = npt.NDArray[np.int64]


def by_id_range(size: int) -> Callable[[Ids], Ids]:
    """A key that groups ids by ranges of some size, so that groups and the rows in them rise by id."""
    return lambda ids: np.asarray(ids // size)


class ExternalGroupBy:
    """Takes tables that have an ``id`` column, gives them back group by group, each sorted by id."""

    def __init__(
        self,
        schema: pa.Schema,
        *,
        key: Callable[[Ids], Ids],
        folder: Path | None = None,
        run_rows: int = RUN_ROWS,
    ) -> None:
        self._schema = schema
        self._key = key
        self._folder = folder
        self._run_rows = run_rows
        self._held: list[pa.Table] = []
        self._held_rows = 0
        self._files: list[IO[bytes]] = []
        self._runs: list[tuple[Any, dict[int, int]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runs.clear()
        for file in self._files:
            file.close()

    def add(self, table: pa.Table) -> None:
        """Take rows, in any order."""
        self._held.append(table)
        self._held_rows += table.num_rows
        if self._held_rows >= self._run_rows:
            self._spill()

    def groups(self) -> Iterator[tuple[int, pa.Table]]:
        """Every group by ascending key. May be called again; rows may not be added any more."""
        if self._held_rows:
            self._spill()
        for key in sorted({key for _, pieces in self._runs for key in pieces}):
            found = [reader.get_batch(pieces[key]) for reader, pieces in self._runs if key in pieces]
            table = pa.Table.from_batches(found, self._schema)
            yield key, table if len(found) == 1 else table.sort_by("id")

    def _spill(self) -> None:
        table = pa.concat_tables(self._held)
        ids = table["id"].to_numpy()
        keys = self._key(ids)
        order = np.lexsort((ids, keys))
        batch = table.take(pa.array(order)).combine_chunks()
        values, starts = np.unique(keys[order], return_index=True)
        ends = [*starts[1:], table.num_rows]
        file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - lives as long as self
        self._files.append(file)
        with pa.ipc.new_file(file, self._schema) as writer:
            for start, end in zip(starts, ends, strict=True):
                writer.write_table(batch.slice(start, end - start), max_chunksize=end - start)
        pieces = {int(value): number for number, value in enumerate(values)}
        self._runs.append((pa.ipc.open_file(pa.PythonFile(file, mode="r")), pieces))
        self._held, self._held_rows = [], 0

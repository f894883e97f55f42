"""External sort: spill sorted runs, merge them group by group, in bounded memory.

For rows that arrive in one order and are wanted in another: posts are swept by id and split by bucket; a manifest is
reconciled bucket by bucket and written by id; the lists of a release are read by id and written bucket by bucket. Each
run is sorted by group and id and spilled to a file without a name, so a killed process leaves nothing behind; a group
is then put together from its piece of every run.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    """A key that groups ids by ranges of `size`, so ids ascend within a group and from group to group."""
    return lambda ids: np.asarray(ids // size)


def by_remainder(size: int) -> Callable[[Ids], Ids]:
    """A key that groups ids by ``id % size``: by bucket, when `size` is the number of buckets."""
    return lambda ids: np.asarray(ids % size)


@dataclass(frozen=True, slots=True)
class _Run:
    """A sorted run on disk: one record batch per group."""

    reader: Any
    batch_of: dict[int, int]


class ExternalGroupBy:
    """Takes tables that have an ``id`` column and gives them back group by group, each sorted by id.

    Args:
        schema: of all tables.
        key: ids -> the number of each one's group.
        folder: where runs are spilled; the system's temporary folder by default.
        run_rows: rows held in memory before a run is spilled.
    """

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
        self._runs: list[_Run] = []

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
        """Every group that has rows, by ascending key. May be called again; no rows may be added after it."""
        if self._held_rows:
            self._spill()
        for key in sorted({key for run in self._runs for key in run.batch_of}):
            pieces = [run.reader.get_batch(run.batch_of[key]) for run in self._runs if key in run.batch_of]
            table = pa.Table.from_batches(pieces, self._schema)
            yield key, table if len(pieces) == 1 else _sorted_by_id(table)

    def _spill(self) -> None:
        table, self._held, self._held_rows = pa.concat_tables(self._held), [], 0
        ids = table["id"].to_numpy()
        keys = self._key(ids)
        order = np.lexsort((ids, keys))
        (batch,) = table.take(pa.array(order)).combine_chunks().to_batches()
        values, starts = np.unique(keys[order], return_index=True)
        file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - lives as long as self
        self._files.append(file)
        # Not compressed: LZ4 would halve the file and double the CPU time of splitting posts by bucket (measured).
        with pa.ipc.new_file(file, batch.schema) as writer:
            for start, end in itertools.pairwise([*starts.tolist(), len(order)]):
                writer.write_batch(batch.slice(start, end - start))
        batch_of = {key: number for number, key in enumerate(values.tolist())}
        self._runs.append(_Run(pa.ipc.open_file(pa.PythonFile(file, mode="r")), batch_of))


def _sorted_by_id(table: pa.Table) -> pa.Table:
    """Pieces of several runs in the order of ids, as one chunk; rows that were added by ascending id need no sort."""
    ids = table["id"].to_numpy()
    return table.combine_chunks() if bool(np.all(ids[:-1] <= ids[1:])) else table.sort_by("id")

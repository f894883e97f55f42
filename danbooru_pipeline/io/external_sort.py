"""External sort: spill sorted runs, merge them group by group, in bounded memory.

For rows that arrive in one order and are wanted in another: posts are swept by id and split by bucket; a manifest is
reconciled bucket by bucket and written by id; the lists of a release are read by id and written bucket by bucket. Each
run is sorted by group and id and spilled to a file without a name, so a killed process leaves nothing behind; the last
one stays in memory. A group is then put together from its piece of every run.

Needs nothing but pyarrow, since `verify` runs where nothing else is installed.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import pyarrow as pa
import pyarrow.compute as pc

#: Rows held in memory before they are spilled; 250 bytes each in a manifest.
RUN_ROWS = 400_000

#: Ids -> the number of each one's group.
Key = Callable[[pa.ChunkedArray], pa.ChunkedArray]


def by_id_range(size: int) -> Key:
    """A key that groups ids by ranges of `size`, so ids ascend within a group and from group to group."""
    return lambda ids: pc.divide(ids, size)


def by_remainder(size: int) -> Key:
    """A key that groups ids by ``id % size``: by bucket, when `size` is the number of buckets."""
    return lambda ids: pc.subtract(ids, pc.multiply(pc.divide(ids, size), size))


@dataclass(frozen=True, slots=True)
class _Run:
    """A sorted run: one record batch per group, read from disk or cut from memory."""

    read: Callable[[int], pa.RecordBatch]
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
        key: Key,
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
        if self._held_rows:  # the last run stays in memory, where it is already
            batch, values, starts = self._sort()
            self._runs.append(_Run(lambda n: batch.slice(starts[n], starts[n + 1] - starts[n]), _places(values)))
        for key in sorted({key for run in self._runs for key in run.batch_of}):
            pieces = [run.read(run.batch_of[key]) for run in self._runs if key in run.batch_of]
            table = pa.Table.from_batches(pieces, self._schema)
            yield key, table if len(pieces) == 1 else _sorted_by_id(table)

    def _sort(self) -> tuple[pa.RecordBatch, list[int], list[int]]:
        """The held rows by group and id, the groups, and where each begins; and the end of the last."""
        table, self._held, self._held_rows = pa.concat_tables(self._held), [], 0
        keys = self._key(table["id"])
        order = pc.sort_indices(
            pa.table({"key": keys, "id": table["id"]}), sort_keys=[("key", "ascending"), ("id", "ascending")]
        )
        (batch,) = table.take(order).combine_chunks().to_batches()
        runs = pc.run_end_encode(keys.take(order).combine_chunks(), pa.int32())
        return batch, runs.values.to_pylist(), [0, *runs.run_ends.to_pylist()]

    def _spill(self) -> None:
        batch, values, starts = self._sort()
        file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - lives as long as self
        self._files.append(file)
        # Not compressed: LZ4 would halve the file and double the CPU time of splitting posts by bucket (measured).
        with pa.ipc.new_file(file, batch.schema) as writer:
            for start, end in itertools.pairwise(starts):
                writer.write_batch(batch.slice(start, end - start))
        reader = pa.ipc.open_file(pa.PythonFile(file, mode="r"))
        self._runs.append(_Run(reader.get_batch, _places(values)))


def _places(values: list[int]) -> dict[int, int]:
    return {value: place for place, value in enumerate(values)}


def _sorted_by_id(table: pa.Table) -> pa.Table:
    """Pieces of several runs in the order of ids, as one chunk; rows that were added by ascending id need no sort."""
    ids = table["id"].combine_chunks()
    ascending = pc.all(pc.less_equal(ids[:-1], ids[1:])).as_py()
    return table.combine_chunks() if ascending is not False else table.sort_by("id")

"""Parquet files: read in batches, written in row groups and shards, compared row by row, in bounded memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.io.atomic import atomic_file

SHARD_ROWS = 1_000_000
ROW_GROUP_ROWS = 100_000
BATCH_ROWS = 65_536
#: A list column whose dictionary grew past this would change its encoding in the middle; tags of a row group take 3 MB.
_DICTIONARY_BYTES = 64 * 2**20
#: Small, so that a reader of one row over HTTP fetches little; files are no larger and no slower for it (measured).
_PAGE_BYTES = 64 * 2**10
#: Tables of fewer rows are small: those of one bucket, of all but the largest sites.
_FEW_ROWS = 1_000


def store_options(rows: int) -> dict[str, Any]:
    """How a table of the store is written; in a release all tables are as `write_parquet` writes them.

    In a few rows, what zstd and statistics cost for each of fifty columns is most of the time, and of the bytes. In
    many, zstd 3 takes a third less than snappy, for 0.2 CPU s in 100,000 posts.
    """
    if rows < _FEW_ROWS:
        return {"compression": "snappy", "write_statistics": False, "write_page_checksum": True}
    return {"compression": "zstd", "compression_level": 3, "write_page_checksum": True}


def read_batches(path: Path, *, columns: Sequence[str] | None = None, rows: int = BATCH_ROWS) -> Iterator[pa.Table]:
    """The rows of a Parquet file, in tables of at most `rows` rows that never span row groups."""
    names = None if columns is None else list(columns)
    with pq.ParquetFile(path) as file:
        # One row group after the other: an iterator over all of them keeps what it has read in memory (measured).
        for number in range(file.num_row_groups):
            for batch in file.iter_batches(batch_size=rows, row_groups=[number], columns=names, use_threads=False):
                yield pa.Table.from_batches([batch])


def no_rows(schema: pa.Schema) -> pa.Table:
    """A table without rows. `Schema.empty_table` makes arrays from lists, before which Arrow imports pandas."""
    return pa.Table.from_batches([], schema=schema)


def one_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def row_count(path: Path) -> int:
    """How many rows a Parquet file has, read from its footer."""
    return int(pq.read_metadata(path).num_rows)


def rechunk(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly `rows` rows; the last one may be shorter."""
    held: list[pa.Table] = []
    held_rows = 0
    for table in tables:
        held.append(table)
        held_rows += table.num_rows
        if held_rows < rows:
            continue
        whole = pa.concat_tables(held)
        full = held_rows - held_rows % rows
        for start in range(0, full, rows):
            yield whole.slice(start, rows)
        held, held_rows = [whole.slice(full)], held_rows - full
    if held_rows:
        yield pa.concat_tables(held)


def write_parquet(path: Path, chunks: Iterable[pa.Table], *, schema: pa.Schema, dictionary: Sequence[str]) -> None:
    """Write each chunk as one row group; the file appears when all are written."""
    with atomic_file(path) as file, _writer(file, schema, dictionary) as writer:
        for chunk in chunks:
            # Schema metadata of the file that a chunk was read from must not end up in a release.
            writer.write_table(chunk.replace_schema_metadata(schema.metadata), row_group_size=max(1, chunk.num_rows))


def _writer(file: object, schema: pa.Schema, dictionary: Sequence[str]) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        compression_level=3,
        # Lists always, however many values they have: fastparquet reads plain ones as nothing, without an error.
        use_dictionary=[*dictionary, *(leaf for field in schema for leaf in _leaves(field) if "." in leaf)],
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
        data_page_size=_PAGE_BYTES,
        write_page_index=True,
    )


def _leaves(field: pa.Field, above: str = "") -> list[str]:
    """Paths of the columns that a field is stored as, like ``tags.list.element``."""
    path = f"{above}{field.name}"
    if pa.types.is_list(field.type):
        return _leaves(pa.field("element", field.type.value_type), f"{path}.list.")
    if pa.types.is_struct(field.type):
        return [leaf for each in field.type for leaf in _leaves(each, f"{path}.")]
    return [path]


def write_shards(
    tables: Iterable[pa.Table],
    rows: int,
    *,
    path_of: Callable[[int, int], Path],
    schema: pa.Schema,
    dictionary: Sequence[str],
    shard_rows: int = SHARD_ROWS,
) -> int:
    """Write tables as files of at most `shard_rows` rows. Returns how many files there are.

    Args:
        tables: of `rows` rows in all.
        rows: known beforehand, since the name of each file says how many there are.
        path_of: ``(n, of)`` -> path of the n-th file.
        schema: of the files.
        dictionary: columns that are dictionary-encoded.
        shard_rows: most rows of one file.
    """
    shards = max(1, -(-rows // shard_rows))
    # A shard is a whole number of row groups, so every chunk belongs to one file.
    group_rows = min(ROW_GROUP_ROWS, shard_rows)
    chunks = rechunk(tables, group_rows)
    for shard in range(shards):
        left = min(shard_rows, rows - shard * shard_rows)
        groups = -(-left // group_rows)
        first = (next(chunks) for _ in range(groups))
        write_parquet(path_of(shard, shards), first, schema=schema, dictionary=dictionary)
    return shards


class Side(StrEnum):
    """How two sorted tables differ in one id: in one of them only, more than once, or with other values."""

    LEFT_ONLY = "left_only"
    RIGHT_ONLY = "right_only"
    TWICE = "twice"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Difference:
    """One id in which two sorted tables differ."""

    id: int
    side: Side


def differences(left: Iterable[pa.Table], right: Iterable[pa.Table]) -> Iterator[Difference]:
    """What differs between two tables that have the same columns and are sorted by id, each given in chunks."""
    other = SortedRows(right)
    for chunk in left:
        if chunk.num_rows:
            yield from _chunk_differences(chunk, other.take_up_to(pc.max(chunk["id"]).as_py()))
    for rest in other.rest():
        yield from (Difference(id_, Side.RIGHT_ONLY) for id_ in rest["id"].to_pylist())


class SortedRows:
    """Rows sorted by id, taken from the front."""

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        self._tables = iter(tables)
        self._held: list[pa.Table] = []

    def take_up_to(self, last: int) -> list[pa.Table]:
        """The rows up to an id that were not taken yet."""
        taken = []
        while (table := self._next()) is not None:
            within = pc.sum(pc.less_equal(table["id"], last)).as_py() or 0
            taken.append(table.slice(0, within))
            if within < table.num_rows:
                self._held.append(table.slice(within))
                break
        return taken

    def rest(self) -> Iterator[pa.Table]:
        """All rows that were not taken yet."""
        while (table := self._next()) is not None:
            yield table

    def _next(self) -> pa.Table | None:
        # Not `yield from`: a generator that is abandoned early would close the tables with it.
        return self._held.pop() if self._held else next(self._tables, None)


def _chunk_differences(left: pa.Table, found: list[pa.Table]) -> Iterator[Difference]:
    right = pa.concat_tables(found) if found else left.slice(0, 0)
    if left.equals(right):
        return
    left_rows, right_rows = ({row["id"]: row for row in side.to_pylist()} for side in (left, right))
    for id_ in sorted(left_rows.keys() | right_rows.keys()):
        if id_ not in right_rows:
            yield Difference(id_, Side.LEFT_ONLY)
        elif id_ not in left_rows:
            yield Difference(id_, Side.RIGHT_ONLY)
        elif left_rows[id_] != right_rows[id_]:
            yield Difference(id_, Side.DIFFERS)
    for side in (left, right):
        counts = pc.value_counts(side["id"])
        yield from (Difference(row["values"], Side.TWICE) for row in counts.to_pylist() if row["counts"] > 1)

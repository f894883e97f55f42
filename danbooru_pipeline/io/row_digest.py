"""A digest of rows that depends on the rows alone: not on chunks, files, compression or a library's version."""

import hashlib
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import no_rows


class RowDigest:
    """SHA-256 of rows of one schema that arrive in chunks. Each column is hashed by itself, so chunks leave no trace.

    A list counts as one column of lengths and one column of items; a struct as one column per field.
    """

    def __init__(self, schema: pa.Schema) -> None:
        empty = no_rows(schema)
        self._columns = {
            leaf: (hashlib.sha256(), hashlib.sha256())
            for name in schema.names
            for leaf, _ in _leaves(name, empty[name].combine_chunks())
        }

    def update(self, table: pa.Table) -> None:
        """Add rows."""
        for name in table.column_names:
            for chunk in table[name].chunks:
                for leaf, column in _leaves(name, chunk):
                    lengths, values = self._columns[leaf]
                    lengths.update(_lengths(column))
                    values.update(_values(column))

    def hexdigest(self) -> str:
        """The digest of all rows so far."""
        whole = hashlib.sha256()
        for name, hashes in self._columns.items():
            whole.update(name.encode() + b"\0" + b"".join(part.digest() for part in hashes))
        return whole.hexdigest()


def _leaves(name: str, column: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """The columns of plain values that a nested column consists of, each under its own name."""
    if pa.types.is_list(column.type):
        yield name, pc.list_value_length(column)
        yield from _leaves(f"{name}[]", column.flatten())
    elif pa.types.is_struct(column.type):
        for field in column.type:
            yield from _leaves(f"{name}.{field.name}", column.field(field.name))
    else:
        yield name, column


def _lengths(column: pa.Array) -> memoryview:
    """The length of every value; -1 for a null."""
    if pa.types.is_string(column.type):
        lengths = pc.binary_length(column).fill_null(-1)
    else:
        lengths = pc.if_else(column.is_valid(), pa.scalar(1, pa.int32()), pa.scalar(-1, pa.int32()))
    return memoryview(lengths.to_numpy(zero_copy_only=False)).cast("B")


def _values(column: pa.Array) -> memoryview:
    """All values one after the other; nothing, or zero, for nulls."""
    if pa.types.is_string(column.type):
        return _text(column.fill_null(""))
    if pa.types.is_fixed_size_binary(column.type):
        return _text(column.cast(pa.binary()).fill_null(b""))
    whole = column.cast(pa.int8() if pa.types.is_boolean(column.type) else pa.int64())
    return memoryview(whole.fill_null(0).to_numpy(zero_copy_only=False)).cast("B")


def _text(column: pa.Array) -> memoryview:
    _, offsets, data = column.buffers()
    if data is None or not len(column):
        return memoryview(b"")
    bounds = memoryview(offsets).cast("B").cast("i")
    return memoryview(data)[bounds[column.offset] : bounds[column.offset + len(column)]]

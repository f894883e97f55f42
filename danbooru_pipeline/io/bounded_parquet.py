"""Parquet that somebody else made: what a footer announces is held against the file first.

A footer of a few bytes can announce 10¹² rows, or a list of so many values, and a dictionary of one long text can stand
for gigabytes. Arrow believes all of it, so none is handed to it. The limits are far above what a release has.

Nor are a file's notes for other programs handed on: pandas parses its own, and may raise anything. Columns are of the
kinds that releases have, since others hold values that Python has not, like a day after the year 9999.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.io.parquet import BATCH_ROWS
from danbooru_pipeline.io.untrusted import opened
from danbooru_pipeline.release_paths import SHARD

#: The smallest and the largest value of a column in a row group, where the footer says.
Extent: TypeAlias = tuple[Any, Any] | None
#: A file may announce a row for each of its bytes, and this many more.
_ROWS_MORE = BATCH_ROWS
#: Row groups of any size, and then one for so many rows.
_GROUPS, _GROUP_ROWS = 1000, 1000
_COLUMNS = 500
#: So few that all columns of a batch take little memory.
FEW_ROWS = 8_192
#: Bytes of a column in a row group, and of a batch in memory.
_CHUNK_BYTES, _BATCH_BYTES = 2**30, 2**29
#: Of what Arrow holds more than once while it reads: a column with a dictionary, and a batch before anything is made.
_CODED_BYTES, _READ_BYTES = 3 * 2**26, 3 * 2**27
#: How a release stores values. Others let a few bytes stand for long texts.
_ENCODINGS = frozenset({"PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"})
#: Bytes of a value in memory, of a text those of its place in a dictionary; and of how it is nested.
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12, "BYTE_ARRAY": 4}
_NESTING = 4
#: The id of a post is a number in every table. In a side table a source may have a word among them, and then all are
#: as `release/tables/side_tables.py` writes such a column.
_IDS = (pa.int64(),)
_ODD_IDS = (*_IDS, pa.string(), pa.bool_(), pa.list_(pa.string()), pa.list_(pa.field("element", pa.string())))
_OF_A_SOURCE = re.compile(rf"parquet/(?!posts-){SHARD.pattern}")
#: How the names of our own notes in a schema begin.
_OURS = b"danbooru_pipeline."
_KINDS = (
    *(pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating),
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_fixed_size_binary),
)
#: A time of another zone is looked up in a list that this machine may lack, by a name that the file gives.
_ZONES = frozenset({None, "UTC"})
_THRIFT = {"thrift_string_size_limit": 2**26, "thrift_container_size_limit": 2**20}


def read_untrusted(
    root: Path,
    name: str,
    *,
    columns: Sequence[str] | None = None,
    rows: int = BATCH_ROWS,
    groups: Sequence[int] | None = None,
) -> Iterator[pa.Table]:
    """The rows of a file, in tables of at most `rows` rows; only of these row groups.

    Raises:
        ValueError: it announces what no release has.
        Exception: whatever else a reader of a hostile file raises.
    """
    wanted = None if columns is None else list(columns)
    with opened(root, name) as file, pq.ParquetFile(file, **_THRIFT) as first:
        _check_footer(first.metadata, os.fstat(file.fileno()).st_size)
        _check_kinds(first.schema_arrow, name)
        few = _with_dictionaries(first)
        # The same open file with the footer that was checked, whatever has its name by now.
        parquet = pq.ParquetFile(file, metadata=first.metadata, read_dictionary=few, **_THRIFT) if few else first
        for number in range(parquet.num_row_groups) if groups is None else groups:
            _check_batch(first.metadata, number, wanted, rows)
            for batch in parquet.iter_batches(rows, row_groups=[number], columns=wanted, use_threads=False):
                yield _plain(pa.Table.from_batches([batch]).replace_schema_metadata(_notes(batch.schema)))


@contextmanager
def checked_footer(root: Path, name: str) -> Iterator[tuple[BinaryIO, Any]]:
    """A file and its footer.

    Raises:
        As `read_untrusted`.
    """
    with opened(root, name) as file, pq.ParquetFile(file, **_THRIFT) as parquet:
        _check_footer(parquet.metadata, os.fstat(file.fileno()).st_size)
        yield file, parquet.metadata


def announced_rows(root: Path, name: str) -> int:
    """How many rows a file has by its footer.

    Raises:
        As `read_untrusted`.
    """
    with checked_footer(root, name) as (_, footer):
        return int(footer.num_rows)


def extents(root: Path, name: str, columns: Sequence[str]) -> list[tuple[Extent, ...]]:
    """For each row group the smallest and largest value of some columns; None where the footer does not say.

    Raises:
        As `read_untrusted`.
    """
    with checked_footer(root, name) as (_, footer):
        places = {footer.schema.column(number).path: number for number in range(footer.num_columns)}
        return [
            tuple(_extent(group.column(places[column])) for column in columns)
            for group in map(footer.row_group, range(footer.num_row_groups))
        ]


def flat_columns(column: pa.Array) -> Iterator[pa.Array]:
    """The columns that one is stored as, in their order."""
    if pa.types.is_list(column.type):
        yield from flat_columns(column.flatten())
    elif pa.types.is_struct(column.type):
        for child in column.flatten():
            yield from flat_columns(child)
    else:
        yield column


def _extent(chunk: Any) -> Extent:
    stats = chunk.statistics
    return (stats.min, stats.max) if stats is not None and stats.has_min_max else None


def schema_of(root: Path, name: str) -> pa.Schema:
    """The columns of a file, and of its notes ours alone.

    Raises:
        As `read_untrusted`.
    """
    with opened(root, name) as file, pq.ParquetFile(file, **_THRIFT) as parquet:
        _check_footer(parquet.metadata, os.fstat(file.fileno()).st_size)
        schema = parquet.schema_arrow
    _check_kinds(schema, name)
    return schema.with_metadata(_notes(schema))


def _notes(schema: pa.Schema) -> dict[bytes, bytes] | None:
    return {key: value for key, value in (schema.metadata or {}).items() if key.startswith(_OURS)} or None


def _check_kinds(schema: pa.Schema, name: str) -> None:
    for column in schema:
        if not _is_kept(column.type):
            raise ValueError(f"has a column of {column.type}, and no release has one")
        if column.name == "id" and column.type not in (_ODD_IDS if _OF_A_SOURCE.fullmatch(name) else _IDS):
            raise ValueError("has ids of another type")


def _is_kept(kind: pa.DataType) -> bool:
    """Whether releases have columns of a type."""
    if pa.types.is_dictionary(kind) or pa.types.is_list(kind):
        return _is_kept(kind.value_type)
    if pa.types.is_struct(kind):
        return all(_is_kept(field.type) for field in kind)
    if pa.types.is_timestamp(kind):
        return kind.tz in _ZONES
    return any(is_kind(kind) for is_kind in _KINDS)


def _check_footer(footer: Any, size: int) -> None:
    groups = [footer.row_group(number) for number in range(min(footer.num_row_groups, size))]
    if not 0 <= footer.num_rows <= size + _ROWS_MORE:
        raise ValueError(f"announces {footer.num_rows:,} rows in {size:,} bytes")
    if footer.num_columns > _COLUMNS or len(groups) > _GROUPS + footer.num_rows // _GROUP_ROWS:
        raise ValueError(f"announces {footer.num_columns:,} columns in {footer.num_row_groups:,} row groups")
    if sum(group.num_rows for group in groups) != footer.num_rows or any(group.num_rows < 0 for group in groups):
        raise ValueError("its row groups do not add up to its rows")
    for group in groups:
        for number in range(group.num_columns):
            column = group.column(number)
            if not set(column.encodings) <= _ENCODINGS:
                raise ValueError(f"{column.path_in_schema} is stored in a way that no release has")
            if not 0 <= column.total_uncompressed_size <= (_CODED_BYTES if _is_coded(column) else _CHUNK_BYTES):
                raise ValueError(f"{column.path_in_schema} announces {column.total_uncompressed_size:,} bytes")
            if not 0 <= column.total_compressed_size <= size:
                raise ValueError(f"{column.path_in_schema} is larger than the file")


def _is_coded(column: Any) -> bool:
    return any("DICTIONARY" in encoding for encoding in column.encodings)


def _check_batch(footer: Any, number: int, columns: Sequence[str] | None, rows: int) -> None:
    """Refuse a row group of which some rows would take too much memory, whatever is in them."""
    group, size = footer.row_group(number), 0
    for place in range(group.num_columns):
        column, stored = group.column(place), footer.schema.column(place)
        if columns is None or column.path_in_schema.partition(".")[0] in columns:
            # Any one row may have all the values of a list.
            values = column.num_values if stored.max_repetition_level else min(rows, group.num_rows)
            size += values * (_NESTING + (stored.length or _WIDTHS.get(column.physical_type, 0)))
    if size > _READ_BYTES:
        raise ValueError(f"announces rows of {size:,} bytes")


def _with_dictionaries(parquet: pq.ParquetFile) -> list[str]:
    """Columns of text with a dictionary, in lists, too. Read as such, one long text is held once, not once a value."""
    footer = parquet.metadata
    return sorted(
        {
            column.path_in_schema
            for group in map(footer.row_group, range(footer.num_row_groups))
            for column in map(group.column, range(group.num_columns))
            if column.physical_type == "BYTE_ARRAY" and _is_coded(column)
        }
    )


def _plain(table: pa.Table) -> pa.Table:
    """The same table without dictionaries, if it is not too large for that."""
    size = table.nbytes
    for number, field in enumerate(table.schema):
        kind = _plain_kind(field.type)
        if kind != field.type:
            size += sum(_decoded_bytes(coded) for chunk in table[number].chunks for coded in _coded(chunk))
            if size > _BATCH_BYTES:
                break
            table = table.set_column(number, field.name, table[number].cast(kind))
    if size > _BATCH_BYTES:
        raise ValueError(f"has more than {_BATCH_BYTES:,} bytes in {table.num_rows:,} rows")
    return table


def _plain_kind(kind: pa.DataType) -> pa.DataType:
    """A type without dictionaries."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_list(kind):
        return pa.list_(_plain_field(kind.value_field))
    if pa.types.is_struct(kind):
        return pa.struct([_plain_field(field) for field in kind])
    if pa.types.is_nested(kind):
        raise ValueError(f"has a column of {kind}, and no release has one")
    return kind


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(_plain_kind(field.type))


def _coded(column: pa.Array) -> Iterator[pa.DictionaryArray]:
    """The texts with a dictionary in a column, also in lists."""
    return (leaf for leaf in flat_columns(column) if pa.types.is_dictionary(leaf.type))


def _decoded_bytes(column: pa.DictionaryArray) -> int:
    """Bytes of a column's texts, without making them."""
    return pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0


def untrusted_files(root: Path, pattern: str) -> list[Path]:
    """The Parquet files of a folder that match a pattern like ``parquet/tags-*.parquet``, in order, for any reader.

    Raises:
        ReleaseError: there is none, or one is a link or no file, or announces what no release has.
    """
    paths = sorted(root.glob(pattern))
    if not paths:
        raise ReleaseError(f"{root} has no {pattern}; fetch it")
    for path in paths:
        name = path.relative_to(root).as_posix()
        try:
            schema_of(root, name)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ReleaseError(f"{path} cannot be read ({error}); verify {root} first") from error
    return paths

"""Parquet of a release that may have been made to do harm: what a footer announces is held against the file first.

A footer of a few bytes can announce 10¹² rows, and a dictionary of one long string can stand for gigabytes. Arrow
believes both, so neither is handed to it. The limits are far above what a release has.
"""

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.io.parquet import BATCH_ROWS
from danbooru_pipeline.io.untrusted import opened, plain_names
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.verification import Verification

#: A file may announce a row for each of its bytes, and this many more.
_ROWS_MORE = BATCH_ROWS
#: Row groups of any size, and then one for so many rows.
_GROUPS, _GROUP_ROWS = 1000, 1000
_COLUMNS = 500
#: Bytes of a column in a row group, and of a batch in memory.
_CHUNK_BYTES, _BATCH_BYTES = 2**30, 2**29
_THRIFT = {"thrift_string_size_limit": 2**26, "thrift_container_size_limit": 2**20}

_SHARD = re.compile(r"([a-z][a-z0-9_]*)-(\d{5})-of-(\d{5})\.parquet")


def tables_in(run: Verification, folder: str) -> list[str]:
    """Sorted names of the tables that have files in a folder."""
    matches = map(_SHARD.fullmatch, plain_names(run.folder, folder))
    return sorted({match[1] for match in matches if match})


def shards(run: Verification, folder: str, table: str) -> list[str] | None:
    """Paths of a table's files, in order; None when they are not complete."""
    matches = [match for name in plain_names(run.folder, folder) if (match := _SHARD.fullmatch(name))]
    names = [match[0] for match in matches if match[1] == table]
    expected = [f"{table}-{number:05d}-of-{len(names):05d}.parquet" for number in range(len(names))]
    return [f"{folder}/{name}" for name in names] if names and names == expected else None


def readable_shards(run: Verification, folder: str, table: str) -> Sequence[str] | None:
    """The same, with a finding if they cannot be read: an altered file is never given to a reader of binary formats."""
    kind = Kind.MANIFEST_UNREADABLE if folder == "manifest" else Kind.PARQUET_UNREADABLE
    names = shards(run, folder, table)
    if names is None:
        run.add(kind, f"{folder}/{table}-*.parquet", "the files are not complete")
        return None
    wrong = [name for name in names if name in run.altered]
    for name in wrong:
        run.add(kind, name, "is altered, and was not read")
    return None if wrong else names


def whole_table(run: Verification, folder: str, table: str) -> Sequence[str]:
    """The files of a table that another check has found complete and not altered; none otherwise."""
    names = shards(run, folder, table) or []
    return [] if any(name in run.altered for name in names) else names


def batches(
    run: Verification, name: str, *, columns: Sequence[str] | None = None, rows: int = BATCH_ROWS
) -> Iterator[pa.Table]:
    """The rows of a file, in tables of at most `rows` rows.

    Raises:
        ValueError: it announces what no release has.
        Exception: whatever else a reader of a hostile file raises; see `Verification.reading`.
    """
    wanted = None if columns is None else list(columns)
    with opened(run.folder, name) as file, pq.ParquetFile(file, **_THRIFT) as parquet:
        _check_footer(parquet.metadata, os.fstat(file.fileno()).st_size)
        few = _with_dictionaries(parquet)
    with opened(run.folder, name) as file, pq.ParquetFile(file, read_dictionary=few, **_THRIFT) as parquet:
        for number in range(parquet.num_row_groups):
            for batch in parquet.iter_batches(rows, row_groups=[number], columns=wanted, use_threads=False):
                yield _plain(pa.Table.from_batches([batch]))


def announced_rows(run: Verification, name: str) -> int:
    """How many rows a file has by its footer.

    Raises:
        As `batches`.
    """
    with opened(run.folder, name) as file, pq.ParquetFile(file, **_THRIFT) as parquet:
        _check_footer(parquet.metadata, os.fstat(file.fileno()).st_size)
        return int(parquet.metadata.num_rows)


def schema_of(run: Verification, name: str) -> pa.Schema:
    """The columns of a file.

    Raises:
        As `batches`.
    """
    with opened(run.folder, name) as file, pq.ParquetFile(file, **_THRIFT) as parquet:
        _check_footer(parquet.metadata, os.fstat(file.fileno()).st_size)
        return parquet.schema_arrow


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
            if not 0 <= column.total_uncompressed_size <= _CHUNK_BYTES:
                raise ValueError(f"{column.path_in_schema} announces {column.total_uncompressed_size:,} bytes")
            if not 0 <= column.total_compressed_size <= size:
                raise ValueError(f"{column.path_in_schema} is larger than the file")


def _with_dictionaries(parquet: pq.ParquetFile) -> list[str]:
    """Columns of text with a dictionary. Read as such, one long text is held once, not once a row."""
    footer, schema = parquet.metadata, parquet.schema_arrow
    texts = {field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_dictionary(field.type)}
    return sorted(
        {
            column.path_in_schema
            for group in map(footer.row_group, range(footer.num_row_groups))
            for column in map(group.column, range(group.num_columns))
            if column.path_in_schema in texts and any("DICTIONARY" in encoding for encoding in column.encodings)
        }
    )


def _plain(table: pa.Table) -> pa.Table:
    """The same table without dictionaries, if it is not too large for that."""
    size = table.nbytes
    for number, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            size += sum(map(_decoded_bytes, table[number].chunks))
            if size > _BATCH_BYTES:
                break
            table = table.set_column(number, field.name, table[number].cast(field.type.value_type))
    if size > _BATCH_BYTES:
        raise ValueError(f"has more than {_BATCH_BYTES:,} bytes in {table.num_rows:,} rows")
    return table


def _decoded_bytes(column: pa.DictionaryArray) -> int:
    """Bytes of a column's texts, without making them."""
    return pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0

"""Side tables of a release: which it has, and the same as typed Parquet. A table is read twice and never held whole.

The type of a column follows from its name if every value fits it; otherwise the column is text.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from danbooru_pipeline.errors import ReleaseRefused
from danbooru_pipeline.io.parquet import rechunk, write_shards
from danbooru_pipeline.posts import TIMESTAMP, parse_timestamp
from danbooru_pipeline.release.tables.json_columns import BLOCK_BYTES, integer, kind_by_name, names_in, typed
from danbooru_pipeline.release_paths import metadata_folder, metadata_path, parquet_path

_ROWS = 50_000
_decoder = msgspec.json.Decoder(dict[str, Any])


def side_table_files(folder: Path, year: int) -> dict[str, Path]:
    """Name -> JSON lines of each side table that a release, or a tree that becomes one, has in ``metadata/YEAR``."""
    ending = Path(metadata_path(year, "", 0)).name
    names = sorted(path.name.removesuffix(ending) for path in (folder / metadata_folder(year)).glob(f"*{ending}"))
    posts = {"posts", str(year)}  # in the dialects of 2021 and 2017
    return {name: folder / metadata_path(year, name, 0) for name in names if name not in posts}


def write_side_tables(folder: Path, tables: Mapping[str, Path]) -> dict[str, int]:
    """Write ``parquet/TABLE-00000-of-00001.parquet`` for each table that has rows. Returns the rows of each table."""
    rows: dict[str, int] = {}
    for name, source in tables.items():
        schema, rows[name] = _schema(name, source)
        if rows[name]:
            write_shards(
                rechunk(_tables(source, schema), _ROWS),
                rows[name],
                path_of=lambda n, of, name=name: folder / parquet_path(name, n, of=of),  # type: ignore[misc]
                schema=schema,
                dictionary=(),
            )
    return rows


def text(value: Any) -> str:
    """A value as a column of texts holds it: what is no text is as JSON has it."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _blocks(source: Path) -> Iterator[list[dict[str, Any]]]:
    """The records of a table, some megabytes of lines at a time."""
    done = 0
    with source.open("rb") as file:
        while lines := file.readlines(BLOCK_BYTES):
            records: list[dict[str, Any]] = []
            try:
                records.extend(map(_decoder.decode, lines))
            except (ValueError, RecursionError) as error:
                raise ReleaseRefused(
                    f"{source} line {done + len(records) + 1} is not a JSON object ({error}); build `side_tables` again"
                ) from error
            done += len(records)
            yield records


def _schema(table: str, source: Path) -> tuple[pa.Schema, int]:
    """The columns of a table in the order in which they first appear, and its number of rows."""
    kinds: dict[str, pa.DataType] = {}
    rows = 0
    for records in _blocks(source):
        rows += len(records)
        for name in names_in(records):
            first = next(record[name] for record in records if name in record)
            wanted = kinds.get(name) or kind_by_name(table, name, first)
            values = [record.get(name) for record in records]
            kinds[name] = wanted if typed(values, wanted) is not None else _wide_enough(wanted, values)
    if rows and not kinds:
        raise ReleaseRefused(f"{source} has {rows:,} lines without a field; build `side_tables` again")
    return pa.schema(list(kinds.items()), metadata={"danbooru_pipeline.schema": "1"}), rows


def _fits(kind: pa.DataType, value: Any) -> bool:
    try:
        _converter(kind)(value)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _wider(kind: pa.DataType, value: Any) -> pa.DataType:
    both_lists = pa.types.is_list(kind) and isinstance(value, list)
    return pa.list_(pa.string()) if both_lists else pa.string()


def _wide_enough(kind: pa.DataType, values: list[Any]) -> pa.DataType:
    for value in values:
        kind = kind if _fits(kind, value) else _wider(kind, value)
    return kind


def _tables(source: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    for records in _blocks(source):
        yield pa.table(
            [_column([record.get(field.name) for record in records], field.type) for field in schema], schema=schema
        )


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    column = typed(values, kind)
    return one_by_one(values, kind) if column is None else column


def one_by_one(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Values as an array of a kind.

    Raises:
        ValueError, TypeError: one does not fit.
    """
    return pa.array(list(map(_converter(kind), values)), kind)


def _converter(kind: pa.DataType) -> Callable[[Any], Any]:
    """A function that converts a value of the dialect to one of a column, and raises if the value does not fit."""
    if pa.types.is_list(kind):
        inner = _converter(kind.value_type)
        return lambda value: None if value is None else [inner(item) for item in _as_list(value)]
    one = {pa.int64(): integer, pa.bool_(): _boolean, pa.string(): text, TIMESTAMP: _instant}[kind]
    return lambda value: None if value is None else one(value)


def _as_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not a boolean")
    return value


def _instant(value: Any) -> datetime:
    if not isinstance(value, str):
        raise TypeError("not a timestamp")
    return parse_timestamp(value).astimezone(UTC)

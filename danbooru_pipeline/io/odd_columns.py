"""Columns whose type followed from their values: a source may have a word where a number belongs.

Such a column is text, or of another type. Whoever joins or counts by it reads it here, as Arrow or in SQL: a value that
is of the kind which is asked for counts, in whichever type it is stored, and every other one is null.
"""

import json
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import one_chunk

#: An integer as JSON writes it. Readers of numbers take more for one: 05, 5.0, 1e3.
INTEGER_FORM: Final = "0|-?[1-9][0-9]{0,18}"
_TEXT: Final = "VARCHAR"
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def numbers(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The integers of a column that fit 64 bits; null elsewhere."""
    values = _plain(column)
    if pa.types.is_integer(values.type):
        return values.cast(pa.int64())
    if not pa.types.is_string(values.type):
        return pa.nulls(len(values), pa.int64())
    written = pc.if_else(pc.match_substring_regex(values, f"^(?:{INTEGER_FORM})$"), values, None)
    if (pc.max(pc.utf8_length(written)).as_py() or 0) < len(str(2**63 - 1)):
        return written.cast(pa.int64())
    held = [None if text is None or not -(2**63) <= int(text) < 2**63 else int(text) for text in written.to_pylist()]
    return pa.array(held, pa.int64())


def texts(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The values of a column as texts; what is no text is as JSON has it."""
    values = _plain(column)
    if pa.types.is_string(values.type):
        return values
    if pa.types.is_boolean(values.type) or pa.types.is_integer(values.type):
        return values.cast(pa.string())
    return pa.array([None if value is None else _ENCODE(value) for value in values.to_pylist()], pa.string())


def marks(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Which values of a column are true; none is null."""
    values = _plain(column)
    true = values if pa.types.is_boolean(values.type) else pc.equal(texts(values), "true")
    return true.fill_null(False)  # noqa: FBT003 - Arrow's own


def _plain(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    values = one_chunk(column)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.string()) if pa.types.is_large_string(values.type) else values


def number_sql(column: str, kind: str) -> str:
    """The SQL of `numbers`, of a column of a type as DuckDB names it."""
    if kind in {"BIGINT", "INTEGER", "SMALLINT", "TINYINT"}:
        return column
    if kind != _TEXT:
        return "NULL::BIGINT"
    return f"TRY_CAST(CASE WHEN regexp_full_match({column}, '{INTEGER_FORM}') THEN {column} END AS BIGINT)"


def numbers_sql(column: str, kind: str) -> str:
    """The SQL of the values of a column of lists, each as in `numbers`; a text that is the JSON of one is one, too."""
    if kind == "BIGINT[]":
        return column
    if kind not in {_TEXT, f"{_TEXT}[]"}:
        return "NULL::BIGINT[]"
    listed = f"TRY_CAST({column} AS {_TEXT}[])" if kind == _TEXT else column
    return f"list_transform({listed}, lambda each: {number_sql('each', _TEXT)})"


def text_sql(column: str) -> str:
    """The SQL of `texts`, but for lists."""
    return f"CAST({column} AS {_TEXT})"


def mark_sql(column: str) -> str:
    """The SQL of `marks`."""
    return f"coalesce({text_sql(column)} = 'true', false)"

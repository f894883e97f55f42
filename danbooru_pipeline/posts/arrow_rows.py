"""Rows that arrive as Arrow, as BigQuery sends them, typed a batch at a time."""

from collections.abc import Mapping
from decimal import Decimal
from functools import reduce
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.io.fast_json import encode
from danbooru_pipeline.io.parquet import one_chunk
from danbooru_pipeline.layout import INT64_MAX
from danbooru_pipeline.posts.arrow_columns import BYTES, MD5_BYTES, is_any, is_list
from danbooru_pipeline.posts.lines import Typed
from danbooru_pipeline.posts.record import NEVER_EMPTY, SHOWS_A_FILE, RejectedRow, parse_record
from danbooru_pipeline.posts.schema import POST_SCHEMA, SITE_COLUMNS

#: Kinds of types whose values fit without a look at each of them.
_KINDS: Final = (
    pa.types.is_integer,
    pa.types.is_boolean,
    pa.types.is_timestamp,
    lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
)


def type_batch(batch: pa.RecordBatch) -> Typed:
    """A batch of posts as rows of `POST_SCHEMA`, the same as `parse_record` gives, whatever types the columns have.

    If a column has another type, the batch is typed one row at a time; so is a row that has a list of tags, which is of
    the dialect until 2020. Unknown columns go to `extra`, as with every other source; null is no value of theirs.

    Raises:
        SourceUnusable: an MD5 comes as bytes that are none.
    """
    source = _with_md5_as_text(pa.Table.from_batches([batch]))
    known = [name for name in source.column_names if name in SITE_COLUMNS]
    if "id" not in known or "created_at" not in known or not all(_fits(source, name) for name in known):
        return _one_by_one(source)
    plain = _plain(source)
    rows, rest = source.filter(plain), _one_by_one(source.filter(pc.invert(plain)))
    columns = {name: _column(rows[name], name) for name in known}
    columns["extra"] = _extra(rows.drop_columns(known), silent=_silent(columns))
    table = pa.Table.from_arrays(
        [columns.get(f.name, pa.nulls(rows.num_rows, f.type)) for f in POST_SCHEMA], schema=POST_SCHEMA
    )
    return Typed(pa.concat_tables([table, rest.table]), rest.rejected, source.num_rows)


def _with_md5_as_text(source: pa.Table) -> pa.Table:
    """Posts whose MD5 is hexadecimal text, as the site writes it, where it comes as the sixteen bytes themselves."""
    place = source.schema.get_field_index("md5")
    if place < 0 or not is_any(source.schema.field(place).type, BYTES):
        return source
    values = source[place].to_pylist()
    odd = next((value for value in values if value and len(value) != MD5_BYTES), None)
    if odd is not None:
        raise SourceUnusable(
            f"the column md5 of posts is BYTES and holds a value of {len(odd):,} bytes, where an MD5 has {MD5_BYTES}; "
            "change its type, or take posts from another source (DANBOORU_POSTS_SOURCE)"
        )
    texts = pa.array([None if value is None else value.hex() for value in values], pa.string())
    return source.set_column(place, "md5", texts)


def _fits(source: pa.Table, name: str) -> bool:
    kind, target = source.schema.field(name).type, POST_SCHEMA.field(name).type
    naive = pa.types.is_timestamp(kind) and kind.tz is None
    if naive or not any(is_kind(target) and is_kind(kind) for is_kind in _KINDS):
        return False
    if pa.types.is_integer(kind) and kind.bit_width == pa.int64().bit_width:
        ends = pc.min_max(source[name]).as_py()
        return all(end is None or abs(end) <= INT64_MAX for end in ends.values())
    return True


def _plain(source: pa.Table) -> pa.ChunkedArray:
    """Rows that can be placed, and are of today's dialect."""
    with_id = pc.fill_null(pc.greater(source["id"], 0), fill_value=False)
    placed = pc.and_(with_id, source["created_at"].is_valid())
    if "tags" not in source.column_names or not is_list(source.schema.field("tags").type):
        return placed
    return pc.and_(placed, source["tags"].is_null())


def _column(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    typed = column.cast(POST_SCHEMA.field(name).type)
    return pc.if_else(pc.equal(typed, ""), None, typed) if name in NEVER_EMPTY else typed


def _silent(columns: Mapping[str, pa.ChunkedArray]) -> np.ndarray | None:
    """Posts that show a file and have a null for whether they are banned."""
    shown = [columns[name].is_valid() for name in SHOWS_A_FILE if name in columns]
    if not shown or "is_banned" not in columns:
        return None
    silent = pc.and_(columns["is_banned"].is_null(), reduce(pc.or_, shown))
    return np.asarray(one_chunk(silent).to_numpy(zero_copy_only=False))


def _extra(unknown: pa.Table, *, silent: np.ndarray | None) -> pa.Array:
    """Unknown columns as one JSON object per row; null where all of them are null."""
    rows: list[str | None] = [None] * unknown.num_rows
    some = [name for name in unknown.column_names if unknown[name].null_count < unknown.num_rows]
    marked = np.zeros(len(rows), bool) if silent is None else silent
    there = np.logical_or.reduce(
        [marked, *(one_chunk(unknown[n]).is_valid().to_numpy(zero_copy_only=False) for n in some)]
    )
    numbers = np.flatnonzero(there).tolist()
    records = unknown.select(some).filter(pa.array(there)).to_pylist() if some else ({} for _ in numbers)
    for number, record in zip(numbers, records, strict=True):
        held = _without_nulls(as_json(record)) | ({"is_banned": None} if marked[number] else {})
        rows[number] = encode(held).decode()
    return pa.array(rows, pa.string())


def _without_nulls(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without unknown columns that are null: a table has every column in every row."""
    return {name: value for name, value in record.items() if value is not None or name in SITE_COLUMNS}


def _one_by_one(source: pa.Table) -> Typed:
    rows = [parse_record(_without_nulls(as_json(record))) for record in source.to_pylist()]
    kept = [row for row in rows if not isinstance(row, RejectedRow)]
    rejected = tuple(row for row in rows if isinstance(row, RejectedRow))
    return Typed(pa.Table.from_pylist(kept, schema=POST_SCHEMA), rejected, len(rows))


def as_json(value: Any) -> Any:
    """A value as JSON has it: instants become text in ISO form, integral numbers integers, nested ones too."""
    if isinstance(value, dict):
        return {name: as_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, float | Decimal):
        return _whole(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _whole(number: float | Decimal) -> float | Decimal | int:
    """A number as an integer, if it is one that a column of integers holds."""
    if -INT64_MAX <= number <= INT64_MAX and number == int(number):  # false of NaN
        return int(number)
    return number

"""Rows that arrive as Arrow, as BigQuery sends them, typed a batch at a time."""

from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.posts.json_text import one_chunk
from danbooru_pipeline.posts.lines import Typed
from danbooru_pipeline.posts.record import RejectedRow, parse_record
from danbooru_pipeline.posts.schema import POST_SCHEMA, SITE_COLUMNS

#: Kinds of types whose values fit without a look at each of them.
_KINDS: Final = (
    pa.types.is_integer,
    pa.types.is_boolean,
    pa.types.is_timestamp,
    lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
)


def type_batch(batch: pa.RecordBatch) -> Typed:
    """A batch of posts as rows of `POST_SCHEMA`. If a column has another type, the batch is typed one row at a time.

    Unknown columns go to `extra`, as with every other source.
    """
    source = pa.Table.from_batches([batch])
    known = [name for name in source.column_names if name in SITE_COLUMNS]
    if "id" not in known or "created_at" not in known or not all(_fits(source, name) for name in known):
        return _one_by_one(source)
    placed = _placed(source)
    rest = source.filter(pc.invert(placed))
    rows = source.filter(placed)
    columns = {name: rows[name].cast(POST_SCHEMA.field(name).type) for name in known}
    columns["extra"] = _extra(rows.drop_columns(known))
    table = pa.Table.from_arrays(
        [columns.get(f.name, pa.nulls(rows.num_rows, f.type)) for f in POST_SCHEMA], schema=POST_SCHEMA
    )
    rejected = _one_by_one(rest).rejected if rest.num_rows else ()
    return Typed(table, rejected, source.num_rows)


def _fits(source: pa.Table, name: str) -> bool:
    kind, target = source.schema.field(name).type, POST_SCHEMA.field(name).type
    naive = pa.types.is_timestamp(kind) and kind.tz is None
    return not naive and any(is_kind(target) and is_kind(kind) for is_kind in _KINDS)


def _placed(source: pa.Table) -> pa.ChunkedArray:
    return pc.and_(pc.fill_null(pc.greater(source["id"], 0), fill_value=False), pc.is_valid(source["created_at"]))


def _extra(unknown: pa.Table) -> pa.Array:
    """Unknown columns as one JSON object per row; null where all of them are null."""
    rows: list[str | None] = [None] * unknown.num_rows
    some = [name for name in unknown.column_names if unknown[name].null_count < unknown.num_rows]
    if not some:
        return pa.array(rows, pa.string())
    there = np.logical_or.reduce([one_chunk(unknown[n]).is_valid().to_numpy(zero_copy_only=False) for n in some])
    for number, record in zip(
        np.flatnonzero(there).tolist(), unknown.select(some).filter(pa.array(there)).to_pylist(), strict=True
    ):
        rows[number] = msgspec.json.encode({n: v for n, v in as_json(record).items() if v is not None}).decode()
    return pa.array(rows, pa.string())


def _one_by_one(source: pa.Table) -> Typed:
    rows = [parse_record(as_json(record)) for record in source.to_pylist()]
    kept = [row for row in rows if not isinstance(row, RejectedRow)]
    rejected = tuple(row for row in rows if isinstance(row, RejectedRow))
    return Typed(pa.Table.from_pylist(kept, schema=POST_SCHEMA), rejected, len(rows))


def as_json(value: Any) -> Any:
    """A value as JSON has it: instants become text in ISO form, nested ones too."""
    if isinstance(value, dict):
        return {name: as_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else value

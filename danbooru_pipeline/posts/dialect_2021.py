"""The dialect of Danbooru2021: JSON lines as BigQuery extracts them. Readers of the original releases expect it.

Integers are strings, nulls are left out, timestamps read ``2021-12-31 23:03:35.373 UTC``, and ``<``, ``>`` and ``&``
are escaped. Columns that only some records have (`extra`) come last, in the same style. A line that came in this
dialect is written with the same bytes.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.fast_json import decode, encode
from danbooru_pipeline.io.parquet import one_chunk
from danbooru_pipeline.posts.json_text import ObjectLines, escape_markup, with_markup_escaped, with_raw
from danbooru_pipeline.posts.record import parse_timestamp
from danbooru_pipeline.posts.schema import POST_SCHEMA, SITE_COLUMNS

_SITE_FIELDS: Final = [POST_SCHEMA.field(name) for name in SITE_COLUMNS]
_SITE: Final = frozenset(SITE_COLUMNS)
_LISTS_2017: Final = ("tags", "pools", "favs")


def encode_2021(table: pa.Table) -> bytes:
    """Rows of `POST_SCHEMA` as lines."""
    objects = ObjectLines()
    for field in _SITE_FIELDS:
        column = one_chunk(table[field.name])
        if pa.types.is_integer(field.type):
            objects.integer(field.name, column)
        elif pa.types.is_timestamp(field.type):
            objects.instant(field.name, column)
        elif pa.types.is_boolean(field.type):
            objects.boolean(field.name, column)
        else:
            objects.text(field.name, column)
    extra = table["extra"]
    if extra.null_count < len(extra):
        texts = (_members(text, table, row) for row, text in enumerate(extra.to_pylist()))
        objects.members(pa.array(texts, pa.string()))
    return with_raw(with_markup_escaped(objects.lines()), one_chunk(table["raw"]), dialect_2017=False)


#: What readers of Danbooru2021 take for granted in a row with an id, and its value in a row that lacks it. The original
#: had no id in such a row, so readers skipped it.
_TAKEN_FOR_GRANTED: Final[dict[str, Any]] = {
    **dict.fromkeys(("source", "md5", "rating", "file_ext"), ""),
    **{f"tag_string{part}": "" for part in ("", "_general", "_character", "_copyright", "_artist", "_meta")},
    **{f"tag_count{part}": 0 for part in ("", "_general", "_character", "_copyright", "_artist", "_meta")},
    **dict.fromkeys(("uploader_id", "score", "image_width", "image_height", "file_size", "fav_count"), 0),
    **dict.fromkeys(("up_score", "down_score", "bit_flags"), 0),
    **dict.fromkeys(("is_pending", "is_flagged", "is_deleted", "is_banned"), False),
    **dict.fromkeys(("has_children", "has_active_children", "has_visible_children"), False),
}


def encode_2021_complete(table: pa.Table) -> bytes:
    """Rows of `POST_SCHEMA` as lines in which readers of Danbooru2021 find every key that they take for granted."""
    held_apart = _keys_of(one_chunk(table["extra"]))
    lacking = pa.repeat(pa.scalar(value=False), table.num_rows)
    filled: dict[str, pa.Array] = {}
    for name in (*_TAKEN_FOR_GRANTED, "updated_at"):
        column = one_chunk(table[name])
        if not column.null_count:
            continue
        # A value that did not fit its column is in `extra`, and is written from there.
        wanted = column.is_null()
        if held_apart:
            wanted = pc.and_(wanted, pa.array([name not in keys for keys in held_apart], pa.bool_()))
        if pc.any(wanted).as_py():
            other = one_chunk(table["created_at"]) if name == "updated_at" else pa.scalar(_TAKEN_FOR_GRANTED[name])
            filled[name] = pc.if_else(wanted, other.cast(column.type), column)
            lacking = pc.or_(lacking, wanted)
    if not filled:
        return encode_2021(table)
    filled["raw"] = pc.if_else(lacking, pa.scalar(None, pa.string()), one_chunk(table["raw"]))
    columns = [filled.get(name, table[name]) for name in POST_SCHEMA.names]
    return encode_2021(pa.Table.from_arrays(columns, schema=POST_SCHEMA))


def _keys_of(extra: pa.Array) -> list[frozenset[str]]:
    """The keys of each row; nothing where no row has any."""
    if extra.null_count == len(extra):
        return []
    return [frozenset(decode(text)) if text else frozenset() for text in extra.to_pylist()]


def _members(extra: str | None, table: pa.Table, row: int) -> str:
    """Unknown columns as members of an object, without the lists of 2017 to 2020, which this dialect does not have.

    Nor what those lists gave a column: readers of a key that is said twice differ in which value they take.
    """
    if extra is None:
        return ""
    known = {n: v for n, v in decode(extra).items() if n not in _LISTS_2017}
    more = {n: v for n, v in known.items() if n not in _SITE or not table[n][row].is_valid}
    more = to_2021_dialect(more)
    return "," + encode(more)[1:-1].decode() if more else ""


def format_timestamp(instant: datetime) -> str:
    """An instant as BigQuery writes it: UTC, the fraction without trailing zeros."""
    text = instant.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
    return (text.rstrip("0") if "." in text else text) + " UTC"


def to_2021_dialect(record: Mapping[str, Any]) -> dict[str, Any]:
    """One JSON record, nested ones included, with its values as BigQuery extracts them."""
    return {name: _value(name, value) for name, value in record.items() if value is not None}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return _text(name, value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, Mapping):
        return to_2021_dialect(value)
    if isinstance(value, list):
        return [_value("", item) for item in value]
    return value


def _text(name: str, value: str) -> str:
    if not name.endswith("_at"):
        return value
    try:
        return format_timestamp(parse_timestamp(value))
    except ValueError:
        return value


def encode_record(record: Mapping[str, Any]) -> bytes:
    """One record of any table as a line of this dialect, with its newline."""
    return escape_markup(encode(to_2021_dialect(record))) + b"\n"

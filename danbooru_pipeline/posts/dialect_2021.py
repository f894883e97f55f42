"""The dialect of Danbooru2021: JSON lines as BigQuery extracts them. Readers of the original releases expect it.

Integers are strings, nulls are left out, timestamps read ``2021-12-31 23:03:35.373 UTC``, and ``<``, ``>`` and ``&``
are escaped. Columns that only some records have (`extra`) come last, in the same style. A line that came in this
dialect is written with the same bytes.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from danbooru_pipeline.io.fast_json import decode, encode
from danbooru_pipeline.posts.json_text import ObjectLines, escape_markup, one_chunk, with_markup_escaped, with_raw
from danbooru_pipeline.posts.record import parse_timestamp
from danbooru_pipeline.posts.schema import POST_SCHEMA, SITE_COLUMNS

_SITE_FIELDS: Final = [POST_SCHEMA.field(name) for name in SITE_COLUMNS]
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
        objects.members(pa.array(map(_members, extra.to_pylist()), pa.string()))
    return with_raw(with_markup_escaped(objects.lines()), one_chunk(table["raw"]), dialect_2017=False)


def _members(extra: str | None) -> str:
    """Unknown columns as members of an object, without the lists of 2017 to 2020, which this dialect does not have."""
    if extra is None:
        return ""
    more = {n: v for n, v in decode(extra).items() if n not in _LISTS_2017}
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
    except (ValueError, OverflowError):
        return value


def encode_record(record: Mapping[str, Any]) -> bytes:
    """One record of any table as a line of this dialect, with its newline."""
    return escape_markup(encode(to_2021_dialect(record))) + b"\n"

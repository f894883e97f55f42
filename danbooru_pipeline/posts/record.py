"""One record of any dialect as a row: exact, one value at a time.

A record without a usable id or creation time cannot be placed in a release; it is rejected with a reason and counted.
Everything else is kept: an unknown column, or a value of an unexpected type, goes to `extra` as JSON, so drift of the
source is visible and nothing is lost. No network, no clock.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final

import pyarrow as pa

from danbooru_pipeline.io.fast_json import decode, encode
from danbooru_pipeline.layout import INT64_MAX
from danbooru_pipeline.posts.schema import CATEGORIES, POST_SCHEMA, SITE_COLUMNS, PostRow

INTEGER = re.compile(r"-?[0-9]{1,19}")
_INT8_MAX = 127


#: Why an `UnstorableRecord` is rejected.
UNSTORABLE: Final = "a lone surrogate or a number out of range"


class UnstorableRecord(dict[str, Any]):
    """A record that holds such a value, as near to it as can be stored; `unstorable` finds them."""


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A record that cannot be placed in a release, and why."""

    reason: str
    record: Mapping[str, Any]

    @property
    def line(self) -> bytes:
        """Its line of ``rejected.jsonl``, without a newline; values that JSON does not know are text."""
        return encode({"reason": self.reason, "record": self.record}, default=str)


def _to_int(value: object) -> int:
    if isinstance(value, str) and INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("not an integer")
    number = value
    if not -INT64_MAX <= number <= INT64_MAX:
        raise ValueError("out of range")
    return number


#: Truth as sources write it when they do not write JSON's.
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0", "0.0"), False),
}


def _to_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    known = _BOOLEANS.get(str(value).strip().lower()) if isinstance(value, str | int | float) else None
    if known is None:
        raise ValueError("not a boolean")
    return known


def _to_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a string")
    return value


def parse_timestamp(value: object) -> datetime:
    """An instant in UTC, from the API's ISO form with an offset or the mirror's ``YYYY-MM-DD HH:MM:SS.ffffff UTC``.

    Raises:
        ValueError: the value is in neither form, or in UTC beyond the years 1 to 9999.
    """
    if not isinstance(value, str):
        raise ValueError("not a timestamp")
    instant = datetime.fromisoformat(value.removesuffix(" UTC") + ("+00:00" if value.endswith(" UTC") else ""))
    if instant.tzinfo is None:
        raise ValueError("a timestamp without its offset")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("a timestamp beyond the years 1 to 9999") from None


def _converter(kind: pa.DataType) -> Callable[[object], Any]:
    if pa.types.is_integer(kind):
        return _to_int
    if pa.types.is_boolean(kind):
        return _to_bool
    if pa.types.is_timestamp(kind):
        return parse_timestamp
    return _to_text


#: An empty text in these is how a release of ours writes that there is none (`dialect_2021`).
NEVER_EMPTY: Final = frozenset({"md5", "file_ext", "rating"})
#: A row with one of these shows a file, which may be taken only if it is known not to be banned.
SHOWS_A_FILE: Final = ("md5", "file_url")
_CONVERTERS: Final = {name: _converter(POST_SCHEMA.field(name).type) for name in SITE_COLUMNS}


def parse_api_record(record: Mapping[str, Any]) -> PostRow | RejectedRow:
    """One object of ``/posts.json`` as a row of `POST_SCHEMA`."""
    return _parse(record, record)


def _parse(values: Mapping[str, Any], record: Mapping[str, Any]) -> PostRow | RejectedRow:
    if isinstance(record, UnstorableRecord):
        return RejectedRow(UNSTORABLE, record)
    row: PostRow = {}
    extra: dict[str, Any] = {}
    for name, value in values.items():
        convert = _CONVERTERS.get(name)
        if convert is None:
            extra[name] = value
        elif value is not None and not (value == "" and name in NEVER_EMPTY):
            try:
                row[name] = convert(value)
            except ValueError:
                extra[name] = _held_apart(value, convert)
    post_id = row.get("id")
    if post_id is None or post_id <= 0:
        return RejectedRow("no usable id", record)
    if "created_at" not in row:
        return RejectedRow("no usable created_at", record)
    if record.get("is_banned", False) is None and not row.keys().isdisjoint(SHOWS_A_FILE):
        extra["is_banned"] = None  # the site's own column has no null: nobody knows what this one means
    row["extra"] = encode(extra).decode() if extra else None
    return row


def _held_apart(value: Any, convert: Callable[[object], Any]) -> Any:
    """A misfit as `extra` holds it: what JSON has only as null, or as something that fits, is the item of a list.

    Tables have such values: numbers that are none, decimals and bytes, which JSON has as text.
    """
    if value is None or isinstance(value, str | int | list | dict) or (isinstance(value, float) and isfinite(value)):
        return value
    written = decode(encode(value))
    try:
        return [value] if written is None or convert(written) is not None else value
    except ValueError:
        return value


#: What the archives until 2020 write for a null; for times it is 1970. The empty texts are our own choice: readers of
#: that dialect expect every key, and at that time hidden posts still had theirs.
NONE_IN_2017: Final = {
    **dict.fromkeys(("parent_id", "approver_id", "pixiv_id"), "0"),
    **dict.fromkeys(("md5", "file_ext", "rating"), ""),
}
EPOCH: Final = "1970-01-01 00:00:00 UTC"
_EPOCH_IN_ISO: Final = "1970-01-01T00:00:00+00:00"


def parse_record(record: Mapping[str, Any]) -> PostRow | RejectedRow:
    """One record of any dialect as a row of `POST_SCHEMA`; the dialect until 2020 is recognised by its list of tags."""
    return _parse_2017(record) if isinstance(record.get("tags"), list) else parse_api_record(record)


def _parse_2017(record: Mapping[str, Any]) -> PostRow | RejectedRow:
    """A record of 2017 to 2020: `tags`, `pools` and `favs` become columns, and today's tag strings follow from `tags`.

    A list that does not fit its column stays in `extra` as well: pools have their categories among the ids.
    """
    plain: dict[str, Any] = {name: None if _is_none_in_2017(name, value) else value for name, value in record.items()}
    lists: PostRow = {"tags": _tags(plain["tags"])}
    if len(lists["tags"]) == len(plain["tags"]):
        del plain["tags"]
    for name in ("pools", "favs"):
        if isinstance(plain.get(name), list):
            lists[name] = _numbers(plain[name])
            if len(lists[name]) == len(plain[name]):
                del plain[name]
    row = _parse(plain, record)
    return row if isinstance(row, RejectedRow) else row | lists | strings_of(lists["tags"])


def _is_none_in_2017(name: str, value: object) -> bool:
    """Whether a value stands for a null, as text or as a table types it."""
    if value in (EPOCH, _EPOCH_IN_ISO):
        return True
    return name in NONE_IN_2017 and isinstance(value, str | int) and str(value) == NONE_IN_2017[name]


def _tags(items: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {
            "id": _or_none(tag.get("id"), INT64_MAX),
            "name": tag["name"],
            "category": _or_none(tag.get("category"), _INT8_MAX),
        }
        for tag in items
        if isinstance(tag, Mapping) and isinstance(tag.get("name"), str)
    ]


def _or_none(value: object, most: int) -> int | None:
    try:
        number = _to_int(value)
    except ValueError:
        return None
    return number if abs(number) <= most else None


def _numbers(items: Sequence[Any]) -> list[int]:
    found = (_or_none(item, INT64_MAX) for item in items)
    return [number for number in found if number is not None]


def strings_of(tags: Sequence[Mapping[str, Any]]) -> PostRow:
    """Today's columns of tags, of a list of them."""
    names: dict[str, int | None] = {tag["name"]: tag["category"] for tag in tags}  # a tag may be listed twice
    strings: PostRow = {"tag_string": " ".join(names), "tag_count": len(names)}
    for category, title in CATEGORIES.items():
        mine = [name for name, its in names.items() if its == category]
        strings[f"tag_string_{title}"] = " ".join(mine)
        strings[f"tag_count_{title}"] = len(mine)
    return strings

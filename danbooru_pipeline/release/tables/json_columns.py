"""Values of JSON lines as typed columns, all at once where they have the usual form. Needs pyarrow alone.

Whoever gets None looks at the values one by one, which takes ten times as long and knows every form. Arrow is always
told the type: of objects with keys of their own it would make one with the keys of all, in every row.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.posts.schema import TIMESTAMP

#: Of lines that are held at a time: a line may be as long as it likes.
BLOCK_BYTES: Final = 4 * 2**20
_NONE: Final = type(None)
#: Names of columns of integers, beside those that end in ``_id``.
_INTEGERS: Final = frozenset(
    {"id", "post_count", "x", "y", "width", "height", "version", "score", "response_count", "level"}
)
#: Forms that Arrow and `parse_timestamp` read alike, but for the ending, which Arrow knows as Z.
_INSTANTS: Final = r"^[12]\d{3}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{6}|\.\d{3})?( UTC|Z|[+-]\d\d:\d\d)$"


def names_in(records: Iterable[dict[str, Any]]) -> list[str]:
    """The names of all values, in the order in which they first appear."""
    return list(dict.fromkeys(name for record in records for name in record))


def kind_by_name(table: str, name: str, value: Any) -> pa.DataType:
    """The type of a column of a side table if every value fits it: by its name, and by a value."""
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, list):
        return pa.list_(pa.int64() if name.endswith("_ids") else pa.string())
    if name in _INTEGERS or name.endswith("_id") or (table, name) == ("tags", "category"):
        return pa.int64()
    return TIMESTAMP if name.endswith("_at") else pa.string()


def typed(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    """Values as an array of a kind; None if one does not fit, or has a form that is not looked at here."""
    try:
        if not pa.types.is_list(kind):
            return _plain(values, kind)
        return _lists(values, kind) if set(map(type, values)) <= {list, _NONE} else None
    except (pa.ArrowException, ValueError, LookupError, OverflowError):  # of texts, time zones and numbers
        return None


def integers(values: Sequence[Any]) -> list[int | None]:
    """The numbers of values that a column of integers would hold; None for every other one."""
    column = typed(values, pa.int64())
    return list(map(_integer_or_none, values)) if column is None else column.to_pylist()


def integer(value: Any) -> int:
    """A value as a number of 64 bits.

    Raises:
        ValueError, TypeError, OverflowError: it is none, or not written as one.
    """
    number = int(value)
    if isinstance(value, (bool, float)) or str(number) != str(value) or not -(2**63) <= number < 2**63:
        raise ValueError("not an integer")
    return number


def _integer_or_none(value: Any) -> int | None:
    try:
        return integer(value)
    except (ValueError, TypeError, OverflowError):
        return None


def _lists(values: Sequence[Any], kind: pa.ListType) -> pa.Array | None:
    items = _plain(list(chain.from_iterable(filter(None, values))), kind.value_type)
    if items is None:
        return None
    lengths = pa.array([None if value is None else len(value) for value in values], pa.int32())
    ends = pc.cumulative_sum(lengths.fill_null(0))
    return pa.ListArray.from_arrays(pa.concat_arrays([pa.array([0], pa.int32()), ends]), items, mask=lengths.is_null())


def _plain(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    types = set(map(type, values)) - {_NONE}
    if not types:
        return pa.nulls(len(values), kind)
    if types == {_USUAL.get(kind)}:
        return pa.array(values, kind)
    if types != {str}:
        return None
    if pa.types.is_int64(kind):
        return _integers(pa.array(values, pa.string()))
    return _instants(pa.array(values, pa.string()), kind) if pa.types.is_timestamp(kind) else None


#: What JSON has for a kind, beside texts.
_USUAL: Final = {pa.int64(): int, pa.bool_(): bool, pa.string(): str}


def _integers(texts: pa.StringArray) -> pa.Array | None:
    """Texts that Python would write of numbers in just this way."""
    numbers = texts.cast(pa.int64())
    return numbers if numbers.cast(pa.string()).equals(texts) else None


def _instants(texts: pa.StringArray, kind: pa.DataType) -> pa.Array | None:
    if not pc.all(pc.match_substring_regex(texts, _INSTANTS)).as_py():
        return None
    return pc.replace_substring(texts, " UTC", "Z").cast(kind)

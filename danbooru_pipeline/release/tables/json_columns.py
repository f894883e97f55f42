"""Values of JSON lines as typed columns, all at once where they have the usual form. Needs pyarrow alone.

Whoever gets None looks at the values one by one, which takes ten times as long and knows every form.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

#: Forms that Arrow and `parse_timestamp` read alike, but for the ending, which Arrow knows as Z.
_INSTANTS: Final = r"^[12]\d{3}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{6}|\.\d{3})?( UTC|Z|[+-]\d\d:\d\d)$"


def names_in(records: Iterable[dict[str, Any]]) -> list[str]:
    """The names of all values, in the order in which they first appear."""
    return list(dict.fromkeys(name for record in records for name in record))


def typed(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    """Values as an array of a kind; None if one does not fit, or has a form that is not looked at here."""
    try:
        return _cast(pa.array(values), kind)
    except (pa.ArrowException, OverflowError):
        return None


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array | None:
    if values.type == kind and not pa.types.is_list(kind):
        return values
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), kind)
    if pa.types.is_list(values.type) and pa.types.is_list(kind):
        items = _cast(values.values, kind.value_type)
        return None if items is None else pa.ListArray.from_arrays(values.offsets, items, mask=values.is_null())
    if not pa.types.is_string(values.type):
        return None
    if pa.types.is_int64(kind):
        return _integers(values)
    return _instants(values, kind) if pa.types.is_timestamp(kind) else None


def _integers(texts: pa.StringArray) -> pa.Array | None:
    """Texts that Python would write of numbers in just this way."""
    numbers = texts.cast(pa.int64())
    return numbers if numbers.cast(pa.string()).equals(texts) else None


def _instants(texts: pa.StringArray, kind: pa.DataType) -> pa.Array | None:
    if not pc.all(pc.match_substring_regex(texts, _INSTANTS)).as_py():
        return None
    return pc.replace_substring(texts, " UTC", "Z").cast(kind)

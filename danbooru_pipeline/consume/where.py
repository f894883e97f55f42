"""Conditions on rows, as readers write them, made into an Arrow expression that Parquet evaluates while it reads.

There are two forms. One is a list of ``(column, operator, value)``, all of which must hold, or a list of such lists, of
which one must hold: what pandas and pyarrow take as `filters`. The other is a `pyarrow.compute.Expression`, for
anything else. Neither is text that gets parsed, so a value cannot become part of the query.

A row without a value passes ``!=`` and ``not in``, as in plain pandas, and nothing else. `None` as the value asks for
exactly those rows (``==``) or for all others (``!=``).
"""

import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.consume.errors import BadQuery
from danbooru_pipeline.consume.names import require_names

#: ``(column, operator, value)``.
Condition: TypeAlias = tuple[str, str, Any]
#: What `where` may be.
Where: TypeAlias = pc.Expression | Sequence[Condition] | Sequence[Sequence[Condition]]

_COMPARE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MEMBER: Final = ("in", "not in")
OPERATORS: Final = (*_COMPARE, *_MEMBER)


def expression_of(where: Where | None, schema: pa.Schema, *, label: str) -> pc.Expression | None:
    """The expression of some conditions on a table that messages call `label`; None when there are no conditions.

    Raises:
        BadQuery: a condition has another form, or a value that does not fit its column.
        UnknownName: a column does not exist.
    """
    if where is None or isinstance(where, pc.Expression):
        return where
    groups = _groups(where)
    require_names((condition[0] for group in groups for condition in group), schema.names, what="column", of=label)
    parts = [_all(_one(condition, schema) for condition in group) for group in groups]
    return functools.reduce(operator.or_, parts) if parts else None


def _groups(where: Any) -> list[list[Condition]]:
    """The conditions as a list of groups, of which one must hold."""
    if isinstance(where, (str, tuple)):
        raise BadQuery(f"where={where!r} is not a list; give conditions in a list, like [('score', '>=', 10)]")
    held = list(where)
    groups = held if held and all(isinstance(group, list) for group in held) else [held] if held else []
    for group in groups:
        if not group:
            raise BadQuery("where has an empty list among its alternatives; leave it out")
        for condition in group:
            _check_form(condition)
    return groups


def _check_form(condition: Any) -> None:
    if not isinstance(condition, tuple) or len(condition) != 3 or not isinstance(condition[0], str):
        raise BadQuery(f"where has {condition!r}; each condition is (column, operator, value)")
    _, sign, value = condition
    if sign not in OPERATORS:
        raise BadQuery(f"where has the operator {sign!r}; use one of {', '.join(OPERATORS)}")
    if sign in _MEMBER and (isinstance(value, (str, bytes)) or not isinstance(value, Iterable)):
        raise BadQuery(f"where has {condition!r}; {sign!r} takes a list of values")


def _all(parts: Iterable[pc.Expression]) -> pc.Expression:
    return functools.reduce(operator.and_, parts)


def _one(condition: Condition, schema: pa.Schema) -> pc.Expression:
    name, sign, value = condition
    column, kind = pc.field(name), schema.field(name).type
    try:
        if sign in _MEMBER:
            found = column.isin(pa.array(list(value), kind, from_pandas=True))
            return ~found if sign == "not in" else found
        wanted = pa.scalar(value, kind, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise BadQuery(f"where has {condition!r}, but {name} is {kind}; give such a value") from error
    if not wanted.is_valid:
        return _missing(column, condition)
    compared = _COMPARE[sign](column, wanted)
    return compared | column.is_null() if sign == "!=" else compared


def _missing(column: pc.Expression, condition: Condition) -> pc.Expression:
    if condition[1] in {"==", "="}:
        return column.is_null()
    if condition[1] == "!=":
        return column.is_valid()
    raise BadQuery(f"where has {condition!r}; a missing value can only be compared with == and !=")

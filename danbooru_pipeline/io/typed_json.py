"""JSON from others as values of a dataclass, strictly typed, with the standard library alone.

For what `verify` reads: it runs where nothing but pyarrow is installed (see `release/verify/bundle`). Keys that the
class does not know are skipped, since a later version may have written them; a value of another type is an error.
"""

import dataclasses
import functools
import json
import types
import typing
from typing import Any, Final, TypeVar

T = TypeVar("T")


def decode(data: bytes, kind: type[T]) -> T:
    """A JSON document as a `kind`.

    Raises:
        ValueError: as `parse`, or it does not fit; the message names the place.
    """
    typed: T = _typed(parse(data), kind, "$")
    return typed


def parse(data: bytes | str) -> Any:
    """A JSON document as Python has it.

    Raises:
        ValueError: it is not JSON, nested too deeply, or says a key twice: other readers would take the other value.
    """
    try:
        # As text: from bytes, other encodings and a byte order mark would be taken, too.
        return _decoder.decode(data.decode() if isinstance(data, bytes) else data)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _not_json(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"says {next(name for name in names if names.count(name) > 1)!r} twice")
    return value


#: Made once: `json.loads` makes another one for each call that wants anything of its own.
_decoder: Final = json.JSONDecoder(parse_constant=_not_json, object_pairs_hook=_object)


def _typed(value: Any, kind: Any, where: str) -> Any:
    """A value as the type that is wanted at a place."""
    origin = typing.get_origin(kind)
    if origin in {types.UnionType, typing.Union}:
        (inner,) = (one for one in typing.get_args(kind) if one is not types.NoneType)
        return None if value is None else _typed(value, inner, where)
    if dataclasses.is_dataclass(kind):
        return _instance(_of(value, dict, where), kind, where)
    if origin is list:
        (inner,) = typing.get_args(kind)
        return [_typed(item, inner, f"{where}[{number}]") for number, item in enumerate(_of(value, list, where))]
    if origin is dict:
        _, inner = typing.get_args(kind)
        return {name: _typed(item, inner, f"{where}.{name}") for name, item in _of(value, dict, where).items()}
    return value if kind is Any else _scalar(value, kind, where)


def _scalar(value: Any, kind: Any, where: str) -> Any:
    return float(value) if kind is float and type(value) is int else _of(value, kind, where)


def _of(value: Any, kind: Any, where: str) -> Any:
    # By its exact type: a bool is an int to Python, but not to JSON.
    if type(value) is not kind:
        raise ValueError(f"{where} is {type(value).__name__}, and should be {kind.__name__}")
    return value


def _instance(value: dict[str, Any], kind: Any, where: str) -> Any:
    known: dict[str, Any] = {}
    for each, hint in _fields(kind):
        if each.name in value:
            known[each.name] = _typed(value[each.name], hint, f"{where}.{each.name}")
        elif each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where} has no {each.name}")
    return kind(**known)


@functools.cache
def _fields(kind: Any) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(kind)
    return [(each, hints[each.name]) for each in dataclasses.fields(kind)]

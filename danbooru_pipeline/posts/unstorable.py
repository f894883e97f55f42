r"""JSON by its grammar that holds a value which nothing here can store: ``"\ud800"`` alone, or ``1e999``.

Arrow, and all that writes UTF-8, has no place for half of a surrogate pair, nor for a number beyond a double. Such a
value costs its own record, and not the page or the block of lines around it. Only what could not be read is looked at,
so all else costs nothing.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from danbooru_pipeline.posts.record import UNSTORABLE, RejectedRow, UnstorableRecord

#: What msgspec raises of JSON that it cannot read.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_BLANK: Final = " \t\n\r"
_SPACE: Final = re.compile(f"[{_BLANK}]*")
#: No double has more digits before its point, so a longer integer is out of range.
_MOST_DIGITS: Final = 309


def unreadable_lines(data: bytes) -> Iterator[tuple[int, RejectedRow | None]]:
    """The lines that cannot be read, each with its place, counted from 0: as a row where it is JSON nonetheless."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for place, line in enumerate(data.split(b"\n")):
        if not line.strip():
            continue
        try:
            decode(line)
        except UNREADABLE:
            yield place, _as_row(line)


def _as_row(line: bytes) -> RejectedRow | None:
    try:
        record = _read_nearly(line)
    except ValueError:
        return None
    return RejectedRow(UNSTORABLE, record) if isinstance(record, UnstorableRecord) else None


def fault_of(line: bytes, *, name: str, number: int) -> str:
    """What is wrong with a line that is not a JSON object, and what to do, as far as the line itself shows."""
    damaged = f"{name} is damaged or truncated: line {number:,} is not a JSON object"
    this = f"line {number:,} of {name}"
    try:
        text = line.decode().strip(_BLANK)
        if text.endswith("},"):
            return f"{this} ends with a comma; take it away from all lines, like `sed 's/,$//'`"
        _decoder.decode(text)
    except UnicodeDecodeError:
        return f"{damaged}, and has bytes that are not UTF-8; get the file again, or save it as UTF-8"
    except RecursionError:
        return f"{this} is nested too deeply; mend or remove it"
    except json.JSONDecodeError:
        pass
    except ValueError as error:
        return f"{this} is not JSON, which {error}; write null instead"
    return f"{damaged}; get the file again"


def read_document(data: bytes | bytearray) -> Any:
    """A JSON document; those of its records that hold such a value become `UnstorableRecord`.

    Raises:
        ValueError: it is not JSON, or is nested too deeply.
    """
    try:
        return msgspec.json.decode(data)
    except UNREADABLE:
        return _read_nearly(data)


def _read_nearly(data: bytes | bytearray) -> Any:
    try:
        text = data.decode().strip(_BLANK)
        return list(_items(text)) if text.startswith("[") else _storable(_decoder.decode(text), text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _items(text: str) -> Iterator[Any]:
    at, last = _after_space(text, 1), len(text) - 1
    if at == last and text.endswith("]"):
        return
    while True:
        value, end = _decoder.raw_decode(text, at)
        yield _storable(value, text[at:end])
        at = _after_space(text, end)
        if at == last and text.endswith("]"):
            return
        if not text.startswith(",", at):
            raise ValueError(f"has no comma at character {at}")
        at = _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _storable(value: Any, text: str) -> Any:
    """What a text says, exactly where that can be stored, else as near to it as can be."""
    try:
        return msgspec.json.decode(text)
    except UNREADABLE:
        near = json.loads(_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", json.dumps(value, ensure_ascii=False)))
        return UnstorableRecord(near) if isinstance(near, dict) else near


def _integer(text: str) -> int | str:
    return text if len(text) > _MOST_DIGITS else int(text)


def _number(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"has no {name}")


_decoder: Final = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=_refuse_constant)

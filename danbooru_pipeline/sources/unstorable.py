r"""Lines that are JSON by its grammar and hold a value that nothing here can store: ``"\ud800"`` alone, or ``1e999``.

Arrow, and all that writes UTF-8, has no place for half of a surrogate pair, nor for a number beyond a double. A block
is looked at only when a line of it could not be read, so other files cost nothing.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from danbooru_pipeline.posts import RejectedRow

#: What such a line holds.
REASON: Final = "a lone surrogate or a number out of range"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
#: No double has more digits before its point, so a longer integer is out of range.
_MOST_DIGITS: Final = 309


def unreadable(data: bytes) -> Iterator[tuple[int, RejectedRow | None]]:
    """The lines that cannot be read, each with its place, counted from 0: as a row where it is JSON nonetheless."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for place, line in enumerate(data.split(b"\n")):
        if not line.strip():
            continue
        try:
            decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            yield place, _as_row(line)


def _as_row(line: bytes) -> RejectedRow | None:
    try:
        record = _decoder.decode(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    storable = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", json.dumps(record, ensure_ascii=False))
    return RejectedRow(REASON, json.loads(storable))


def _integer(text: str) -> int | str:
    return text if len(text) > _MOST_DIGITS else int(text)


def _number(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_decoder: Final = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=_refuse_constant)

"""Values of metatags that are numbers: ``5``, ``>5``, ``<=5``, ``1..5``, ``1...5``, ``5..``, ``1,2,3``, with units.

Numbers are written as the site takes them; what is not a number raises `ValueError` with what is expected.
"""

import re
from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from danbooru_pipeline.search.nodes import Range

#: Turns what stands between the signs into the range of values that it means: a day is a range, ``2mb`` nearly a point.
Reader: TypeAlias = Callable[[str], Range]

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL: Final = re.compile(r"[+-]?([0-9]{1,15}(\.[0-9]{0,15})?|\.[0-9]{1,15})")
_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})\s*(b|kb?|mb?|gb?)?", re.IGNORECASE)
_RATIO: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?)[:/]([0-9]{1,9}(?:\.[0-9]{0,9})?)")
_DATE: Final = re.compile(r"([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{1,2}))?)?")
_AGE: Final = re.compile(
    r"([0-9]{1,9}(?:\.[0-9]{0,9})?)\s*"
    r"(s|seconds?|mi|minutes?|h|hours?|d|days?|w|weeks?|mo|months?|y|years?)",
    re.IGNORECASE,
)
_BYTES: Final = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_SECONDS: Final = {
    "s": 1, "mi": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "mo": 30 * 86_400, "y": 365 * 86_400,
}  # fmt: skip
#: The site takes ``filesize:2mb`` and ``mpixels:2`` for what is within 5 %.
_ABOUT: Final = 0.05
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SIGNS: Final = (">=", "=>", "<=", "=<", ">", "<")


def parse_ranges(text: str, read: Reader) -> tuple[Range, ...]:
    """The ranges that a value means.

    Raises:
        ValueError: it has no such form; the message says what is expected.
    """
    return tuple(_one(part, read) for part in text.split(","))


def _one(text: str, read: Reader) -> Range:
    for sign in _SIGNS:
        if text.startswith(sign):
            return _compared(sign, read(text[len(sign) :]))
    if "..." in text:
        first, _, last = text.partition("...")
        return _between(first, last, read, is_open=True)
    if ".." in text:
        first, _, last = text.partition("..")
        return _between(first, last, read, is_open=False)
    return read(text)


def _compared(sign: str, value: Range) -> Range:
    # A sign speaks of the point itself, so what was taken for "about" is put back by its reader (see `exactly`).
    if ">" in sign:
        return Range(low=value.low) if "=" in sign else Range(low=value.high, open_low=not value.open_high)
    return Range(high=value.high, open_high=value.open_high) if "=" in sign else Range(high=value.low, open_high=True)


def _between(first: str, last: str, read: Reader, *, is_open: bool) -> Range:
    low, high = (read(part) if part else None for part in (first, last))
    if low is None and high is None:
        raise ValueError("expects a number on one side of ..")
    if low is not None and high is not None and None not in (low.low, high.high) and (low.low or 0) > (high.high or 0):
        low, high = high, low  # as on the site, which takes either order
    if high is None:
        return Range(low=low.low if low else None)
    end, end_is_open = (high.low, True) if is_open else (high.high, high.open_high)
    return Range(low=low.low if low else None, high=end, open_high=end_is_open)


def integer(text: str) -> Range:
    """A whole number."""
    if not _INTEGER.fullmatch(text):
        raise ValueError("expects a whole number, like 5, >5, 1..5 or 1,2,3")
    return Range(low=int(text), high=int(text))


def decimal(text: str) -> Range:
    """A number that may have decimals."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError("expects a number, like 2.5, >2 or 1..2")
    return Range(low=float(text), high=float(text))


def size(text: str) -> Range:
    """Bytes, perhaps with a unit of 1024."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError("expects a size, like 500kb, >2mb or 1m..2m")
    value = int(float(match[1]) * _BYTES[(match[2] or "")[:1].lower()])
    return Range(low=value, high=value)


def ratio(text: str) -> Range:
    """Width by height, as a number or as ``16:9``; to two decimals, as on the site."""
    match = _RATIO.fullmatch(text)
    if match and float(match[2]):
        value = round(float(match[1]) / float(match[2]), 2)
    elif _DECIMAL.fullmatch(text):
        value = round(float(text), 2)
    else:
        raise ValueError("expects a ratio, like 16:9, 4/3, 1.78 or >1")
    return Range(low=value, high=value)


def date(text: str) -> Range:
    """A day, a month or a year, in microseconds since 1970 (UTC)."""
    match = _DATE.fullmatch(text)
    try:
        # What has no such form is the year 0, which does not exist.
        year, month, day = (int(part) if part else None for part in (match.groups() if match else ("0", "", "")))
        first = datetime(year or 0, month or 1, day or 1, tzinfo=UTC)
    except ValueError:
        raise ValueError("expects a date, like 2020-01-31, 2020-01, 2020, >2019 or 2020-01-01..2020-06-30") from None
    days = 1 if day else monthrange(first.year, first.month)[1] if month else 366 if _is_leap(first.year) else 365
    start = (first - _EPOCH) // timedelta(microseconds=1)
    return Range(low=start, high=start + days * 86_400_000_000, open_high=True)


def _is_leap(year: int) -> bool:
    return monthrange(year, 2)[1] == 29


def age(text: str) -> Range:
    """A length of time in microseconds: ``3d``, ``2weeks``, ``1y``."""
    match = _AGE.fullmatch(text)
    if not match:
        raise ValueError("expects an age, like <3d, 2weeks..1month or >1y")
    unit = match[2].lower()
    short = unit[:2] if unit[:2] in {"mi", "mo"} else unit[:1]
    value = int(float(match[1]) * _SECONDS[short] * 1_000_000)
    return Range(low=value, high=value)


def nearly(ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    """Points as what is within 5 % of them; other ranges as they are."""
    return tuple(
        Range(low=each.low * (1 - _ABOUT), high=each.high * (1 + _ABOUT))
        if each.low is not None and each.high is not None and each.low == each.high
        else each
        for each in ranges
    )

"""What an answer says about the part of a file that it has, and about the version of that file (RFC 9110)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from danbooru_pipeline.fetch.content_encoding import declared_encoding

_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
#: What fits into a header again; no honest validator is longer.
_VALIDATOR: Final = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,254}[\x21-\x7e]")
_PARTIAL_CONTENT: Final = 206


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes of a file.

    Attributes:
        start: offset of the first one.
        end: offset after the last one.
        whole: bytes of the whole file.
    """

    start: int
    end: int
    whole: int


def part_of(status: int, headers: Mapping[str, str]) -> Part | None:
    """The part that an answer has; None if it is not a part, or does not say which one."""
    match = _RANGE.fullmatch(headers.get("content-range", "").strip())
    if status != _PARTIAL_CONTENT or match is None:
        return None
    start, last, whole = map(int, match.groups())
    return Part(start, last + 1, whole) if start <= last < whole else None


def continues(
    status: int, headers: Mapping[str, str], *, offset: int, validator: str, encoding: str = ""
) -> Part | None:
    """The part of an answer that goes on at an offset, in the version and the encoding of what is there; else None.

    A server that does not look at `If-Range` sends a part of whatever it has now, and says so by its validator.
    """
    part = part_of(status, headers)
    if part is None or part.start != offset or declared_encoding(headers) != encoding:
        return None
    return part if validator in validators(headers) else None


def validators(headers: Mapping[str, str]) -> list[str]:
    """Strong validators of a version, best first. Weak ETags are left out: equal ones may stand for different bytes."""
    tag, date = headers.get("etag", "").strip(), headers.get("last-modified", "").strip()
    strong = re.fullmatch(r'"[\x21\x23-\x7e]*"', tag) is not None
    found = [tag] if strong else [date] if date and not tag else []
    return [value for value in found if is_validator(value)]


def is_validator(text: str) -> bool:
    """Whether a text can be sent as a validator."""
    return _VALIDATOR.fullmatch(text) is not None

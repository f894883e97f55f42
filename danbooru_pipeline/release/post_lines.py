"""Finds lines of JSON about some posts, in whatever form a reader of JSON would take them for lines of those posts.

There are tens of gigabytes of lines and few such posts, so bytes are looked at first: where every value after the key
is a plain number, and of another post, there is nothing to parse. With the standard library alone, for `verify`.
"""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

#: How files of lines are called.
LINES: Final = (".json", ".jsonl")
#: Files of posts; in others `post_id` names a post, and `id` something else.
_ABOUT_POSTS: Final = re.compile(r"posts|[0-9]")
#: What hides a key from a comparison of bytes: an escape of a letter ("\u0069d" is `id`), and the zeros of UTF-16.
_HIDING: Final = re.compile(rb"\\u00[567]|\0")
_ESCAPE: Final = re.compile(r"\\u00([2-7][0-9A-Fa-f])")
#: An object as its pairs, since a key may be said twice; control characters are taken, as many readers do.
_decoder: Final = json.JSONDecoder(object_pairs_hook=tuple, strict=False)


def is_about_posts(name: str) -> bool:
    """Whether `id` in the lines of a file is that of a post, by the file's name."""
    return _ABOUT_POSTS.match(name) is not None


@dataclass(slots=True)
class LineSearch:
    """A search for lines about some posts.

    Attributes:
        ids: of the posts.
        about_posts: whether `id` is that of a post; in other tables it is `post_id`.
    """

    ids: frozenset[int]
    about_posts: bool
    _plain: re.Pattern[bytes] = field(init=False)

    def __post_init__(self) -> None:
        """Make what bytes are compared with."""
        key = b"id" if self.about_posts else b"post_id"
        self._plain = re.compile(b'"' + key + rb'"(?::"?([0-9]{1,19})["},])?')

    def may_be_in(self, data: bytes) -> bool:
        """Whether some lines may be about one of the posts; never False where they are."""
        found = self._plain.findall(data)  # nothing where the value is not plain
        if b"" in found or not self.ids.isdisjoint(map(int, found)):
            return True
        return (b"\\u00" in data or b"\0" in data) and _HIDING.search(data) is not None

    def of_line(self, line: bytes) -> frozenset[int]:
        """Those of the posts that a line is about."""
        if not self.may_be_in(line):
            return frozenset()
        return posts_of_line(line, about_posts=self.about_posts) & self.ids


def lines_about(lines: Iterable[bytes], ids: Collection[int], *, about_posts: bool) -> set[int]:
    """Those of the ids that some lines are about."""
    search = LineSearch(frozenset(ids), about_posts)
    return {id_ for line in lines for id_ in search.of_line(line)}


def posts_of_line(line: bytes, *, about_posts: bool) -> frozenset[int]:
    """The posts that a line of JSON is about: one, none, or all that a damaged or ambiguous line names."""
    key = "id" if about_posts else "post_id"
    text = line.decode("utf-8-sig", "replace")
    try:
        record = _decoder.decode(text.strip())
        if isinstance(record, tuple):  # a list is no record
            return frozenset(_number(value) for name, value in record if name == key and value is not None)
    except (ValueError, RecursionError):
        pass
    plain = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text.replace("\0", ""))
    return frozenset(map(int, re.findall(rf'"{key}"\s*:\s*"?\s*0*([0-9]{{1,19}})', plain)))


def _number(value: Any) -> int:
    """The number that a value stands for: 2, 2.0, "2" and "2.0" are one to some reader.

    Raises:
        ValueError: for none.
    """
    if type(value) is int:
        return value
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            value = float(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError(f"{value!r} is no id")

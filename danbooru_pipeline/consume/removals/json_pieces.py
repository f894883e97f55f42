"""A JSON document read piece by piece and written again without some members; what is kept keeps its text.

A document of any size takes little memory: nothing but one member of its outer list or object, or of a list or a map in
that object, is held at a time, and one that is longer than `LONGEST` is refused.
"""

import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

#: Characters of the longest member.
LONGEST: Final = 2**24
_CHUNK: Final = 2**16
_SPACES: Final = frozenset(" \t\r\n")
#: What a file may begin with, longest first, since the mark of UTF-32 begins as that of UTF-16 does.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
Write = Callable[[str], object]


def encoding_of(path: Path) -> str:
    """The encoding that the byte order mark of a file says; UTF-8 without one."""
    with path.open("rb") as file:
        head = file.read(4)
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), "utf-8")


class Visitor(Protocol):
    """Who decides what is left out."""

    def drops_name(self, name: str) -> bool:
        """Whether an entry of an object goes because of its name, whatever its value is."""
        ...

    def drops(self, holder: str, name: str | None, value: Any) -> bool:
        """Whether a member goes.

        Args:
            holder: name of the list or map in the outer object that it is in; empty for members of the outer one.
            name: of an entry of an object; None for a member of a list.
            value: of the member.
        """
        ...


class Pieces:
    """The text of a document, from its beginning to its end."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._ended = False

    def space(self) -> str:
        """White space that comes next."""
        found = ""
        while True:
            start = self._at
            while self._text[self._at : self._at + 1] in _SPACES:
                self._at += 1
            found += self._text[start : self._at]
            if self._at < len(self._text) or not self._read_more():
                return found

    def peek(self) -> str:
        """The next character; empty at the end."""
        while self._at == len(self._text) and self._read_more():
            pass
        return self._text[self._at : self._at + 1]

    def take(self, wanted: str) -> str:
        """The next character, which must be this one."""
        if self.peek() != wanted:
            raise ValueError(f"has {self.peek()[:1]!r} where JSON has {wanted!r}")
        self._at += 1
        return wanted

    def value(self) -> tuple[Any, str]:
        """The next value, and its text."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                raise ValueError("is nested too deeply") from None
            except ValueError:
                if not self._read_more():
                    raise
                continue
            # A number that ends with what was read may go on.
            if end == len(self._text) and self._read_more():
                continue
            text, self._at = self._text[self._at : end], end
            return value, text

    def _read_more(self) -> bool:
        """Read as much again as there is, so a long value is not parsed from its beginning too often."""
        left = len(self._text) - self._at
        if left > LONGEST:
            raise ValueError(f"has a value of more than {LONGEST:,} characters, or is not JSON")
        more = "" if self._ended else self._file.read(max(_CHUNK, left))
        self._ended = not more
        if more:
            self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("says a key twice")
    return value


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object)


def walk(pieces: Pieces, visitor: Visitor, write: Write, *, maps: frozenset[str]) -> None:
    """Show every member of a document to a visitor, and write what it keeps.

    Args:
        pieces: of the document.
        visitor: that decides.
        write: takes text.
        maps: names in the outer object whose objects are shown entry by entry, as its lists are.

    Raises:
        ValueError: it is not JSON, or not one document.
    """
    _Walk(pieces, visitor, write, maps).document()


class _Walk:
    def __init__(self, pieces: Pieces, visitor: Visitor, write: Write, maps: frozenset[str]) -> None:
        self._pieces, self._visitor, self._write, self._maps = pieces, visitor, write, maps

    def document(self) -> None:
        pieces = self._pieces
        self._write(pieces.space())
        if pieces.peek() == "[":
            self._list("")
        elif pieces.peek() == "{":
            self._map("")
        else:
            value, text = pieces.value()
            self._visitor.drops("", None, value)
            self._write(text)
        self._write(pieces.space())
        if pieces.peek():
            raise ValueError("goes on after its end")

    def _list(self, holder: str) -> None:
        self._members("[]", lambda before: self._element(holder, before))

    def _map(self, holder: str) -> None:
        self._members("{}", lambda before: self._entry(holder, before))

    def _members(self, brackets: str, member: Callable[[str], bool]) -> None:
        """Pass over the members of a list or an object; `member` gets what stands before it, and says if it stays."""
        pieces, comma = self._pieces, ""
        self._write(pieces.take(brackets[0]))
        lead = pieces.space()
        while pieces.peek() != brackets[1]:
            comma = "," if member(comma + lead) else comma
            lead = pieces.space()
            if pieces.peek() != brackets[1]:
                pieces.take(",")
                lead = pieces.space()
        self._write(lead + pieces.take(brackets[1]))

    def _element(self, holder: str, before: str) -> bool:
        value, text = self._pieces.value()
        if self._visitor.drops(holder, None, value):
            return False
        self._write(before + text)
        return True

    def _entry(self, holder: str, before: str) -> bool:
        pieces = self._pieces
        name, text = pieces.value()
        if not isinstance(name, str):
            raise ValueError(f"has a key that is no text: {text[:20]}")
        head = before + text + pieces.space() + pieces.take(":") + pieces.space()
        is_gone = self._visitor.drops_name(name)
        if not holder and not is_gone:
            inner = {"[": self._list, "{": self._map if name in self._maps else None}.get(pieces.peek())
            if inner is not None:
                self._write(head)
                inner(name)
                return True
        value, text = pieces.value()
        if is_gone or self._visitor.drops(holder, name, value):
            return False
        self._write(head + text)
        return True

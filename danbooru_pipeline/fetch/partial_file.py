"""A download on its way: the bytes that came so far, beside the target, and what they are bytes of.

The name says which file of which post it is to become, so that what a killed process left can be gone on with. It is
only when the server confirms that it still has the same entity; the whole is checked against its MD5 anyway.
"""

import re
from pathlib import Path
from typing import Final

import httpx

from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.layout import PART_SUFFIX

#: Less than this is faster asked for again than kept when a download is given up.
WORTH_KEEPING_BYTES: Final = 64 * 2**10
#: When so much came, it is noted at once what the bytes are of, since a kill gives no time for it.
WORTH_NOTING_BYTES: Final = 2**20
#: What can be sent back in a header; longer ones are not honest.
_VALIDATOR = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,254}[\x21-\x7e]")
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class PartFile:
    """The unfinished file of one download. Not safe for threads: one download has it.

    Args:
        target: what it is to become.
        md5: that the metadata announce for it.
    """

    def __init__(self, target: Path, md5: str) -> None:
        self.path, self.note = (target.with_name(name) for name in part_names(target.name, md5))
        self._is_noted = False
        self._validator = self._read_note()

    @property
    def size(self) -> int:
        """Bytes that can be gone on with; none when nobody knows what they are of."""
        try:
            return self.path.stat().st_size if self._validator else 0
        except FileNotFoundError:
            return 0

    def headers(self) -> dict[str, str]:
        """What to ask with, so that the server sends the rest, or all of it when it has another entity now."""
        size = self.size
        return {"Range": f"bytes={size}-", "If-Range": self._validator} if size else {}

    def continues(self, response: httpx.Response) -> bool:
        """Whether a 206 is the rest of this very entity."""
        match = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
        size = self.size
        if response.status_code != 206 or not match or not size:
            return False
        start, end, whole = map(int, match.groups())
        return start == size and end == whole - 1 and self._validator in _validators(response.headers)

    def begin(self, response: httpx.Response) -> None:
        """Start anew, with the entity of an answer."""
        self.remove_note()
        known = _validators(response.headers)
        self._validator = known[0] if known else ""

    def write_validator(self) -> None:
        """Write down what the bytes are of, so that another process can go on with them."""
        if self._validator and not self._is_noted:
            write_atomic(self.note, self._validator.encode())
            self._is_noted = True

    def keep_for_resume(self) -> None:
        """Keep what came for the next run, if that is worth it."""
        if self.size >= WORTH_KEEPING_BYTES:
            self.write_validator()
        else:
            self.discard()

    def discard(self) -> None:
        """Remove all of it."""
        self._validator = ""
        self.remove_note()
        self.path.unlink(missing_ok=True)

    def remove_note(self) -> None:
        """Remove the note, of bytes that are gone or have their final name."""
        if self._is_noted:
            self.note.unlink(missing_ok=True)
            self._is_noted = False

    def _read_note(self) -> str:
        try:
            text = self.note.read_bytes().decode("latin-1")
        except FileNotFoundError:
            return ""
        self._is_noted = True
        return text if _VALIDATOR.fullmatch(text) else ""


def part_names(name: str, md5: str) -> tuple[str, str]:
    """Names of the bytes, and of the note on what they are of."""
    return f".{name}.{md5}{PART_SUFFIX}", f".{name}.{md5}.entity{PART_SUFFIX}"


def _validators(headers: httpx.Headers) -> list[str]:
    """What names an entity exactly, best first. A weak tag does not: equal ones may stand for different bytes."""
    tag, date = headers.get("etag", "").strip(), headers.get("last-modified", "").strip()
    strong = re.fullmatch(r'"[\x21\x23-\x7e]*"', tag) is not None
    found = [tag] if strong else [date] if date and not tag else []
    return [value for value in found if _VALIDATOR.fullmatch(value)]

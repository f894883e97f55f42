"""Reads a tar file from front to back, and proves at its end that it was whole.

Python's reader ends without a word at a header that it does not understand, and where a file was cut between two
members. A whole tar file ends with an empty block. What follows it is ignored, as by ``tar`` (``pixz`` keeps its index
there), unless it is another tar file.
"""

import collections
import tarfile
from collections.abc import Iterable, Iterator
from typing import Final

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.sources.mistakes import HEAD_BYTES, mistake_for_tar
from danbooru_pipeline.sources.packed import CHUNK

_BLOCK: Final = 512
#: More than the reader reads ahead.
_TAIL: Final = 64 * 1024


class _Tail:
    """Chunks as a file, and its last bytes."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = memoryview(b"")
        self.position = 0
        self.head = b""
        self.last = b""

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._held = memoryview(chunk)
        data, self._held = bytes(self._held[:size]), self._held[size:]
        if self.position < HEAD_BYTES:
            self.head += data[:HEAD_BYTES]
        self.position += len(data)
        self.last = (self.last + data)[-_TAIL:]
        return data

    def after(self, offset: int) -> Iterator[bytes]:
        """All bytes from an offset that was passed not long ago."""
        yield self.last[len(self.last) - (self.position - offset) :] if self.position > offset else b""
        while data := self.read(CHUNK):
            yield data


def tar_members(chunks: Iterable[bytes], name: str) -> Iterator[tuple[tarfile.TarInfo, Iterator[bytes]]]:
    """Each member of a tar file and its bytes, in its order; bytes must be read before the next is requested.

    Raises:
        SourceUnusable: the tar file is damaged or cut off, or is none.
    """
    tail = _Tail(chunks)
    last = ""
    try:
        with tarfile.open(fileobj=tail, mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                yield member, iter(lambda file=file: file.read(CHUNK) if file else b"", b"")  # type: ignore[misc]
                last = member.name
            end = archive.offset
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        _refuse_mistakes(tail, name, last)
        after = last or "its start"
        raise SourceUnusable(f"{name} is damaged or truncated after {after} ({error}); get it again") from None
    _refuse_mistakes(tail, name, last)
    _require_end(tail, end, name=name, last=last or "its start")


def _refuse_mistakes(tail: _Tail, name: str, last: str) -> None:
    """Name what a file is in which no member was found."""
    what = "" if last else mistake_for_tar(tail.head)
    if what:
        raise SourceUnusable(f"{name} is not a tar file: it {what}")


def _require_end(tail: _Tail, end: int, *, name: str, last: str) -> None:
    rest = _blocks(tail.after(end))
    mark = next(rest, b"")
    if len(mark) < _BLOCK:
        raise SourceUnusable(f"{name} is truncated: it ends after {last}, without the mark of its end; get it again")
    if mark.strip(b"\0"):
        raise SourceUnusable(f"{name} is damaged after {last}: what follows is no header of a file; get it again")
    follows = next((block for block in rest if block.strip(b"\0")), b"")
    if follows[257:262] == b"ustar":
        raise SourceUnusable(f"{name} is several tar files in one, and only the first would be read; split it")
    collections.deque(rest, maxlen=0)  # to the very end, so that damage of the packed data there is found as well


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for piece in pieces:
        held += piece
        whole = len(held) - len(held) % _BLOCK
        yield from (held[start : start + _BLOCK] for start in range(0, whole, _BLOCK))
        held = held[whole:]
    if held:
        yield held

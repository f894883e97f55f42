"""Decompresses .xz that somebody else made, within limits: a few kilobytes can stand for terabytes of zeros."""

import io
import lzma
from typing import BinaryIO

#: Memory of the decoder; the largest preset of xz takes 65 MiB.
_MEMORY_BYTES = 256 * 2**20
_READ_BYTES = 2**18
_OUT_BYTES = 2**20


class XzReader(io.RawIOBase):
    """The content of concatenated .xz streams.

    Args:
        file: the compressed file.
        limit: most bytes of content.

    Attributes:
        streams: bytes of content of each stream that was read to its end.
        padding: whether there were zeros between streams or behind the last, which readers pass over.

    Raises:
        ValueError: from a read, when the content is longer than `limit`.
        lzma.LZMAError: from a read, when the file is damaged or wants too much memory.
        EOFError: from a read, when it is truncated.
    """

    def __init__(self, file: BinaryIO, *, limit: int) -> None:
        super().__init__()
        self._file = file
        self._left = limit
        self._held = b""
        self._stream: lzma.LZMADecompressor | None = None
        self._waiting = b""  # compressed bytes that no stream has taken yet
        self._read = 0  # of the stream that is being read
        self.streams: list[int] = []
        self.padding = False

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Read some bytes; none at the end."""
        while not self._held:
            if not self._more():
                return 0
        count = min(len(buffer), len(self._held))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        return count

    def _more(self) -> bool:
        """Decompress some; False at the end of the last stream."""
        stream = self._stream
        if stream is None:
            data = self._next_stream()
            if not data:
                return False
            stream = self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_BYTES)
        else:
            data = self._file.read(_READ_BYTES) if stream.needs_input else b""
            if stream.needs_input and not data:
                raise EOFError("is truncated")
        self._held = stream.decompress(data, _OUT_BYTES)
        self._read += len(self._held)
        if stream.eof:
            self.streams.append(self._read)
            self._waiting, self._stream, self._read = stream.unused_data, None, 0
        self._left -= len(self._held)
        if self._left < 0:
            raise ValueError("unpacks to more than it should")
        return True

    def _next_stream(self) -> bytes:
        """The first bytes of the next stream; none at the end."""
        held, self._waiting = self._waiting, b""
        while data := held or self._file.read(_READ_BYTES):
            held = b""
            if found := data.lstrip(b"\0"):
                self.padding |= len(found) < len(data)
                return found
            self.padding = True
        return b""


def xz_reader(file: BinaryIO, *, limit: int) -> "io.BufferedReader[XzReader]":
    """The content of an .xz file, to be read like any other file; see `XzReader`."""
    return io.BufferedReader(XzReader(file, limit=limit), _OUT_BYTES)

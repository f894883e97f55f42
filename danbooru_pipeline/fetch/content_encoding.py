"""Decodes a file that a server compressed although it was not asked to. Only a matching MD5 makes the result the file.

Compressed bytes are never resumed: their validator may be that of the plain entity. The output is read in small steps,
so that the caller can stop at its size limit.
"""

import itertools
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa

STEP_BYTES: Final = 2**20
#: Content-Encoding -> its name in Arrow. A body that was encoded more than once is not decoded: nobody serves one, and
#: each layer multiplies what a few bytes can cost.
_CODECS: Final[Mapping[str, str]] = {
    "gzip": "gzip",
    "x-gzip": "gzip",
    "br": "brotli",
    "zstd": "zstd",
    "deflate": "zlib",
}
_MAGIC: Final[Mapping[bytes, str]] = {b"\x1f\x8b\x08": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class UndecodableError(Exception):
    """The bytes are not in this encoding, or end early."""


def declared_encoding(headers: Mapping[str, str]) -> str:
    """Content-Encoding of a response; empty if its body is sent as it is."""
    value = headers.get("content-encoding", "").strip().lower()
    return "" if value == "identity" else value


def codec_of(encoding: str, head: bytes) -> str | None:
    """How to decode a body: as its header says, or, without one, as its first bytes do. None if neither is known."""
    if encoding:
        return _CODECS.get(encoding)
    return next((codec for magic, codec in _MAGIC.items() if head.startswith(magic)), None)


def is_decoded(encoding: str) -> bool:
    """Whether `decoded_stream` decodes an encoding, and so finds its end. What its first bytes show is left packed."""
    codec = _CODECS.get(encoding)
    return codec is not None and codec not in _MAGIC.values()


class ChunkFile:
    """Chunks as a file that Arrow reads, and how many bytes it has read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = b""
        self.bytes = 0
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; none at the end."""
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._held = chunk
        size = len(self._held) if size < 0 else size
        data, self._held = self._held[:size], self._held[size:]
        self.bytes += len(data)
        return data

    def close(self) -> None:
        """Nothing: whoever gave the chunks closes what they come from."""
        self.closed = True


def decoded_stream(chunks: Iterable[bytes], encoding: Callable[[], str]) -> Iterator[bytes]:
    """The decoded bytes of a body as it comes, or the bytes as they are where their encoding is not decoded here.

    Args:
        chunks: the body.
        encoding: as its server declares it; asked for after the first chunk.

    Raises:
        UndecodableError: the bytes are not in this encoding, or end early.
    """
    rest = iter(chunks)
    whole = itertools.chain([next(rest, b"")], rest)
    if not is_decoded(encoding()):
        yield from whole
        return
    file = ChunkFile(whole)
    try:
        if _CODECS[encoding()] == "zlib":
            yield from _inflated(file)
            return
        stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), _CODECS[encoding()])
        while data := stream.read(STEP_BYTES):
            yield data
    except (pa.ArrowException, OSError, zlib.error) as error:
        raise UndecodableError(str(error)) from error


def gunzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The data of a body in gzip, at most `STEP_BYTES` at a time, as it comes.

    Raises:
        UndecodableError: the bytes are not in gzip, or end early.
    """
    try:
        yield from _gunzipped(ChunkFile(chunks))
    except zlib.error as error:
        raise UndecodableError(str(error)) from error


def decoded_chunks(path: Path, codec: str) -> Iterator[bytes]:
    """The decoded bytes of a file, at most `STEP_BYTES` at a time.

    Raises:
        UndecodableError: the bytes are not in this encoding, or end early.
    """
    try:
        if codec in {"zlib", "gzip"}:
            with path.open("rb") as file:
                yield from _inflated(file) if codec == "zlib" else _gunzipped(file)
            return
        with pa.input_stream(str(path), compression=codec) as stream:
            while data := stream.read(STEP_BYTES):
                yield data
    except (pa.ArrowException, OSError, zlib.error) as error:
        raise UndecodableError(str(error)) from error


def _inflated(file: _Readable) -> Iterator[bytes]:
    """``deflate``: a zlib stream, or, as some servers send it, the bare data of one."""
    first = file.read(1) + file.read(1)  # a chunk may have one byte
    is_zlib = len(first) == 2 and first[0] & 15 == 8 and int.from_bytes(first) % 31 == 0
    yield from _one_stream(zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS), first, file)


def _gunzipped(file: _Readable) -> Iterator[bytes]:
    """Members of gzip. Zeros after one are padding, as some servers and tapes add it."""
    left = file.read(STEP_BYTES)
    while left:
        left = yield from _one_stream(zlib.decompressobj(16 + zlib.MAX_WBITS), left, file)
        left = left.lstrip(b"\0")
        while not left and (more := file.read(STEP_BYTES)):
            left = more.lstrip(b"\0")


def _one_stream(stream: "zlib._Decompress", left: bytes, file: _Readable) -> Generator[bytes, None, bytes]:
    """The data of one stream; returns the bytes that were read after it."""
    while not stream.eof:
        left = left or file.read(STEP_BYTES)
        if not left:
            raise UndecodableError("the stream ends early")
        data, left = stream.decompress(left, STEP_BYTES), stream.unconsumed_tail
        if data:
            yield data
    return stream.unused_data

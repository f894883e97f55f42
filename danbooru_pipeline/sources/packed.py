"""Unpacks gzip, bzip2, xz and zstandard as their first bytes show, whatever a file is called; memory stays bounded.

A file may have any number of members or streams, with padding between them: what ``gzip``, ``bzip2 -c``, ``xz -T``,
``pixz``, ``cat a.xz b.xz`` and the archive of our own releases write. A file that ends in the middle is refused, with
the byte at which it ends; so is one that would need more memory than the bounds below, with what it needs.
"""

import bz2
import itertools
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import pyarrow as pa

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.fetch.content_encoding import ChunkFile

CHUNK: Final = 2**20
#: What one decoder of xz may need; ``xz -9`` needs 65 MiB.
MAX_DECODER_BYTES: Final = 256 * 2**20
#: The largest window of zstandard that Arrow decodes, which has no setting for it; ``zstd --ultra -22`` needs it.
MAX_WINDOW_BYTES: Final = 128 * 2**20
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
#: A frame to skip: what ``pzstd`` writes before each frame of data, and tools for seeking behind the last.
_SKIPPABLE: Final = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")


class _Decoder(Protocol):
    """One member, as `bz2` and `lzma` decode it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Inflate:
    """A member of gzip, with the same methods."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        """Whether there is no input left to decode."""
        return not self._inflate.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        """What follows the member."""
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Decode some more, at most `max_length` bytes at a time."""
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max(0, max_length))


@dataclass(frozen=True, slots=True)
class _Format:
    """A format, the bytes it starts with, and what decodes one member of it."""

    name: str
    magic: bytes
    decoder: Callable[[], _Decoder]


_FORMATS: Final = (
    _Format("gzip", b"\x1f\x8b", _Inflate),
    _Format("bzip2", b"BZh", bz2.BZ2Decompressor),
    _Format("xz", b"\xfd7zXZ\0", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DECODER_BYTES)),
)
_LONGEST_MAGIC: Final = 6


def ends_itself(head: bytes) -> bool:
    """Whether a file that starts with these bytes is packed, so that its end shows."""
    return _is_zstd(head) or any(head.startswith(each.magic) for each in _FORMATS)


def _is_zstd(head: bytes) -> bool:
    return head.startswith(_ZSTD_MAGIC) or _SKIPPABLE.match(head) is not None


def unpack(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """The plain bytes of a file, in pieces of at most a mebibyte if it is packed, else as they come.

    Args:
        chunks: the file's bytes.
        name: of the file, for error messages.

    Raises:
        SourceUnusable: its packed data is damaged or cut off.
    """
    rest = iter(chunks)
    head = b""
    while len(head) < _LONGEST_MAGIC and (chunk := next(rest, None)) is not None:
        head += chunk
    whole = itertools.chain([head] if head else [], rest)
    if _is_zstd(head):
        yield from _unpack_zstd(whole, head, name)
        return
    found = next((each for each in _FORMATS if head.startswith(each.magic)), None)
    yield from whole if found is None else _unpack_members(found, whole, name)


def _unpack_members(form: _Format, chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    read, head = 0, b""
    decoder = form.decoder()
    for chunk in chunks:
        rest = chunk
        read, head = read + len(chunk), head or chunk
        while rest or not (decoder.needs_input or decoder.eof):
            if decoder.eof:
                rest = rest.lstrip(b"\0")  # padding: up to the next block of a tape, or to four bytes
                if not rest:
                    break
                decoder = form.decoder()
            try:
                data = decoder.decompress(rest, CHUNK)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
                if str(error).startswith(_TOO_GREEDY):
                    raise _needs_more(name, _xz_dictionary(head), MAX_DECODER_BYTES, error, _REPACK_XZ) from None
                raise SourceUnusable(
                    f"{name} is damaged near byte {read:,} of its {form.name} data ({error}); get it again"
                ) from None
            rest = decoder.unused_data if decoder.eof else b""
            if data:
                yield data
    if not decoder.eof:
        raise SourceUnusable(
            f"{name} is truncated: it ends after {read:,} bytes, in the middle of its {form.name} data; get it again"
        )


#: How the decoders of xz and zstandard begin to say that a file needs more memory than they may take.
_TOO_GREEDY: Final = ("Memory usage limit", "ZSTD decompress failed: Frame requires too much memory")


#: What packs a file so that it can be unpacked within the bounds, as far as possible as small.
_REPACK_XZ: Final = "xz -dc | xz -9"
_REPACK_ZSTD: Final = "zstd -dc --memory=2048MB | zstd -19 --long=27"


def _needs_more(name: str, needed: int, bound: int, error: Exception, repack: str) -> SourceUnusable:
    """A file that is whole, as far as anybody knows, but too large for our memory."""
    what = f"{-(-needed // 2**20):,} MiB" if needed > bound else f"more than {bound // 2**20:,} MiB"
    return SourceUnusable(
        f"{name} needs {what} to unpack, and {bound // 2**20:,} MiB is the most that is taken ({error}); unpack it "
        f"first, or pack it anew (`{repack}`)"
    )


def _xz_dictionary(head: bytes) -> int:
    """The size of the dictionary that the first block of xz data needs; 0 if unknown."""
    start = 12  # after the header of the stream
    header = head[start : start + 4 * (head[start] + 1) - 4] if len(head) > start else b""
    found = header.rfind(b"\x21\x01")  # the last filter is LZMA2, with one byte of properties
    bits = header[found + 2] if 0 <= found < len(header) - 2 else 0
    return (2 | bits & 1) << (bits // 2 + 11)


def _zstd_window(head: bytes) -> int:
    """The window that the first frame of zstandard data needs; 0 if unknown."""
    while _SKIPPABLE.match(head):
        head = head[8 + int.from_bytes(head[4:8], "little") :]
    if len(head) < 6:
        return 0
    if head[4] & 0x20:  # a single segment is as large as its content
        return int.from_bytes(head[5 : 5 + (1 << (head[4] >> 6))], "little")
    return (1 << 10 + (head[5] >> 3)) // 8 * (8 + (head[5] & 7))


def _unpack_zstd(chunks: Iterable[bytes], head: bytes, name: str) -> Iterator[bytes]:
    counted = ChunkFile(chunks)
    stream = pa.CompressedInputStream(pa.PythonFile(counted, mode="r"), "zstd")
    while True:
        try:
            data = stream.read(CHUNK)
        except (OSError, pa.ArrowException) as error:
            if str(error).startswith(_TOO_GREEDY):
                raise _needs_more(name, _zstd_window(head), MAX_WINDOW_BYTES, error, _REPACK_ZSTD) from None
            what = "truncated" if "runcated" in str(error) else f"damaged ({error})"
            raise SourceUnusable(
                f"{name} is {what} near byte {counted.bytes:,} of its zstandard data; get it again"
            ) from None
        if not data:
            return
        yield data

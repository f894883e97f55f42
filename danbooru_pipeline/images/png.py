"""The chunks of a PNG: frames, checksums, and where the file really ends. Never raises on any bytes.

Decoders do not miss the last chunk, optimisers drop what follows it, and neither reports an animation.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_MAX_CHUNKS = 200_000  # real files have a few hundred; a file of empty chunks must not cost seconds
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
#: Chunks that make up the picture; all others are metadata and must survive byte for byte.
_PICTURE = _CRITICAL | {b"tRNS"}
_MAX_PROFILE_BYTES = 16 * 2**20


class Chunk(NamedTuple):
    """One chunk; a named tuple, since there are many. `start` is the offset of its content."""

    name: bytes
    start: int
    length: int

    @property
    def end(self) -> int:
        """Offset after its checksum."""
        return self.start + self.length + 4


@dataclass(frozen=True, slots=True)
class PngWalk:
    """What the chunks say.

    Attributes:
        frames: frame count that an APNG declares; None for a plain PNG.
        corrupt: whether a critical chunk fails its checksum.
        end: offset after IEND; None if the file is truncated.
    """

    frames: int | None
    corrupt: bool
    end: int | None


def chunks_of(data: bytes) -> Iterator[Chunk]:
    """All whole chunks up to IEND."""
    at = 8
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(data):
            return
        chunk = Chunk(data[at + 4 : at + 8], at + 8, int.from_bytes(data[at : at + 4], "big"))
        if chunk.end > len(data):
            return
        yield chunk
        if chunk.name == b"IEND":
            return
        at = chunk.end


def walk_png(data: bytes) -> PngWalk:
    """Walk the chunks from IHDR to IEND, and check the checksums of the critical ones."""
    frames = end = None
    corrupt = seen_data = False
    view = memoryview(data)
    for chunk in chunks_of(data):
        body = view[chunk.start : chunk.start + chunk.length]
        if chunk.name in _CRITICAL:
            stored = int.from_bytes(view[chunk.end - 4 : chunk.end], "big")
            corrupt |= zlib.crc32(view[chunk.start - 4 : chunk.end - 4]) != stored
        if chunk.name == b"acTL" and len(body) == 8 and not seen_data:  # it is void after IDAT
            frames = int.from_bytes(body[:4], "big")
        elif chunk.name == b"IEND":
            end = chunk.end
        seen_data |= chunk.name == b"IDAT"
    return PngWalk(frames, corrupt, end)


def is_colored(data: bytes) -> bool:
    """Whether the header declares colour (RGB or a palette) rather than grey."""
    return bool(data[25] & 2)


def carried_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Name and content of every metadata chunk, sorted, so that two files can be compared."""
    found = []
    for chunk in chunks_of(data):
        if chunk.name not in _PICTURE:
            body = data[chunk.start : chunk.start + chunk.length]
            found.append((chunk.name, _inflated_profile(body) if chunk.name == b"iCCP" else body))
    return sorted(found)


def _inflated_profile(body: bytes) -> bytes:
    """An iCCP chunk with its profile inflated, since an optimiser may recompress it; unchanged if that fails."""
    name, separator, packed = body.partition(b"\0")
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(packed[1:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return body
    return name + separator + profile if inflate.eof else body

"""The chunks of a PNG: frames, checksums, colour, metadata, and where the file really ends. Never raises on any bytes.

Decoders do not miss the last chunk, optimisers drop what follows it, and neither reports an animation.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from danbooru_pipeline.images.color import Chromaticities, StatedColor, are_possible, from_cicp, from_gamma

_MAX_CHUNKS = 200_000  # real files have a few hundred; a file of empty chunks must not cost seconds
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
#: The bit of a chunk's first letter that says that a decoder may ignore the chunk.
_ANCILLARY = 0x20
#: What the frames of an APNG are made of: to decoders of that as critical as `IDAT`, whatever their names say.
_FRAME = frozenset({b"fcTL", b"fdAT"})
#: Chunks that make up the picture; all others are metadata and must survive.
_PICTURE = _CRITICAL | {b"tRNS"}
_HEADER_BYTES = 13
_COLORS = frozenset({b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"})
_OFFSETS = b"iDOT"
_MAX_INFLATED_BYTES = 16 * 2**20
_SLICE_BYTES = 2**16


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
        width: in pixels, as the header says; 0 without one.
        height: likewise.
        frames: frame count that an APNG declares; None for a plain PNG.
        corrupt: whether a critical chunk, or one of a frame, fails its checksum.
        end: offset after IEND, or in it if it has content; None if the file is truncated.
    """

    width: int
    height: int
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
    width = height = 0
    corrupt = seen_data = False
    for chunk in chunks_of(data):
        # Also those of no known name: perhaps the name itself is damaged.
        if not chunk.name[0] & _ANCILLARY or (frames is not None and chunk.name in _FRAME):
            corrupt |= not _is_sound(data, chunk)
        if chunk.name == b"acTL" and chunk.length == 8 and not seen_data and _is_sound(data, chunk):  # void after IDAT
            frames = int.from_bytes(data[chunk.start : chunk.start + 4], "big")
        elif chunk.name == b"IHDR" and chunk.length == _HEADER_BYTES and not width:  # Apple puts `CgBI` before it
            width, height = (int.from_bytes(data[at : at + 4], "big") for at in (chunk.start, chunk.start + 4))
        elif chunk.name == b"IEND":
            end = chunk.end if chunk.length == 0 else chunk.start  # it has no content: what is there is hidden in it
        seen_data |= chunk.name == b"IDAT"
    return PngWalk(width, height, frames, corrupt, end)


def _is_sound(data: bytes, chunk: Chunk) -> bool:
    """Whether a chunk has its checksum; decoders refuse a critical one without it, and ignore any other."""
    view = memoryview(data)
    stored = int.from_bytes(view[chunk.end - 4 : chunk.end], "big")
    return zlib.crc32(view[chunk.start - 4 : chunk.end - 4]) == stored


def without_broken_alpha(data: bytes) -> bytes:
    """The file without a `tRNS` that fails its checksum: other decoders ignore it, and libvips does not."""
    out, at = bytearray(), 0
    for chunk in chunks_of(data):
        if chunk.name == b"IDAT":
            break
        if chunk.name == b"tRNS" and not _is_sound(data, chunk):
            out += data[at : chunk.start - 8]
            at = chunk.end
    return bytes(out + data[at:]) if at else data


def is_colored(data: bytes) -> bool:
    """Whether the header declares colour (RGB or a palette) rather than grey."""
    return bool(data[25] & 2)


def carried_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and meaning of every metadata chunk, sorted, so that two files can be compared.

    How a text or a profile is compressed, and the name that a profile has in its chunk, mean nothing. Apple's `iDOT`
    holds offsets into the compressed data, and is wrong as soon as that changes.
    """
    return sorted(
        _meaning(chunk.name, data[chunk.start : chunk.start + chunk.length])
        for chunk in chunks_of(data)
        if chunk.name not in _PICTURE and chunk.name != _OFFSETS
    )


def without_offsets(data: bytes) -> bytes:
    """The file without `iDOT`, which must not outlive the compressed data that it describes."""
    out, at = bytearray(), 0
    for chunk in chunks_of(data):
        if chunk.name == _OFFSETS:
            out += data[at : chunk.start - 8]
            at = chunk.end
    return bytes(out + data[at:]) if at else data


def has_hidden_data(data: bytes) -> bool:
    """Whether anything follows the compressed pixels inside `IDAT`, which decoders ignore and optimisers drop."""
    inflate = zlib.decompressobj()
    try:
        for chunk in chunks_of(data):
            if chunk.name != b"IDAT":
                continue
            end = chunk.start + chunk.length
            for at in range(chunk.start, end, _SLICE_BYTES):
                if inflate.eof:
                    return True
                inflate.decompress(data[at : min(end, at + _SLICE_BYTES)])
    except zlib.error:
        return False  # damage: whoever decodes the pixels will say so
    return bool(inflate.unused_data)


def stated_color(data: bytes) -> StatedColor | None:
    """Colour that chunks state by numbers; None if a profile counts instead, or nothing is stated.

    PNG's third edition: `cICP` goes before a profile, that before `sRGB`, that before `gAMA` and `cHRM`. `cHRM` alone
    says too little. A chunk that fails its checksum says nothing; of a profile, libvips would not notice that.
    """
    found: dict[bytes, bytes] = {}
    broken: set[bytes] = set()
    for chunk in chunks_of(data):
        if chunk.name == b"IDAT":
            break
        if chunk.name not in _COLORS:
            continue
        body = data[chunk.start : chunk.start + chunk.length]
        if _is_sound(data, chunk) and (chunk.name != b"iCCP" or _is_profile(body)):
            found.setdefault(chunk.name, body)
        else:
            broken.add(chunk.name)
    points = found.get(b"cICP", b"")
    if len(points) == 4 and points[2] == 0:
        return from_cicp(points[0], points[1], narrow=points[3] == 0)
    gamma = int.from_bytes(found.get(b"gAMA", b""), "big")
    if b"iCCP" in found or b"sRGB" in found or not 1_000 <= gamma <= 1_000_000:
        return StatedColor() if b"iCCP" in broken - set(found) else None
    return from_gamma(100_000 / gamma, _chromaticities(found.get(b"cHRM", b"")))


def _is_profile(body: bytes) -> bool:
    """Whether an `iCCP` chunk holds an ICC profile: its header has a mark at a fixed place."""
    profile = _inflated(body.partition(b"\0")[2][1:])
    return profile is not None and profile[36:40] == b"acsp"


def has_background(data: bytes) -> bool:
    """Whether a PNG names a colour for what is behind it, in the numbers of its own kind of pixels."""
    return any(chunk.name == b"bKGD" for chunk in chunks_of(data))


def _chromaticities(body: bytes) -> Chromaticities | None:
    """Those of red, green, blue and white; the chunk begins with white."""
    if len(body) != 32:
        return None
    values = [value / 100_000 for value in struct.unpack(">8I", body)]
    primaries = (*values[2:], *values[:2])
    return primaries if are_possible(primaries) else None


def _meaning(name: bytes, body: bytes) -> tuple[bytes, bytes]:
    """What a chunk says; name and content as they are if it is of another kind, or not valid."""
    key, _, rest = body.partition(b"\0")
    if name == b"iCCP":
        profile = _inflated(rest[1:])
        return (name, body) if profile is None else (name, profile)
    if name == b"tEXt":
        return b"text", key + b"\0" + rest
    if name == b"zTXt":
        text = _inflated(rest[1:])
        return (name, body) if text is None else (b"text", key + b"\0" + text)
    if name == b"iTXt" and rest[:1] == b"\1":
        language, translated, packed = (*rest[2:].split(b"\0", 2), b"", b"")[:3]
        text = _inflated(packed)
        return (name, body) if text is None else (name, b"\0".join((key, b"\0", language, translated, text)))
    return name, body


def _inflated(packed: bytes) -> bytes | None:
    """Inflated content of a chunk; None if it is broken, or larger than any real one."""
    inflate = zlib.decompressobj()
    try:
        content = inflate.decompress(packed, _MAX_INFLATED_BYTES)
    except zlib.error:
        return None
    return content if inflate.eof else None

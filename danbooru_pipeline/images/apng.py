"""An APNG of one frame that is not its default image: that frame as a plain PNG. Never raises on any bytes.

Decoders without animation show the default image, which then is a fallback and not the picture.
"""

import struct
import zlib
from dataclasses import dataclass

from danbooru_pipeline.images.png import chunks_of

_CONTROL_BYTES = 26


@dataclass(frozen=True, slots=True)
class LoneFrame:
    """A frame and its place.

    Attributes:
        data: the frame as a PNG.
        left: of its upper left corner on the canvas.
        top: likewise.
        canvas_width: of the whole picture.
        canvas_height: likewise.
    """

    data: bytes
    left: int
    top: int
    canvas_width: int
    canvas_height: int


def lone_frame(data: bytes) -> LoneFrame | None:
    """The first frame of an APNG; None if it is the default image, or not inside the canvas."""
    head, body, control = b"", b"", None
    for chunk in chunks_of(data):
        content = data[chunk.start : chunk.start + chunk.length]
        if chunk.name == b"fcTL":
            if control is not None:
                break
            control = content
        elif chunk.name == b"IDAT":
            if control is not None:
                return None
        elif chunk.name == b"fdAT" and control is not None:
            body += content[4:]
        elif not body and control is None and chunk.name not in {b"acTL", b"IEND"}:
            head += _chunk(chunk.name, content)
    if control is None or len(control) != _CONTROL_BYTES or not body:
        return None
    _, width, height, left, top = struct.unpack_from(">5I", control)
    canvas_width, canvas_height = struct.unpack_from(">2I", data, 16)
    if not (0 < width <= canvas_width - left and 0 < height <= canvas_height - top):
        return None
    header = _chunk(b"IHDR", struct.pack(">2I", width, height) + data[24:29])
    png = data[:8] + header + head[len(header) :] + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")
    return LoneFrame(png, left, top, canvas_width, canvas_height)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

"""The blocks of a GIF: where the file really ends, the place of its frame, and which of its pixels have data.

Decoders render a truncated GIF without an error, and a frame whose data stop early. Nothing here raises on any bytes.
"""

import io
import struct
from collections.abc import Iterator

from PIL import Image

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_END = bytes([_TRAILER])
_HEADER_BYTES = 13
_MAX_BLOCKS = 1_000_000
_INTERLACED, _WHITE_TABLE = 0x40, 0x87


def gif_end(data: bytes) -> int | None:
    """Offset after the trailer; None if the file is truncated."""
    return next((at + 1 for kind, at in _blocks(data) if kind == _TRAILER), None)


def first_frame(data: bytes) -> tuple[int, int, int, int] | None:
    """Left, top, width and height of the first frame; None without one."""
    at = next((at for kind, at in _blocks(data) if kind == _IMAGE), None)
    return None if at is None else struct.unpack_from("<4H", data, at + 1)


def partial_frame(data: bytes, width: int, height: int) -> tuple[int, int, int, int] | None:
    """The first frame if it leaves some of a screen of this size free; None without one, or if it covers it."""
    frame = first_frame(data)
    if frame is None or 0 in frame[2:]:
        return None
    is_whole = frame[:2] == (0, 0) and frame[2] >= width and frame[3] >= height
    return None if is_whole else frame


def white_frame(data: bytes) -> bytes | None:
    """A GIF of the first frame alone in which every colour is white and none is transparent; None without a frame.

    What is not white in it has no data.
    """
    at = next((at for kind, at in _blocks(data) if kind == _IMAGE), None)
    if at is None:
        return None
    size, flags = data[at + 5 : at + 9], data[at + 9]
    start, end = _data_of_image(data, at)
    screen = b"GIF89a" + size + bytes([_WHITE_TABLE, 0, 0]) + b"\xff" * _table_bytes(_WHITE_TABLE)
    frame = bytes([_IMAGE, 0, 0, 0, 0]) + size + bytes([flags & _INTERLACED])
    return screen + frame + data[start:end] + _END


def is_whole_frame(frame: bytes) -> bool:
    """Whether there are data for all pixels of a GIF of one frame, with or without the code for their end."""
    try:
        with Image.open(io.BytesIO(frame), formats=("GIF",)) as image:
            image.load()
    except (OSError, EOFError, SyntaxError, ValueError, IndexError, struct.error):
        return False
    return True


def with_longer_data(data: bytes) -> bytes:
    """The file with one byte more in the data of its first frame.

    Where these end with the last bit of a code instead of the code for the end, libvips leaves that code out.
    """
    at = next((at for kind, at in _blocks(data) if kind == _IMAGE), None)
    if at is None:
        return data
    end = _data_of_image(data, at)[1] - 1
    return data[:end] + b"\x01\0" + data[end:]


def _data_of_image(data: bytes, at: int) -> tuple[int, int]:
    """Where the coded data of a whole image block begin, with the width of the first code, and where they end."""
    start = at + 10 + _table_bytes(data[at + 9])
    return start, _end_of_sub_blocks(data, start + 1) or len(data)


def _blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Kind and offset of all whole blocks, up to the trailer."""
    if len(data) < _HEADER_BYTES:
        return
    at = _HEADER_BYTES + _table_bytes(data[10])
    for _ in range(_MAX_BLOCKS):
        if at >= len(data):
            return
        kind = data[at]
        if kind == 0:  # zeros before the trailer are padding; browsers and libvips take them for the end
            at = len(data) - len(data[at:].lstrip(b"\0"))
            kind = data[at] if data[at : at + 1] == _END else 0
        if kind == _EXTENSION:
            start = at + 2
        elif kind == _IMAGE and at + 9 < len(data):
            start = at + 11 + _table_bytes(data[at + 9])  # descriptor, colour table, width of the first code
        elif kind == _TRAILER:
            yield kind, at
            return
        else:
            return
        end = _end_of_sub_blocks(data, start)
        if end is None:
            return
        yield kind, at
        at = end


def _table_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _end_of_sub_blocks(data: bytes, at: int) -> int | None:
    """Offset after a chain of length-prefixed sub-blocks, which ends with an empty one."""
    while at < len(data):
        length = data[at]
        at += 1 + length
        if length == 0:
            return at
    return None

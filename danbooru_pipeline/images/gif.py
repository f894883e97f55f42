"""The blocks of a GIF: where the file really ends, and the place of its frame. Never raises on any bytes.

Decoders render a truncated GIF without an error.
"""

import struct
from collections.abc import Iterator

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_HEADER_BYTES = 13
_MAX_BLOCKS = 1_000_000


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


def _blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Kind and offset of all whole blocks, up to the trailer."""
    if len(data) < _HEADER_BYTES:
        return
    at = _HEADER_BYTES + _table_bytes(data[10])
    for _ in range(_MAX_BLOCKS):
        if at >= len(data):
            return
        kind = data[at]
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

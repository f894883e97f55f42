"""The markers of a JPEG: its frame type, its size, its scans, its metadata, and where it really ends.

Decoders render truncated JPEGs without an error, and optimisers drop what follows the end; the markers reveal both.
Only a strict decode (`jpeg_decode`) reveals bit rot. Nothing here raises on any bytes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

#: A marker inside entropy-coded data: 0xFF that is not a stuffed byte, a restart marker or a fill byte.
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)

_FILL = re.compile(rb"\xff+")
_PADDING = re.compile(rb"\0+")

_SOI, _EOI, _SOS, _DNL, _TEM = 0xD8, 0xD9, 0xDA, 0xDC, 0x01
_NOT_A_FRAME = frozenset({0xC4, 0xC8, 0xCC})  # DHT, JPG and DAC sit between the frame markers
#: Start-of-frame markers of all kinds.
FRAMES = frozenset(range(0xC0, 0xD0)) - _NOT_A_FRAME
_USUAL_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended and progressive, all of them Huffman
_PROGRESSIVE_FRAMES = frozenset({0xC2, 0xCA})
_ARITHMETIC_FRAMES = frozenset({0xC9, 0xCA})  # sequential and progressive
#: EXIF, ICC, XMP, Photoshop, comments. Adobe (EE) is left out, and so is a JFIF header (E0) without a thumbnail: each
#: encoder writes its own.
_CARRIED = frozenset({*range(0xE0, 0xEE), 0xEF, 0xFE})
_JFIF, _JFIF_BYTES = b"JFIF\0", 14
#: A progressive picture has about ten scans, and each costs a pass over all coefficients: 2,647 empty ones of 64 MP
#: take more than two minutes. Allowed are as many as any tool writes, and what decodes in some twenty seconds.
_MAX_SCANS, _MAX_SCANNED_PIXELS = 500, 20_000_000_000


class Segment(NamedTuple):
    """One marker segment; a named tuple, since there are many. `start` and `end` are the offsets of its content."""

    marker: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class JpegWalk:
    """What the markers say.

    Attributes:
        frame: the second byte of the SOF marker; None without one.
        precision: bits per sample; None without a frame.
        end: offset after the EOI marker; None if the file is truncated.
        width: in pixels; 0 without a frame.
        height: likewise.
        scans: how often the decoder goes over the picture.
        is_late: whether the height comes only after the first scan (DNL), which no decoder here knows.
        lacks_scan: whether a component of a whole file has no scan that its lowest frequency comes from.
    """

    frame: int | None
    precision: int | None
    end: int | None
    width: int = 0
    height: int = 0
    scans: int = 0
    is_late: bool = False
    lacks_scan: bool = False

    @property
    def too_many_scans(self) -> bool:
        """Whether decoding would take minutes, as only a bomb does."""
        return self.scans > _MAX_SCANS or self.scans * self.width * self.height > _MAX_SCANNED_PIXELS

    @property
    def usual(self) -> bool:
        """Whether it is the kind that every decoder and the optimiser know: 8-bit, Huffman-coded, lossy."""
        return self.frame in _USUAL_FRAMES and self.precision == 8 and not self.is_late

    @property
    def is_arithmetic(self) -> bool:
        """Whether it is as usual but for its arithmetic coding, which only decoders know."""
        return self.frame in _ARITHMETIC_FRAMES and self.precision == 8


def segments_of(data: bytes) -> Iterator[Segment]:
    """All segments after SOI, up to and including EOI; entropy-coded data is skipped, and so is padding with zeros."""
    at = 2
    while True:
        padding = _PADDING.match(data, at)
        at = padding.end() if padding else at
        if at + 2 > len(data) or data[at] != 0xFF:
            return
        marker = data[at + 1]
        if marker == 0xFF:
            fill = _FILL.match(data, at)
            at = fill.end() - 1 if fill else at + 1
            continue
        if marker == _EOI:
            yield Segment(marker, at + 2, at + 2)
        if marker == _TEM:  # it means nothing, and decoders skip it
            at += 2
            continue
        if marker in (_EOI, _SOI) or 0xD0 <= marker <= 0xD7:  # all but EOI are out of place here
            return
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
        if end > len(data):
            return
        yield Segment(marker, at + 4, end)
        at = end
        if marker == _SOS:
            found = _MARKER_IN_SCAN.search(data, at)
            if found is None:
                return
            at = found.start()


def walk_jpeg(data: bytes) -> JpegWalk:
    """Walk the markers from SOI to EOI."""
    frame = precision = end = None
    width = height = scans = 0
    is_late = False
    unscanned: set[int] = set()
    for segment in segments_of(data):
        if frame is None and segment.marker in FRAMES and segment.end >= segment.start + 6:
            frame, precision = segment.marker, data[segment.start]
            height = int.from_bytes(data[segment.start + 1 : segment.start + 3], "big")
            width = int.from_bytes(data[segment.start + 3 : segment.start + 5], "big")
            unscanned = _components(data, segment)
        elif segment.marker == _SOS:
            scans += 1
            if frame not in _PROGRESSIVE_FRAMES or data[segment.end - 3] == 0:
                unscanned -= set(data[segment.start + 1 : segment.end - 3 : 2])
        elif segment.marker == _DNL and frame is not None and height == 0:
            height, is_late = int.from_bytes(data[segment.start : segment.start + 2], "big"), True
        elif segment.marker == _EOI:
            end = segment.end
    return JpegWalk(frame, precision, end, width, height, scans, is_late, end is not None and bool(unscanned))


def _components(data: bytes, frame: Segment) -> set[int]:
    """The names of a frame's components; none if two have the same, which decoders tell apart by their order."""
    names = data[frame.start + 6 : min(frame.end, frame.start + 6 + 3 * data[frame.start + 5]) : 3]
    return set(names) if len(set(names)) == len(names) else set()


def carried_segments(data: bytes) -> list[tuple[int, bytes]]:
    """Marker and content of all metadata segments, sorted, so that two files can be compared."""
    carried = ((s.marker, data[s.start : s.end]) for s in segments_of(data) if s.marker in _CARRIED)
    return sorted(each for each in carried if not (each[1].startswith(_JFIF) and len(each[1]) <= _JFIF_BYTES))

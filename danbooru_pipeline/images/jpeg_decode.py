"""A strict decode of JPEGs: all pixels, or why not. Rot is refused; a harmless oddity is not.

The decoder warns of both alike, so what it says decides (`_HARMLESS`; docs/images.md has the table). A harmless oddity
is put right in a copy in memory, and the copy has to decode without any warning: no oddity hides the rot behind it.
libjpeg-turbo's own interface is fast and knows the common samplings; libvips decodes all others with the same library.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyvips
import simplejpeg

from danbooru_pipeline.images.errors import readable_errors
from danbooru_pipeline.images.jpeg import FRAMES, Segment, segments_of

#: Colour space of the file -> that of the decoded pixels, as the decoder names them; all others become RGB.
_TARGETS = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}
_EOI, _SOS, _APP0, _APP2, _APP14 = 0xD9, 0xDA, 0xE0, 0xE2, 0xEE
_SEQUENTIAL = frozenset({0xC0, 0xC1})
_MAX_ODDITIES: Final = 8  # a file has one or two
#: What the library says of files that it does not implement; it says nothing about damage.
_BEYOND = re.compile(
    r"sampling not implemented|Bogus sampling factors|Too many color components|components are not supported|"
    r"color conversion request|Maximum supported image dimension"
)


class JpegFault(StrEnum):
    """Why there are no pixels."""

    DAMAGED = "damaged"
    UNUSUAL = "unusual"


def decode_strictly(data: bytes, *, scale: int = 1) -> npt.NDArray[np.uint8] | None:
    """Decode as `decode_jpeg`; None if that is refused for any reason."""
    pixels = decode_jpeg(data, scale=scale)
    return None if isinstance(pixels, JpegFault) else pixels


def decode_jpeg(data: bytes, *, scale: int = 1) -> npt.NDArray[np.uint8] | JpegFault:
    """Decode all pixels in the file's own colours, or say why not: any sign of truncation or rot is damage.

    Args:
        data: the file.
        scale: 1, 2, 4 or 8; the sides are divided by it and rounded up, or left alone where the sampling is a rare one.
            All entropy-coded data is read at any scale.

    Returns:
        Height × width × 3 (RGB), 1 (grey) or 4 (CMYK).
    """
    for _ in range(_MAX_ODDITIES):
        outcome = _decode_once(data, scale=scale)
        if not isinstance(outcome, str):
            return outcome
        mended = _without_oddity(data, outcome)
        if mended is None:
            return JpegFault.UNUSUAL if _BEYOND.search(outcome) else JpegFault.DAMAGED
        data = mended
    return JpegFault.DAMAGED


def _decode_once(data: bytes, *, scale: int) -> npt.NDArray[np.uint8] | str:
    """The pixels, or the first thing that the decoder complains of."""
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except (ValueError, KeyError):  # a sampling or a colour space that this interface has no name for
        return _decode_rare(data)
    try:
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data,
            colorspace=_TARGETS.get(space, "RGB"),
            min_height=-(-height // scale),
            min_width=-(-width // scale),
            min_factor=scale,
            strict=True,
        )
    except ValueError as error:
        return str(error)
    return pixels


def _decode_rare(data: bytes) -> npt.NDArray[np.uint8] | str:
    """The same by libvips, which knows every sampling that the library implements."""
    try:
        with readable_errors():
            whole = pyvips.Image.jpegload_buffer(_as_many_scans(data), fail_on="warning", access="sequential")
            whole.crop(0, 0, whole.width, 1).avg()
            image = pyvips.Image.jpegload_buffer(data, fail_on="warning", access="sequential")
            if image.bands not in {1, 3, 4}:
                return f"{image.bands} components are not supported"
            pixels = np.frombuffer(image.write_to_memory(), np.uint8)
    except pyvips.Error as error:
        if "out of memory" in str(error):
            raise MemoryError(str(error)) from error  # not the picture's fault
        return str(error)
    return pixels.reshape(image.height, image.width, image.bands)


def _as_many_scans(data: bytes) -> bytes:
    """The same scans under a header that declares one component more, which no scan has.

    The library then expects further scans and reads up to EOI before it gives the first row, so libvips sees its
    warnings about the last rows and the end, which it misses otherwise. The layout of the scans stays the same.
    """
    for segment in segments_of(data):
        if segment.marker in FRAMES and segment.end >= segment.start + 9:
            body = bytearray(data[segment.start : segment.end])
            used = body[6::3]
            body[5] = min(255, body[5] + 1)
            body += bytes([next(name for name in range(1, 256) if name not in used), 0x11, body[8]])
            return data[: segment.start - 2] + (len(body) + 2).to_bytes(2, "big") + bytes(body) + data[segment.end :]
    return data


def _without_oddity(data: bytes, complaint: str) -> bytes | None:
    """A copy in which the harmless oddity that the decoder names is put right; None if it is not harmless."""
    for pattern, mend in _HARMLESS:
        found = pattern.search(complaint)
        if found is not None:
            mended = mend(data, found)
            return None if mended == data else mended
    return None


def _normalise_scans(data: bytes, _found: re.Match[str]) -> bytes:
    """Spectral selection means nothing in a sequential JPEG; Samsung's cameras leave it zero."""
    segments = list(segments_of(data))
    if not any(segment.marker in _SEQUENTIAL for segment in segments):
        return data
    out = bytearray(data)
    for segment in segments:
        if segment.marker == _SOS:
            out[segment.end - 3 : segment.end] = b"\0\x3f\0"
    return bytes(out)


def _normalise_jfif(data: bytes, _found: re.Match[str]) -> bytes:
    """The revision of JFIF changes nothing that is decoded."""
    return _patch(data, _APP0, b"JFIF\0", offset=5, value=lambda _: 1)


def _normalise_adobe(data: bytes, _found: re.Match[str]) -> bytes:
    """An unknown colour transform is taken for the usual one of three or of four components."""
    components = next((data[s.start + 5] for s in segments_of(data) if s.marker in FRAMES and s.end > s.start + 5), 3)
    return _patch(data, _APP14, b"Adobe", offset=11, value=lambda _: 2 if components == 4 else 1)


def _drop_profile(data: bytes, _found: re.Match[str]) -> bytes:
    """A profile whose parts do not fit together is no profile; the picture is not touched by that."""
    out, at = bytearray(), 0
    for segment in segments_of(data):
        if _has_name(data, segment, _APP2, b"ICC_PROFILE\0"):
            out += data[at : segment.start - 4]
            at = segment.end
    return bytes(out + data[at:])


def _drop_zeros(data: bytes, found: re.Match[str]) -> bytes:
    """Zero bytes between a segment or the end of a scan and a marker are padding; nothing before them is missing.

    After a scan all but one are dropped: it may belong to the scan, and a decoder that rot led into the padding must
    find the rest missing.
    """
    skipped, marker = int(found[1]), int(found[2], 16)
    own = 2  # where the segment before ended, whose own last bytes may be zero; 0 after a scan
    for segment in segments_of(data):
        at = segment.end - 2 if segment.marker == _EOI else segment.start - 4
        start = max(at - _zeros_before(data, at), own)
        if segment.marker == marker and start + max(1, skipped) <= at:
            return data[: start if own else start + 1] + data[at:]
        own = 0 if segment.marker == _SOS else segment.end
    return data


def _zeros_before(data: bytes, at: int) -> int:
    """How many zero bytes end at an offset."""
    start = at
    while start and data[start - 1] == 0:
        start -= 1
    return at - start


def _patch(data: bytes, marker: int, name: bytes, *, offset: int, value: Callable[[int], int]) -> bytes:
    """Set one byte of every segment of that marker and name."""
    out = bytearray(data)
    for segment in segments_of(data):
        if _has_name(data, segment, marker, name) and segment.start + offset < segment.end:
            out[segment.start + offset] = value(out[segment.start + offset])
    return bytes(out)


def _has_name(data: bytes, segment: Segment, marker: int, name: bytes) -> bool:
    return segment.marker == marker and data.startswith(name, segment.start)


_Mend = Callable[[bytes, "re.Match[str]"], bytes]
#: What the decoder says -> how that is put right.
_HARMLESS: tuple[tuple[Any, _Mend], ...] = (
    (re.compile(r"Invalid SOS parameters for sequential JPEG"), _normalise_scans),
    (re.compile(r"unknown JFIF revision number"), _normalise_jfif),
    (re.compile(r"[Uu]nknown Adobe color transform code"), _normalise_adobe),
    (re.compile(r"bad ICC marker"), _drop_profile),
    (re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})"), _drop_zeros),
)


def wrap_pixels(pixels: npt.NDArray[np.uint8]) -> Any:
    """Decoded pixels as a libvips image, without a copy."""
    height, width, bands = pixels.shape
    image = pyvips.Image.new_from_memory(pixels, width, height, bands, "uchar")
    return image.copy(interpretation="b-w" if bands == 1 else "srgb")

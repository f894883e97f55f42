"""Files after public reports of bugs in other programs that were always right here, and have to stay so."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from danbooru_pipeline.images import Downscaled, Flag, Kept, downscale_image, inspect_image, optimize_image
from danbooru_pipeline.images.jpeg import segments_of
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline_tests.support import cases
from danbooru_pipeline_tests.support.pictures import chunk, corners, illustration, jpeg, palette_png, pixels_of, png

EXIF_6 = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
#: Orientation 1 of the picture, and 6 of its thumbnail in the second directory.
EXIF_1_THEN_6 = (
    b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0\x1a\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
)
UPRIGHT = png(corners())


def shown(data: bytes) -> np.ndarray:
    """The 512px image, decoded."""
    made = downscale_image(data, inspect_image(data), quality=100)
    assert isinstance(made, Downscaled), made
    return pixels_of(made.data).astype(int)


def is_upright(data: bytes) -> bool:
    """Whether red is at the top left and green at the top right, on a picture that is wider than tall."""
    pixels = shown(data)
    left, right = pixels[256 - 30, 256 - 50], pixels[256 - 30, 256 + 50]
    return bool(left[0] - left[1] > 140 and right[1] - right[0] > 140)


TURNED_NOWHERE = {
    "png_exif6_after": UPRIGHT[:-12] + chunk(b"eXIf", EXIF_6) + UPRIGHT[-12:],
    "png_ztxt_exif6": cases.stating(
        UPRIGHT,
        zTXt=b"Raw profile type exif\0\0"
        + zlib.compress(b"\nexif\n%8d\n%s\n" % (len(EXIF_6) + 6, (b"Exif\0\0" + EXIF_6).hex().encode())),
    ),
    "png_xmp_orient": cases.stating(
        UPRIGHT,
        iTXt=b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta xmlns:x='adobe:ns:meta/'>"
        b"<rdf:Description tiff:Orientation='6'/></x:xmpmeta>",
    ),
    "jpg_orient_ifd0_1_ifd1_6": (
        jpeg(corners())[:2]
        + b"\xff\xe1"
        + struct.pack(">H", len(EXIF_1_THEN_6) + 8)
        + b"Exif\0\0"
        + EXIF_1_THEN_6
        + jpeg(corners())[2:]
    ),
}


@pytest.mark.parametrize("name", TURNED_NOWHERE)
def test_not_turned(name: str) -> None:
    """Only an orientation of the picture itself, where the format has its place for it, turns it."""
    assert is_upright(TURNED_NOWHERE[name])


def test_jpg_rgb_adobe0() -> None:
    """A JPEG that stores RGB is shown as RGB."""
    buffer = io.BytesIO()
    Image.fromarray(cases.drawing()).save(buffer, "JPEG", quality=95, keep_rgb=True)
    assert np.abs(shown(buffer.getvalue())[180:332, 156:356] - cases.drawing()).mean() < 6


def test_jpg_jfif_and_adobe0_ycc() -> None:
    """JFIF means YCbCr, even beside an Adobe marker that says RGB."""
    buffer = io.BytesIO()
    Image.fromarray(cases.drawing()).save(buffer, "JPEG", quality=95)
    data, adobe = buffer.getvalue(), b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
    at = next(segment.end for segment in segments_of(data) if segment.marker == 0xE0)
    assert np.abs(shown(data[:at] + adobe + data[at:])[180:332, 156:356] - cases.drawing()).mean() < 6


def test_jpg_mpo() -> None:
    """Of several pictures in one file the first is shown, and all are kept."""
    data = jpeg(illustration()) + jpeg(corners())
    assert inspect_image(data).flags == (Flag.TRAILING_DATA,)
    assert optimize_image(data, inspect_image(data)).kept == Kept.TRAILING_DATA
    assert np.array_equal(shown(data), shown(jpeg(illustration())))


def test_jpg_fill_ff() -> None:
    """Fill bytes before a marker mean nothing."""
    data = jpeg(illustration())
    filled = data[:2] + b"\xff" * 7 + data[2:-2] + b"\xff" * 9 + data[-2:]
    assert np.array_equal(shown(filled), shown(data))


def test_png_short_idat() -> None:
    """A PNG whose compressed data end before its last row is damaged, though its chunks are whole."""
    rows = b"".join(b"\0" + bytes(96) for _ in range(20))
    header = struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)
    data = UPRIGHT[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert downscale_image(data, inspect_image(data)) == Reason.DAMAGED


def test_png_hist() -> None:
    """A histogram survives, or the bytes are kept."""
    plain = palette_png(transparent=False)
    at = plain.index(b"IDAT") - 4
    data = plain[:at] + chunk(b"hIST", b"\0\1\0\2") + plain[at:]
    result = optimize_image(data, inspect_image(data))
    assert result.data == data or b"hIST\0\1\0\2" in result.data


def test_avif_p3_icc() -> None:
    """A profile in an AVIF is applied, and goes before what its `nclx` says."""
    color = np.full((64, 64, 3), (180, 100, 60), np.uint8)
    profile = cases.profile_of("p3")
    meant = shown(cases.profiled_png(color, profile))[256, 256]
    data = cases.avif(color, quality=100, subsampling="4:4:4", icc_profile=profile)
    for stated in (data, cases.with_nclx(data, 9, 13)):
        assert np.abs(shown(stated)[256, 256] - meant).max() <= 3

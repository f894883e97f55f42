"""BMP: every usual kind is rendered correctly, and anything else has its reason."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from danbooru_pipeline.images import Downscaled, Flag, downscale_image, inspect_image
from danbooru_pipeline.images.bmp import decode_bmp
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline_tests.support.pictures import bmp, pixels_of

RED, BLUE = (250, 20, 20), (20, 20, 250)


def halves(mode: str = "RGB", size: tuple[int, int] = (600, 300)) -> bytes:
    """Left half red and right half blue, as Pillow writes it."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    file = io.BytesIO()
    (image.quantize(4) if mode == "P" else image.convert(mode)).save(file, "BMP")
    return file.getvalue()


def high_color(width: int = 600, height: int = 300) -> bytes:
    """The same with 16 bits per pixel (5-6-5), top row first."""
    row = np.where(np.arange(width) < width // 2, 30 << 11 | 5 << 5 | 2, 2 << 11 | 5 << 5 | 30).astype("<u2")
    pixels = row.tobytes() * height
    header = struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 16, 3, len(pixels), 2835, 2835, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    start = 14 + len(header) + len(masks)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + masks + pixels


@pytest.mark.parametrize("data", [halves(), halves("P"), halves("RGBA"), high_color()])
def test_kinds(data: bytes) -> None:
    """With 24 bits, a palette, 32 bits or 16 bits, both halves have their colours, upright and centred on white."""
    made = downscale_image(data, inspect_image(data))
    assert isinstance(made, Downscaled)
    pixels = pixels_of(made.data)
    assert pixels.shape == (512, 512, 3)
    assert np.abs(pixels[256, 100].astype(int) - RED).max() < 16
    assert np.abs(pixels[256, 400].astype(int) - BLUE).max() < 16
    assert pixels[20].min() > 250


@pytest.mark.parametrize("data", [halves()[:-5000], halves()[:60], bmp()[:30]])
def test_truncated(data: bytes) -> None:
    """A file shorter than its header says is damaged."""
    assert Flag.TRUNCATED in inspect_image(data).flags
    assert downscale_image(data, inspect_image(data)) is Reason.DAMAGED


def test_unknown_compression() -> None:
    """An unknown compression is damage, not a crash."""
    data = halves()
    assert downscale_image(data[:30] + b"\x63" + data[31:], inspect_image(data)) is Reason.DAMAGED


@given(at=st.integers(2, 60), byte=st.integers(0, 255))
def test_any_header_has_an_outcome(at: int, byte: int) -> None:
    """For any value of any header byte there is a picture or a reason; the decoder raises nothing else."""
    data = bytearray(bmp(40, 30))
    data[at] = byte
    assert isinstance(downscale_image(bytes(data), inspect_image(bytes(data)), max_pixels=10**6), Downscaled | Reason)


def test_other_formats_are_disabled() -> None:
    """The decoder accepts only BMP, whatever else it was built with."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "TIFF")
    with pytest.raises(ValueError, match="cannot be decoded"):
        decode_bmp(file.getvalue())

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


RGB = np.random.default_rng(2).integers(0, 256, (4, 5, 3), np.uint8)
ALPHA = np.random.default_rng(3).integers(0, 256, (4, 5), np.uint8)
EIGHTS = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)


def masked(masks: tuple[int, ...], *, bits: int, header: int, compression: int = 3, top: bool = False) -> bytes:
    """`RGB` and `ALPHA` with one mask a channel: in the header from 52 bytes on, else after it."""
    values = np.zeros((4, 5), np.uint64)
    for mask, channel in zip(masks, np.dstack([RGB, ALPHA]).transpose(2, 0, 1), strict=False):
        width = (mask // (mask & -mask)).bit_length() if mask else 0
        values |= np.rint(channel * ((2**width - 1) / 255)).astype(np.uint64) * np.uint64(mask & -mask)
    rows = [row.tobytes().ljust(-(-5 * bits // 32) * 4, b"\0") for row in values.astype(f"<u{bits // 8}")]
    pixels = b"".join(rows if top else rows[::-1])
    stated = struct.pack(f"<{len(masks)}I", *masks)
    info = struct.pack("<IiiHHIIiiII", header, 5, -4 if top else 4, 1, bits, compression, 0, 0, 0, 0, 0)
    info += stated.ljust(header - 40, b"\0")[: header - 40] if header > 40 else stated
    start = 14 + len(info)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + info + pixels


MASKED = {
    "5-5-5": ((0x7C00, 0x3E0, 0x1F), {"bits": 16, "header": 40}, 5),
    "5-6-5": ((0xF800, 0x7E0, 0x1F), {"bits": 16, "header": 40}, 5),
    "4-4-4 and alpha": ((0xF00, 0xF0, 0xF, 0xF000), {"bits": 16, "header": 108}, 9),
    "8-8-8": (EIGHTS[:3], {"bits": 32, "header": 40}, 0),
    "8-8-8 in a header of 52": (EIGHTS[:3], {"bits": 32, "header": 52}, 0),
    "alpha of zero bits": ((*EIGHTS[:3], 0), {"bits": 32, "header": 124}, 0),
    "alpha": (EIGHTS, {"bits": 32, "header": 56}, 0),
    "alpha after the header": (EIGHTS, {"bits": 32, "header": 40, "compression": 6}, 0),
    "another order": ((0xFF, 0xFF00, 0xFF0000, 0xFF000000), {"bits": 32, "header": 124}, 0),
    "10-10-10": ((0x3FF00000, 0xFFC00, 0x3FF), {"bits": 32, "header": 40}, 1),
}


@pytest.mark.parametrize("top", [False, True], ids=["", "top"])
@pytest.mark.parametrize("name", MASKED)
def test_masks(name: str, *, top: bool) -> None:
    """Channels are where the masks say, of any width and order, with alpha where there is a mask for it."""
    masks, options, error = MASKED[name]
    data = masked(masks, top=top, **options)
    has_alpha = any(masks[3:])
    meant = np.dstack([RGB, ALPHA]) if has_alpha else RGB
    pixels = decode_bmp(data).numpy()
    assert pixels.shape == meant.shape
    assert np.abs(pixels.astype(int) - meant).max() <= error
    assert (inspect_image(data).flags, inspect_image(data).alpha) == ((), has_alpha or None)
    cut = inspect_image(data[:-4])
    assert (cut.flags, downscale_image(data[:-4], cut)) == ((Flag.TRUNCATED,), Reason.DAMAGED)


def test_blank_alpha_is_none() -> None:
    """An alpha of zeros alone was left blank by its writer, and hides nothing."""
    data = bytearray(masked(EIGHTS, bits=32, header=56))
    data[70 + 3 :: 4] = bytes(20)
    assert np.array_equal(decode_bmp(bytes(data)).numpy(), RGB)


@pytest.mark.parametrize("stated", [0, 54, 2**32 - 1])
@pytest.mark.parametrize("data", [halves(), halves("P"), halves("RGBA"), high_color()])
def test_the_stated_size_of_the_file_may_be_wrong(data: bytes, stated: int) -> None:
    """Pixels that are all there are shown, whatever size of the file the header states; one too few is truncated."""
    wrong = data[:2] + struct.pack("<I", stated) + data[6:]
    assert inspect_image(wrong).flags == ()
    assert isinstance(downscale_image(wrong, inspect_image(wrong)), Downscaled)
    assert inspect_image(wrong[:-1]).flags == (Flag.TRUNCATED,)


@pytest.mark.parametrize("data", [halves(), halves("P"), halves("RGBA"), high_color(), bmp()])
def test_trailing_data(data: bytes) -> None:
    """What follows the pixels is trailing data, even if the header counts it in; zeros are padding."""
    longer = data + b"PK\3\4" * 20
    for found in (longer, data[:2] + struct.pack("<I", len(longer)) + longer[6:]):
        assert inspect_image(found).flags == (Flag.TRAILING_DATA,)
        assert isinstance(downscale_image(found, inspect_image(found)), Downscaled)
    assert inspect_image(data + bytes(2)).flags == ()


def test_a_profile_is_no_trailing_data() -> None:
    """A profile at the end, where the header says it is, belongs to the file."""
    plain = masked(EIGHTS, bits=32, header=124)
    data = bytearray(plain + b"profile")
    data[70:74] = b"DEBM"
    data[126:134] = struct.pack("<II", len(plain) - 14, 7)
    assert inspect_image(bytes(data)).flags == ()
    assert inspect_image(bytes(data) + b"PK").flags == (Flag.TRAILING_DATA,)


def run_lengths(tail: bytes = b"\0\1", packed: int = 0) -> bytes:
    """Two rows of eight pixels as runs."""
    pixels = b"\x08\1\0\0\x08\2" + tail
    palette = bytes([0, 0, 0, 0, *BLUE[::-1], 0, *RED[::-1], 0]).ljust(1024, b"\0")
    info = struct.pack("<IiiHHIIiiII", 40, 8, 2, 1, 8, 1, packed or len(pixels), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + info + palette + pixels


def test_run_lengths() -> None:
    """Runs are decoded, with or without their end mark; what follows them is told, and that some are missing."""
    for data, flags in ((run_lengths(), ()), (run_lengths(b""), ()), (run_lengths() + b"PK", (Flag.TRAILING_DATA,))):
        assert decode_bmp(data).numpy()[:, 0].tolist() == [list(RED), list(BLUE)]
        assert inspect_image(data).flags == flags
    cut = run_lengths(packed=8)[:-4]
    assert (inspect_image(cut).flags, downscale_image(cut, inspect_image(cut))) == ((Flag.TRUNCATED,), Reason.DAMAGED)


@pytest.mark.parametrize(("at", "value"), [(28, 2), (28, 64), (30, 4), (30, 5), (30, 11), (30, 13)])
def test_defined_kinds_without_a_decoder(at: int, value: int) -> None:
    """A kind that is defined and not implemented, as a JPEG in a BMP, is no damage."""
    data = bytearray(halves())
    data[at] = value
    assert downscale_image(bytes(data), inspect_image(bytes(data))) is Reason.UNDECODABLE


@given(at=st.integers(2, 133), byte=st.integers(0, 255))
def test_any_header_has_an_outcome(at: int, byte: int) -> None:
    """For any value of any header byte there is a picture or a reason; the decoder raises nothing else."""
    for whole in (bmp(40, 30), masked(EIGHTS, bits=32, header=124), masked((0xF800, 0x7E0, 0x1F), bits=16, header=40)):
        data = bytearray(whole)
        data[at % len(data)] = byte
        made = downscale_image(bytes(data), inspect_image(bytes(data)), max_pixels=10**6)
        assert isinstance(made, Downscaled | Reason)


def test_other_formats_are_disabled() -> None:
    """The decoder accepts only BMP, whatever else it was built with."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "TIFF")
    with pytest.raises(ValueError, match="cannot be decoded"):
        decode_bmp(file.getvalue())

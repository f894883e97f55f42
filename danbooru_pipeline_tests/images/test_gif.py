"""A GIF is shown if there are data for every pixel of its frame, with or without the code for their end."""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from danbooru_pipeline.images import Downscaled, Flag, ImageJob, downscale_image, inspect_image, run_image_job
from danbooru_pipeline.images.decode import shrink_image
from danbooru_pipeline.outcomes import Reason

TABLE = bytes(value for number in range(256) for value in (number, 255 - number, number // 2))
CLEAR, END, CODE_BITS = 256, 257, 9


def coded(pixels: bytes, *, with_end: bool) -> bytes:
    """The pixels as codes of nine bits, in sub-blocks; without the code for the end they stop with the last pixel."""
    codes = [CLEAR]
    for number, pixel in enumerate(pixels, start=1):
        codes += [pixel, CLEAR] if number % 200 == 0 else [pixel]
    codes += [END] if with_end else []
    bits = sum(code << CODE_BITS * number for number, code in enumerate(codes))
    data = bits.to_bytes(-(-len(codes) * CODE_BITS // 8), "little")
    return b"".join(bytes([len(data[at : at + 255])]) + data[at : at + 255] for at in range(0, len(data), 255)) + b"\0"


def gif(*frames: bytes, size: tuple[int, int], screen: tuple[int, int] | None = None, flags: int = 0) -> bytes:
    """A GIF of these blocks of coded data, each a frame of that size."""
    head = b"GIF89a" + struct.pack("<2H", *(screen or size)) + b"\x87\0\0" + TABLE
    table = TABLE if flags & 0x80 else b""
    blocks = (b",\0\0\0\0" + struct.pack("<2HB", *size, flags) + table + b"\x08" + frame for frame in frames)
    return head + b"".join(blocks) + b";"


def colors(width: int, height: int) -> bytes:
    """Pixels none of which is black."""
    return bytes((7 * number) % 250 + 1 for number in range(width * height))


def shown(data: bytes) -> npt.NDArray[np.uint8]:
    """The picture as it is decoded."""
    image, _ = shrink_image(data, inspect_image(data), size=512)
    pixels: npt.NDArray[np.uint8] = image.numpy()
    return pixels


@pytest.mark.parametrize("width", range(1, 25))
def test_the_code_for_the_end_may_be_missing(width: int) -> None:
    """The last pixel is right whether or not its code is followed by another, and wherever in a byte it ends."""
    meant = np.array([list(TABLE[3 * pixel : 3 * pixel + 3]) for pixel in colors(width, 1)])
    for with_end in (True, False):
        data = gif(coded(colors(width, 1), with_end=with_end), size=(width, 1))
        assert np.array_equal(shown(data)[0, :, :3], meant)


@pytest.mark.parametrize("flags", [0, 0x40, 0x87], ids=["plain", "interlaced", "own table"])
@pytest.mark.parametrize("missing", [1, 2, 8, 200, 479, 480])
@pytest.mark.parametrize("with_end", [True, False])
def test_data_that_stop_early_are_damage(missing: int, flags: int, *, with_end: bool) -> None:
    """A picture of which any pixel has no data is damaged, though its trailer is there; one with all is shown."""
    pixels = colors(24, 20)
    whole = gif(coded(pixels, with_end=with_end), size=(24, 20), flags=flags)
    assert isinstance(downscale_image(whole, inspect_image(whole)), Downscaled)
    data = gif(coded(pixels[:-missing], with_end=with_end), size=(24, 20), flags=flags)
    assert inspect_image(data).flags == ()
    assert downscale_image(data, inspect_image(data)) is Reason.DAMAGED


@pytest.mark.parametrize("hash_pixels", [True, False])
def test_a_job_sees_it_as_well(tmp_path: Path, *, hash_pixels: bool) -> None:
    """The outcome is the same whether or not the pixel hash has decoded the picture before."""
    outcomes = []
    for missing in (0, 3):
        source = tmp_path / f"{missing}.gif"
        pixels = colors(24, 20)[: 480 - missing]
        source.write_bytes(gif(coded(pixels, with_end=False), size=(24, 20), screen=(40, 30)))
        job = ImageJob(source=source, px512=tmp_path / f"{missing}.jpg", hash_pixels=hash_pixels)
        outcomes.append(run_image_job(job).px512_reason)
    assert outcomes == [None, Reason.DAMAGED]


def test_zeros_before_the_trailer_are_padding() -> None:
    """They hide nothing; without the trailer, or before more blocks, the file is truncated as before."""
    frame = coded(colors(24, 20), with_end=True)
    whole = gif(frame, size=(24, 20))
    for zeros in (1, 9):
        padded = whole[:-1] + bytes(zeros) + b";"
        assert inspect_image(padded).flags == ()
        assert np.array_equal(shown(padded), shown(whole))
        assert inspect_image(padded + b"PK").flags == (Flag.TRAILING_DATA,)
        assert inspect_image(padded[:-1]).flags == (Flag.TRUNCATED,)
        more = whole[:-1] + bytes(zeros) + gif(frame, size=(24, 20))[13 + len(TABLE) :]
        assert inspect_image(more).flags == (Flag.TRUNCATED,)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_animation_is_one_whichever_frame_stops_early(place: int) -> None:
    """Frames of animations are not decoded, so the reason is that it is one, for the first frame as for later ones."""
    frames = [coded(colors(24, 20), with_end=True)] * 3
    frames[place] = coded(colors(24, 20)[:100], with_end=True)
    data = gif(*frames, size=(24, 20))
    assert (inspect_image(data).pages, inspect_image(data).flags) == (3, ())
    assert downscale_image(data, inspect_image(data)) is Reason.ANIMATED

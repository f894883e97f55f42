"""Facts are read from headers, markers and chunks, and no bytes make that raise."""

import struct
import time
from pathlib import Path
from typing import Any

import pytest
import pyvips
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from danbooru_pipeline.images import Flag, ImageFacts, inspect_image
from danbooru_pipeline.images.avif import walk_avif
from danbooru_pipeline.images.jpeg import carried_segments, walk_jpeg
from danbooru_pipeline.images.png import carried_chunks, walk_png
from danbooru_pipeline.store.columns import Origin, values_from
from danbooru_pipeline.store.ledger import LEDGER_COLUMNS, LedgerRow, read_ledger, write_ledger
from danbooru_pipeline_tests.support import pictures
from danbooru_pipeline_tests.support.cases import avif, drawing, rotten_chunk
from danbooru_pipeline_tests.support.pictures import illustration, jpeg, png

JPEG = jpeg(illustration())
PROGRESSIVE = jpeg(illustration(), interlace=True)
PNG = png(illustration())


@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE, jpeg(illustration(), restart_interval=4)])
def test_whole_jpeg(data: bytes) -> None:
    """A whole JPEG, with or without restart markers, ends at its EOI marker and has no flags."""
    facts = inspect_image(data)
    assert (facts.file_type, facts.width, facts.height, facts.pages, facts.flags) == ("jpg", 300, 200, 1, ())
    assert walk_jpeg(data).end == len(data)


def test_whole_png() -> None:
    """A whole PNG has its size, no alpha and no flags."""
    assert inspect_image(PNG) == ImageFacts("png", 300, 200, 1, alpha=False, color_space="srgb")


@pytest.mark.parametrize("data", [JPEG[:-2], JPEG[: len(JPEG) // 2], PROGRESSIVE[: len(JPEG) // 2], JPEG[:3]])
def test_truncated_jpeg(data: bytes) -> None:
    """A truncated JPEG is flagged, wherever it ends."""
    assert Flag.TRUNCATED in inspect_image(data).flags


def test_png_whose_header_is_not_first() -> None:
    """The size is that of the header, though Apple's tools write a chunk before it and no decoder reads the rest."""
    facts = inspect_image(PNG[:8] + pictures.chunk(b"CgBI", b"P\0 \2") + PNG[8:])
    assert (facts.width, facts.height, facts.flags) == (300, 200, ())
    assert inspect_image(PNG[:8] + PNG[33:]).pixels == 0


@pytest.mark.parametrize("cut", [1, 12, 500])
def test_truncated_png(cut: int) -> None:
    """A truncated PNG is flagged, even if only IEND is missing."""
    assert inspect_image(PNG[:-cut]).flags == (Flag.TRUNCATED,)


def test_truncated_webp() -> None:
    """A WebP shorter than its header says is flagged."""
    data = illustration().webpsave_buffer()
    assert inspect_image(data).flags == ()
    assert inspect_image(data[:-10]).flags == (Flag.TRUNCATED,)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"keep": "icc", "profile": "p3"}])
def test_size_of_a_truncated_webp(options: dict[str, Any]) -> None:
    """A truncated WebP of any kind still has the size that its first chunk says, if that is there."""
    data = illustration().webpsave_buffer(**options)
    facts = inspect_image(data[: len(data) // 2])
    assert (facts.width, facts.height, facts.flags) == (300, 200, (Flag.TRUNCATED,))
    assert inspect_image(data[:22]).pixels == 0


@pytest.mark.parametrize("cut", [1, 100, 1000])
def test_truncated_avif(cut: int) -> None:
    """An AVIF that ends inside a box is flagged."""
    data = illustration().heifsave_buffer(compression="av1", effort=0)
    assert inspect_image(data).flags == ()
    assert inspect_image(data[:-cut]).flags == (Flag.TRUNCATED,)


@pytest.mark.parametrize("data", [JPEG, PNG, illustration().webpsave_buffer()])
@pytest.mark.parametrize("more", [b"\0", b"PK\3\4 an archive", JPEG])
def test_trailing_data(data: bytes, more: bytes) -> None:
    """Bytes after the end are flagged, even a single one, even if they are a picture themselves."""
    assert inspect_image(data + more).flags == (Flag.TRAILING_DATA,)


def test_a_second_avif_is_trailing_data() -> None:
    """What follows an AVIF is none of it, even where it is made of the same boxes, as a film is."""
    still = avif(drawing())
    frames = [Image.fromarray(drawing() // level) for level in (2, 3)]
    for more in (still, avif(frames[0], save_all=True, append_images=frames[1:])):
        facts = inspect_image(still + more)
        assert (facts.pages, facts.flags) == (1, (Flag.TRAILING_DATA,))


def test_rotten_png() -> None:
    """A critical chunk that fails its checksum makes a PNG corrupt; a metadata chunk does not."""
    assert inspect_image(pictures.rot(PNG, 0.5)).flags == (Flag.CORRUPT,)
    text = pictures.with_chunk(PNG, b"tEXt", b"Comment\0Hello")
    assert inspect_image(text.replace(b"Hello", b"Jello")).flags == ()
    assert inspect_image(PNG.replace(b"IDAT", b"IDA\0", 1)).flags == (Flag.CORRUPT,), "the name itself is damaged"


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC9, 0xCA])
def test_unusual_jpeg(marker: int) -> None:
    """Lossless, hierarchical and arithmetic JPEGs are flagged by their frame marker."""
    assert Flag.UNUSUAL_JPEG in inspect_image(JPEG.replace(b"\xff\xc0", bytes([0xFF, marker]), 1)).flags


def test_twelve_bit_jpeg() -> None:
    """A JPEG with 12 bits per sample is unusual: optimisers accept it and decoders do not."""
    at = JPEG.index(b"\xff\xc0") + 4
    assert Flag.UNUSUAL_JPEG in inspect_image(JPEG[:at] + b"\x0c" + JPEG[at + 1 :]).flags


@pytest.mark.parametrize(("frames", "pages"), [(1, 1), (3, 3)])
def test_apng(frames: int, pages: int) -> None:
    """The frames of an APNG are counted, since the decoder does not count them."""
    facts = inspect_image(pictures.apng(frames))
    assert (facts.pages, facts.flags) == (pages, (Flag.APNG,))


def test_a_rotten_frame_count_is_ignored() -> None:
    """An `acTL` that fails its checksum makes no animation, as decoders see it."""
    facts = inspect_image(rotten_chunk(pictures.apng(3), b"acTL"))
    assert (facts.pages, facts.flags) == (1, ())


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations(suffix: str) -> None:
    """Frames of GIF and WebP are counted, and the size is that of one frame."""
    facts = inspect_image(pictures.animated(suffix))
    assert (facts.pages, facts.width, facts.height) == (3, 64, 64)


def test_avif_sequence() -> None:
    """An AVIF sequence has the frames of its track, though the decoder sees only the still picture beside it."""
    still = avif(drawing())
    assert inspect_image(still).pages == 1
    frames = [Image.fromarray(drawing() // level) for level in (2, 3, 4)]
    sequence = avif(frames[0], save_all=True, append_images=frames[1:])
    assert inspect_image(sequence).pages == 3


def test_alpha_and_spaces() -> None:
    """Alpha, depth, grey, CMYK and profiles appear in the facts."""
    assert inspect_image(png(pictures.solid((1, 2, 3, 4)))).alpha is True
    assert inspect_image(pictures.palette_png(transparent=True)).alpha is True
    assert inspect_image(pictures.palette_png(transparent=False)).alpha is False
    assert inspect_image(jpeg(illustration(bands=1))).color_space == "b-w"
    deep = illustration().cast("ushort").copy(interpretation="rgb16")
    assert inspect_image(png(deep, bitdepth=16)).color_space == "rgb16"
    cmyk = jpeg(illustration().icc_transform("cmyk", input_profile="srgb"), keep="icc")
    assert (inspect_image(cmyk).color_space, inspect_image(cmyk).has_profile) == ("cmyk", True)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    """The EXIF orientation is read, and the size is the stored one."""
    image = pictures.corners().copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    facts = inspect_image(jpeg(image, keep="exif"))
    assert (facts.orientation, facts.width, facts.height) == (orientation, 200, 120)


def test_bmp() -> None:
    """A BMP's size is read from its header without decoding it."""
    assert inspect_image(pictures.bmp(8, 4)) == ImageFacts("bmp", 8, 4, 1, color_space="srgb")
    assert inspect_image(pictures.bmp(8, -4)).height == 4
    assert inspect_image(pictures.bmp()[:40]).flags == (Flag.TRUNCATED,)


def absurd_sequence() -> bytes:
    """An AVIF of two frames whose table says that there are four billion."""
    frames = [Image.fromarray(drawing() // level) for level in (2, 3)]
    data = bytearray(avif(frames[0], save_all=True, append_images=frames[1:]))
    at = data.index(b"stsz") + 12
    data[at : at + 4] = b"\xff" * 4
    return bytes(data)


ABSURD = {
    "apng": pictures.with_chunk(PNG, b"acTL", struct.pack(">II", 2**31, 0)),
    "avif": absurd_sequence(),
    "bmp": pictures.bmp()[:22] + struct.pack("<i", -(2**31)) + pictures.bmp()[26:],
}


@pytest.mark.parametrize("data", ABSURD.values(), ids=ABSURD)
def test_a_number_that_no_column_holds_is_none(tmp_path: Path, data: bytes) -> None:
    """A number beyond any picture is unknown, whatever format states it, so a ledger can hold the file's facts."""
    facts = inspect_image(data)
    assert None in (facts.pages, facts.height)
    row = LedgerRow(id=1, **values_from(facts, Origin.FILE, LEDGER_COLUMNS))
    write_ledger(tmp_path / "0001.parquet", [row])
    assert read_ledger(tmp_path / "0001.parquet") == {1: row}


@pytest.mark.parametrize("data", [b"", b"<html>", b"PK\3\4", b"FWS\1", b"\xff\xd8\xff", PNG[:8], b"GIF89a"])
def test_no_picture(data: bytes) -> None:
    """Files that are not pictures, and bare magic bytes, have no size."""
    assert inspect_image(data).pixels == 0


def test_bomb_costs_nothing() -> None:
    """The size of a bomb is known without decoding it."""
    started = time.process_time()
    assert inspect_image(pictures.bomb_png()).pixels == 900_000_000
    assert time.process_time() - started < 0.5


@given(
    st.sampled_from([b"", b"\xff\xd8\xff", PNG[:33], JPEG[:200], PROGRESSIVE[:700], b"GIF89a", b"RIFF\xff\0\0\0WEBP"]),
    st.binary(max_size=400),
)
def test_any_bytes(start: bytes, rest: bytes) -> None:
    """No bytes make it raise, even after the start of a real file."""
    data = start + rest
    facts = inspect_image(data)
    assert set(facts.flags) <= set(Flag)
    for walk in (walk_jpeg, walk_png, walk_avif, carried_segments, carried_chunks):
        walk(data)


@given(
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=8), as_png=st.booleans()
)
def test_any_change(changes: list[tuple[float, int]], *, as_png: bool) -> None:
    """No changed bytes in real files make it raise."""
    data = bytearray(PNG if as_png else JPEG)
    for where, value in changes:
        data[int(where * len(data))] = value
    assert inspect_image(bytes(data)).flags is not None


@pytest.mark.parametrize("data", [b"\xff" * 10, b"\xff\xd8", b"\xff\xda\0\2" + b"\xff\x01\xff\0", b"\xff\xe1\0\0"])
def test_walks_are_linear(data: bytes) -> None:
    """Megabytes of the worst input for the walks take a fraction of a second."""
    long = data * (2_000_000 // len(data))
    started = time.process_time()
    walk_jpeg(b"\xff\xd8\xff\xda\0\2" + long)
    walk_jpeg(long)
    walk_png(PNG[:8] + pictures.chunk(b"teSt", b"") * 100_000)
    assert time.process_time() - started < 3


@pytest.mark.parametrize("frames", [1, 3])
def test_gif_ends_at_its_trailer(frames: int) -> None:
    """A GIF that ends anywhere before its trailer is truncated; one that continues after it has trailing data."""
    whole = pictures.animated(".gif") if frames > 1 else illustration(64, 64).gifsave_buffer()
    assert inspect_image(whole).flags == ()
    assert inspect_image(whole + b"\0").flags == (Flag.TRAILING_DATA,)
    for end in range(20, len(whole), max(1, len(whole) // 60)):
        assert Flag.TRUNCATED in inspect_image(whole[:end]).flags

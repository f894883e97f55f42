"""Optimised files decode to exactly the same picture, or the original bytes are kept."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import oxipng
import pytest
import pyvips
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from danbooru_pipeline.images import Flag, ImageJob, Kept, Optimized, inspect_image, optimize_image, run_image_job
from danbooru_pipeline.images.jpeg import carried_segments, walk_jpeg
from danbooru_pipeline.images.png import carried_chunks, chunks_of
from danbooru_pipeline_tests.support import pictures
from danbooru_pipeline_tests.support.pictures import chunk, illustration, jpeg, pixels_of, png
from danbooru_pipeline_tests.support.strategies import any_pixels

JPEG = jpeg(illustration())
PNG = png(illustration())


def optimize(data: bytes) -> Optimized:
    """Inspect and optimise, as a job does."""
    return optimize_image(data, inspect_image(data))


def rgba(data: bytes) -> np.ndarray:
    """All pixels as 16-bit RGBA, so that any two kinds of PNG can be compared; independent of the code under test."""
    pixels = pixels_of(data)
    wide = pixels.astype(np.uint16) * (257 if pixels.dtype == np.uint8 else 1)
    color, alpha = (wide[..., :-1], wide[..., -1:]) if wide.shape[2] in (2, 4) else (wide, None)
    color = np.repeat(color, 3, axis=2) if color.shape[2] == 1 else color
    return np.concatenate([color, np.full_like(color[..., :1], 65535) if alpha is None else alpha], axis=2)


def with_exif(image: pyvips.Image, orientation: int = 6) -> pyvips.Image:
    """The image with an EXIF orientation and an ICC profile."""
    image = image.icc_transform("p3", input_profile="srgb").copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return image


@pytest.mark.parametrize(
    "make",
    [
        lambda: JPEG,
        lambda: jpeg(illustration(bands=1)),
        lambda: jpeg(illustration(), subsample_mode="off"),
        lambda: jpeg(illustration(), restart_interval=8),
        lambda: jpeg(with_exif(illustration()), keep="all"),
        lambda: jpeg(illustration().icc_transform("cmyk", input_profile="srgb"), keep="all"),
        lambda: jpeg(illustration().icc_transform("cmyk", input_profile="srgb")),
    ],
    ids=["plain", "grey", "444", "restarts", "p3+exif", "cmyk+profile", "cmyk"],
)
def test_jpeg_is_smaller_and_the_same(make: Callable[[], bytes]) -> None:
    """A JPEG gets smaller, with every pixel and all metadata unchanged."""
    data = make()
    result = optimize(data)
    assert (result.tool, result.kept, result.pixels is not None) == ("mozjpeg", None, True)
    assert len(result.data) < len(data)
    assert np.array_equal(pixels_of(result.data), pixels_of(data))
    assert carried_segments(result.data) == carried_segments(data)
    assert walk_jpeg(result.data).end == len(result.data)


def with_segment(data: bytes, content: bytes) -> bytes:
    """A JPEG that begins with an APP0 segment."""
    return data[:2] + b"\xff\xe0" + (len(content) + 2).to_bytes(2, "big") + content + data[2:]


@pytest.mark.parametrize(
    ("thumbnail", "kept"),
    [(b"JFIF\0\1\2\0\0\1\0\1\2\1abcdef", Kept.NOT_IDENTICAL), (b"JFXX\0\x13\2\1abcdef", None)],
    ids=["JFIF", "JFXX"],
)
def test_a_thumbnail_is_not_lost(thumbnail: bytes, kept: Kept | None) -> None:
    """A thumbnail that the optimiser would drop keeps a JPEG as it is; one that it copies is no hindrance."""
    data = with_segment(JPEG, thumbnail)
    assert pixels_of(data).shape == pixels_of(JPEG).shape
    result = optimize(data)
    assert thumbnail in result.data
    assert result.kept == kept


def deep_image() -> pyvips.Image:
    """16-bit samples that are all multiples of 257, which an optimiser could reduce to 8 bits."""
    return (illustration().cast("ushort") * 257).cast("ushort").copy(interpretation="rgb16")


@pytest.mark.parametrize(
    "make",
    [
        lambda: PNG,
        lambda: png(illustration(bands=1)),
        lambda: png(illustration(bands=2)),
        lambda: png(illustration().bandjoin(illustration(bands=1))),
        lambda: png(illustration(bands=1).bandjoin([illustration(bands=1)] * 2)),
        lambda: png(deep_image()),
        lambda: png(with_exif(illustration()), keep="all"),
        lambda: pictures.palette_png(transparent=True),
        lambda: pictures.palette_png(transparent=False),
    ],
    ids=["rgb", "grey", "grey+alpha", "rgba", "grey as rgb", "16 bit", "p3+exif", "palette+trns", "palette"],
)
def test_png_is_smaller_and_the_same(make: Callable[[], bytes]) -> None:
    """A PNG gets smaller, with every pixel, its depth and all metadata unchanged."""
    data = make()
    result = optimize(data)
    assert (result.tool, result.kept) == ("oxipng -o2", None)
    assert len(result.data) < len(data)
    assert np.array_equal(rgba(result.data), rgba(data))
    assert pixels_of(result.data).dtype == pixels_of(data).dtype
    assert carried_chunks(result.data) == carried_chunks(data)


def test_png_keeps_hidden_colour() -> None:
    """Colour under full transparency is kept."""
    pixels = np.random.default_rng(1).integers(0, 4, (64, 64, 4), np.uint8) * 60
    pixels[..., 3] = 0
    pixels[:8, :8, 3] = 255
    result = optimize(png(pictures.from_array(pixels)))
    assert result.tool is not None
    assert np.array_equal(rgba(result.data)[..., :3], pixels[..., :3].astype(np.uint16) * 257)


def test_png_keeps_every_chunk() -> None:
    """Gamma, physical size, time, text and private chunks survive."""
    data = PNG
    for name, body in {
        b"gAMA": struct.pack(">I", 45455),
        b"pHYs": struct.pack(">IIB", 2835, 2835, 1),
        b"tEXt": b"Title\0A picture",
        b"prVt": b"anything",
        b"tIME": b"\x07\xe6\1\2\3\4\5",
    }.items():
        data = pictures.with_chunk(data, name, body)
    result = optimize(data)
    assert result.tool is not None
    assert carried_chunks(result.data) == carried_chunks(data)


def test_png_stays_interlaced() -> None:
    """An interlaced PNG stays interlaced."""
    data = png(illustration(), interlace=True)
    result = optimize(data)
    assert result.tool is not None
    assert (data[28], result.data[28]) == (1, 1)


def test_a_background_colour_survives() -> None:
    """A PNG that names what is behind it is optimised, and names it still, in each kind of pixels."""
    grey, palette = illustration(bands=1), illustration().write_to_buffer(".png", palette=True)
    for picture, background in (
        (png(grey.bandjoin([grey] * 2)), struct.pack(">HHH", 1, 2, 3)),
        (png(illustration()), struct.pack(">HHH", 255, 255, 255)),
        (png(grey), struct.pack(">H", 7)),
        (palette, b"\5"),
    ):
        place = picture.index(b"IDAT") - 4
        data = picture[:place] + chunk(b"bKGD", background) + picture[place:]
        result = optimize(data)
        assert result.tool is not None
        assert len(result.data) < len(data)
        assert carried_chunks(result.data) == carried_chunks(data)


def test_a_lost_chunk_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the optimiser drops a chunk, the original bytes are kept."""
    grey = png(illustration(bands=1).bandjoin([illustration(bands=1)] * 2))
    data = grey[:33] + chunk(b"bKGD", struct.pack(">HHH", 1, 2, 3)) + grey[33:]
    bare = oxipng.optimize_from_memory(data, level=2, interlace=None)
    assert carried_chunks(bare) != carried_chunks(data), "the optimiser keeps it now: its kind of pixels may change"
    monkeypatch.setattr("danbooru_pipeline.images.optimize.has_background", lambda _: False)
    assert optimize(data) == Optimized(data, kept=Kept.NOT_IDENTICAL)


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (JPEG[:-2], Kept.TRUNCATED),
        (JPEG[: len(JPEG) // 2], Kept.TRUNCATED),
        (PNG[:-12], Kept.TRUNCATED),
        (JPEG + b"PK\3\4 archive", Kept.TRAILING_DATA),
        (PNG + b"PK\3\4 archive", Kept.TRAILING_DATA),
        (pictures.rot(JPEG, 0.5, length=200), Kept.CORRUPT),
        (pictures.rot(PNG, 0.5), Kept.CORRUPT),
        (JPEG.replace(b"\xff\xc0", b"\xff\xc9", 1), Kept.UNUSUAL),
        (pictures.apng(3), Kept.UNUSUAL),
        (pictures.bomb_png(), Kept.TOO_MANY_PIXELS),
        (pictures.raw_png(struct.pack(">IIBBBBB", 4000, 4000, 16, 6, 0, 0, 0), bytes(1000)), Kept.TOO_MANY_PIXELS),
        (pictures.animated(".gif"), Kept.WRONG_TYPE),
        (pictures.bmp(), Kept.WRONG_TYPE),
        (b"", Kept.WRONG_TYPE),
    ],
)
def test_kept(data: bytes, kept: Kept) -> None:
    """In any doubt the original bytes are kept, and the result says why."""
    result = optimize(data)
    assert (result.data, result.tool, result.kept) == (data, None, kept)


@pytest.mark.parametrize("data", [JPEG, PNG])
def test_second_time_gains_nothing(data: bytes) -> None:
    """A file that was optimised once is kept as it is the next time."""
    once = optimize(data).data
    assert optimize(once) == Optimized(once, kept=Kept.LARGER)


def test_panic_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A panic inside the optimiser keeps the original; Ctrl-C is not mistaken for one."""

    class PanicException(BaseException):
        """Not an Exception, as in pyo3."""

    def fail(*_args: object, **_options: object) -> bytes:
        raise error

    monkeypatch.setattr(oxipng, "optimize_from_memory", fail)
    error: BaseException = PanicException("assertion failed")
    assert optimize(PNG).kept == Kept.REFUSED
    error = oxipng.PngError("no")
    assert optimize(PNG).kept == Kept.REFUSED
    error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        optimize(PNG)


@pytest.mark.parametrize("changed", [png(illustration().invert()), png(illustration(299)), PNG[:-30]])
def test_different_pixels_are_rejected(monkeypatch: pytest.MonkeyPatch, changed: bytes) -> None:
    """An optimiser's output is rejected if it decodes to another picture."""
    monkeypatch.setattr(oxipng, "optimize_from_memory", lambda *_args, **_options: changed)
    data = pictures.with_chunk(png(illustration(), compression=0), b"tEXt", b"a\0" + bytes(50_000))
    changed = pictures.with_chunk(changed, b"tEXt", b"a\0" + bytes(20_000))
    assert optimize(data) == Optimized(data, kept=Kept.NOT_IDENTICAL)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    pixels=any_pixels(24),
    interlaced=st.booleans(),
)
def test_any_png_keeps_its_pixels(pixels: np.ndarray, *, interlaced: bool) -> None:
    """For any picture, the optimised PNG decodes to exactly the same pixels."""
    data = png(pictures.from_array(pixels), interlace=interlaced, bitdepth=pixels.dtype.itemsize * 8)
    result = optimize(data)
    assert np.array_equal(rgba(result.data), rgba(data))
    assert len(result.data) <= len(data)


@settings(deadline=None, max_examples=40)
@given(
    pixels=hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))),
    quality=st.integers(20, 100),
    progressive=st.booleans(),
)
def test_any_jpeg_keeps_its_pixels(pixels: np.ndarray, quality: int, *, progressive: bool) -> None:
    """For any picture, the optimised JPEG decodes to exactly the same pixels."""
    data = jpeg(pictures.from_array(pixels), Q=quality, interlace=progressive)
    assert np.array_equal(pixels_of(optimize(data).data), pixels_of(data))


@pytest.mark.parametrize("own_chunk", [False, True])
def test_data_hidden_behind_the_pixels_are_kept(tmp_path: Path, *, own_chunk: bool) -> None:
    """What follows the compressed pixels in IDAT is trailing data, and the bytes are kept; empty chunks hide none."""
    plain = png(illustration())
    body = b"".join(plain[c.start : c.start + c.length] for c in chunks_of(plain) if c.name == b"IDAT")
    hidden = b"PK\3\4" * 50_000  # as `tweetable-polyglot-png` does it
    parts = (body, hidden) if own_chunk else (body + hidden,)
    source = tmp_path / "1.png"
    for added, expected in (
        (parts, ((Flag.TRAILING_DATA,), Kept.TRAILING_DATA)),
        ((body[:9], b"", body[9:], b""), ((), None)),
    ):
        data = plain[:33] + b"".join(pictures.chunk(b"IDAT", part) for part in added) + plain[-12:]
        source.write_bytes(data)
        result = run_image_job(ImageJob(source=source, original=source, px512=tmp_path / "1.jpg"))
        assert result.facts is not None
        assert ((result.facts.flags, result.kept), result.px512_reason) == (expected, None)
        assert (source.read_bytes() == data) == (result.kept is not None)

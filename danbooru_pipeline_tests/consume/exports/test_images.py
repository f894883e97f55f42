"""Images in other sizes: whole, upright, in the right colours, or left out with a reason."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from danbooru_pipeline.images.inspect import inspect_image
from danbooru_pipeline.images.render import TOO_SMALL, RenderSettings, encode, frame_of, render_image, training_buckets
from danbooru_pipeline.layout import Layout

Run = Callable[..., Result]
SIDES = st.integers(1, 5000)


def rendered(data: bytes, **settings: Any) -> Image.Image:
    """A picture after rendering."""
    made = render_image(data, inspect_image(data), RenderSettings(**settings))
    assert isinstance(made, Image.Image), made
    return made


def png(image: Image.Image, **more: Any) -> bytes:
    """A PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **more)
    return buffer.getvalue()


@given(SIDES, SIDES, st.integers(64, 2048), st.booleans())
def test_frames_keep_what_they_promise(width: int, height: int, size: int, enlarge: bool) -> None:  # noqa: FBT001
    """Nothing is enlarged unasked, no frame is exceeded, squares are squares, buckets are multiples of 64."""
    for fit in ("inside", "pad", "crop", "buckets"):
        frame = frame_of(width, height, RenderSettings(size=size, fit=fit, enlarge=enlarge))
        if frame is None:
            assert not enlarge or fit == "buckets"
            continue
        assert enlarge or (frame.width <= width and frame.height <= height)
        if fit == "inside":
            assert max(frame.width, frame.height) <= size
            assert (frame.canvas_width, frame.canvas_height) == (frame.width, frame.height)
        elif fit == "buckets":
            assert frame.canvas_width % 64 == frame.canvas_height % 64 == 0
            assert frame.canvas_width * frame.canvas_height <= max(size * size, 64 * 64)
            assert frame.width >= frame.canvas_width
            assert frame.height >= frame.canvas_height
        else:
            assert frame.canvas_width == frame.canvas_height == size


@given(SIDES, SIDES, st.integers(4096, 4_000_000))
def test_area_is_kept(width: int, height: int, most: int) -> None:
    """No picture has more pixels than ``--max-pixels``, and only those that had more are shrunk."""
    frame = frame_of(width, height, RenderSettings(size=None, max_pixels=most))
    assert frame is not None
    assert frame.width * frame.height <= most or 1 in (frame.width, frame.height)
    if width * height <= most:
        assert (frame.width, frame.height) == (width, height)


def test_buckets_are_those_of_trainers() -> None:
    """For 1024 the buckets have the area of 1024 × 1024 at most, both ways round, and the square."""
    buckets = training_buckets(1024)
    assert {(1024, 1024), (832, 1216), (1216, 832), (512, 2048)} <= set(buckets)
    assert all((height, width) in buckets and width * height <= 1024**2 for width, height in buckets)


def test_line_art_does_not_vanish() -> None:
    """White lines on transparency come on black, black ones on white, as in 512px images."""
    for level, expected in ((255, 0), (0, 255)):
        art = Image.new("RGBA", (200, 100), (0, 0, 0, 0))
        art.paste((level, level, level, 255), (20, 20, 180, 30))
        picture = rendered(png(art), size=100, fit="pad")
        assert picture.size == (100, 100)
        assert picture.getpixel((50, 5)) == picture.getpixel((50, 95)) == (expected,) * 3
        shown = np.asarray(picture.crop((20, 36, 80, 40))).mean()
        assert abs(shown - level) < 60


def test_orientation_and_profile_are_applied() -> None:
    """A picture is turned upright, and a wide gamut becomes sRGB: the same red looks the same."""
    photo = Image.new("RGB", (60, 30), (10, 200, 10))
    photo.paste((200, 10, 10), (0, 0, 30, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=95, exif=exif)
    picture = rendered(buffer.getvalue(), size=60)
    assert picture.size == (30, 60)
    assert picture.getpixel((15, 5))[0] > 150  # type: ignore[index]
    flat = pyvips.Image.black(64, 64, bands=3).new_from_image([255, 0, 0]).cast("uchar").copy(interpretation="srgb")
    wide = flat.icc_transform("p3", input_profile="srgb").pngsave_buffer(profile="p3")
    red = np.asarray(rendered(wide, size=64))[32, 32]
    assert np.abs(red.astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("format_", ["jpg", "webp", "png", "jxl"])
def test_every_format_decodes_to_the_picture(format_: str) -> None:
    """Each format's own decoder gives the picture back, lossless ones exactly."""
    ramp = np.linspace(0, 255, 64 * 48 * 3).reshape(48, 64, 3).astype(np.uint8)
    data = encode(Image.fromarray(ramp), RenderSettings(format=format_, quality=100))  # type: ignore[arg-type]
    if format_ == "jxl":
        import pylibjxl  # noqa: PLC0415 - its only reader here

        found = np.asarray(pylibjxl.decode(data))
    else:
        found = np.asarray(Image.open(io.BytesIO(data)))
    assert found.shape == ramp.shape
    assert np.abs(found.astype(int) - ramp).max() <= (2 if format_ == "jpg" else 0)


def test_small_and_damaged_pictures_have_a_reason() -> None:
    """A picture that a crop would enlarge, half a file, and bytes that are no picture."""
    small = png(Image.new("RGB", (50, 300), "red"))
    assert render_image(small, inspect_image(small), RenderSettings(size=100, fit="crop")) == TOO_SMALL
    assert rendered(small, size=100, fit="crop", enlarge=True).size == (100, 100)
    noise = png(Image.fromarray(np.random.default_rng(1).integers(0, 255, (90, 90, 3), np.uint8)))
    half = noise[: len(noise) // 2]
    assert render_image(half, inspect_image(half), RenderSettings(size=64)) == "damaged"
    assert render_image(b"no", inspect_image(b"no"), RenderSettings()) == "not_an_image"


def test_export_is_an_image_folder(releases: Layout, tmp_path: Path, run: Run) -> None:
    """Every row names a picture of its size; every chosen post has a row or a reason; captions lie beside images."""
    options = ("--size", 128, "--fit", "buckets", "--format", "webp", "--text-files", "--kohya-json", "--limit", 40)
    done = run("export", "images", releases.current, tmp_path / "i", *options)
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (tmp_path / "i/metadata.jsonl").read_text().splitlines()]
    left_out = (tmp_path / "i/left_out.csv").read_text().splitlines()[1:]
    assert len(rows) + len(left_out) == 40
    for row in rows:
        with Image.open(tmp_path / "i" / row["file_name"]) as image:
            assert (image.format, image.size) == ("WEBP", (row["width"], row["height"]))
        text = (tmp_path / "i" / row["file_name"]).with_suffix(".txt").read_text().strip()
        assert text == row["text"]
    meta = json.loads((tmp_path / "i/meta_cap.json").read_text())
    assert {int(key) for key in meta} == {row["id"] for row in rows}


def test_wrong_number_of_pixels_is_usage(releases: Layout, tmp_path: Path, run: Run) -> None:
    """``--max-pixels`` takes 4M and 1048576, and says so otherwise."""
    done = run("export", "images", releases.current, tmp_path / "i", "--max-pixels", "many")
    assert done.exit_code == 2
    assert "4M" in done.output

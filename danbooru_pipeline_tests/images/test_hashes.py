"""Perceptual hashes stay nearly the same under the edits of a booru, and are the same bits on every machine."""

from typing import Any

import numpy as np
import pytest
import pyvips
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from danbooru_pipeline.images import Downscaled, downscale_image, inspect_image
from danbooru_pipeline.images.background import Pixels
from danbooru_pipeline.images.hashes import Hashes, hash_picture
from danbooru_pipeline_tests.support.pictures import from_array, jpeg, png, solid


def picture(width: int = 640, height: int = 480, *, seed: int = 0) -> Any:
    """A picture with large shapes and small ones, different everywhere."""
    chance = np.random.default_rng(seed)
    image = pyvips.Image.black(width, height, bands=3).cast("float")
    for cell in (200, 90, 30):
        field = from_array(chance.integers(0, 256, (height // cell + 2, width // cell + 2, 3), np.uint8))
        image += field.resize((width + 1) / field.width, vscale=(height + 1) / field.height).crop(0, 0, width, height)
    return (image / 3).cast("uchar").copy(interpretation="srgb")


def hashes_of(data: bytes) -> Hashes:
    """The hashes of a file, as a job computes them."""
    made = downscale_image(data, inspect_image(data))
    assert isinstance(made, Downscaled), made
    return made.hashes


def hashed(pixels: Pixels) -> Hashes:
    """The hashes of an array, in a square that is no larger than it must be."""
    side = max(pixels.shape[:2])
    square = Image.new("RGB", (side, side), (255, 0, 0))
    height, width, _ = pixels.shape
    square.paste(Image.fromarray(pixels), ((side - width) // 2, (side - height) // 2))
    return hash_picture(square, width=width, height=height)


def distance(one: bytes, other: bytes) -> int:
    """Bits in which two hashes differ."""
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


BASE = hashes_of(png(picture()))


@pytest.mark.parametrize(
    ("edited", "dhash", "phash"),
    [
        (png(picture().resize(0.4)), 8, 4),
        (jpeg(picture(), Q=40), 8, 4),
        (jpeg(picture().resize(0.5), Q=60), 8, 4),
        (png(picture().colourspace("b-w")), 40, 90),
        (png(picture().draw_rect([255] * 3, 30, 20, 180, 95, fill=True)), 40, 90),
        (png(picture().crop(12, 10, 616, 460)), 40, 90),
    ],
    ids=["resized", "recompressed", "resized and recompressed", "greyscale", "speech bubble", "cropped"],
)
def test_edits_move_few_bits(edited: bytes, dhash: int, phash: int) -> None:
    """The distances stay below those at which two pictures are called duplicates."""
    found = hashes_of(edited)
    assert distance(BASE.dhash, found.dhash) <= dhash
    assert distance(BASE.phash, found.phash) <= phash


def test_other_pictures_are_far_away() -> None:
    """Unrelated pictures, and the mirrored one, differ in more bits than any edit changes."""
    for other in (picture(seed=1), picture(seed=2), picture().fliphor()):
        found = hashes_of(png(other))
        assert distance(BASE.dhash, found.dhash) > 60
        assert distance(BASE.phash, found.phash) > 90


def test_padding_does_not_count() -> None:
    """A picture that is a part of the square has the hashes of its pixels alone."""
    small = picture(120, 300)
    assert hashes_of(png(small)) == hashed(small.numpy())
    assert hashes_of(png(small.embed(40, 40, 200, 380, extend="white"))) != hashes_of(png(small))


def test_bits_are_the_same_everywhere() -> None:
    """Releases publish them, so these do not change with machine, library or version."""
    y, x = np.mgrid[0:191, 0:230]
    made = hashed(np.stack([x * y % 251, (x * 3 + y) % 256, x ^ y], axis=2).astype(np.uint8))
    assert (made.dhash.hex(), made.phash.hex()) == (
        "f9e7f3e7f3cff3cff7cfe7dfe79fe79ecf9ecfbecf3cdf3c9f3c9e7d9e793e79",
        "a94003f746ca541f32b04caa02b517504e952e2832b74c0917ff3cfe4ebf3efe",
    )


def test_picture_of_one_colour_has_no_bits() -> None:
    """Nothing rises and no frequency is there, so all bits are zero, whatever the colour."""
    nothing = bytes(32)
    for color in ((0, 0, 0), (255, 255, 255), (17, 99, 201)):
        made = hashes_of(png(solid(color)))
        assert made.dhash == nothing
        assert int.from_bytes(made.phash).bit_count() <= 1  # the mean itself


@given(pixels=hnp.arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90), st.just(3))))
def test_every_picture_has_both(pixels: Pixels) -> None:
    """A picture of any size has 32 bytes of each, and the same ones again."""
    made = hashed(pixels)
    assert (len(made.dhash), len(made.phash)) == (32, 32)
    assert hashed(pixels.copy()) == made

"""Warnings count every pixel, wherever in the picture its content is."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.images import Downscaled, downscale_image, inspect_image
from danbooru_pipeline.images.quality import judge_quality
from danbooru_pipeline_tests.support.pictures import from_array, png

LINES = {
    "even rows": np.s_[0::2, :],
    "odd rows": np.s_[1::2, :],
    "even columns": np.s_[:, 0::2],
    "odd columns": np.s_[:, 1::2],
    "odd rows and columns": np.s_[1::2, 1::2],
    "one row of fifty": np.s_[1::50, :],
}


def drawn(lines: str, *, paper: int = 255, ink: npt.NDArray[np.uint8] | int = 0) -> bytes:
    """A page with lines of one pixel, in one colour or in noise."""
    pixels = np.full((200, 300, 3), paper, np.uint8)
    place = pixels[LINES[lines]]
    pixels[LINES[lines]] = ink if isinstance(ink, int) else np.resize(ink, place.shape)
    return png(from_array(pixels))


def flags_of(data: bytes) -> tuple[str, ...]:
    """The warnings of the 512px image."""
    made = downscale_image(data, inspect_image(data))
    assert isinstance(made, Downscaled)
    return made.flags


@pytest.mark.parametrize("lines", LINES)
def test_thin_lines_are_content(lines: str) -> None:
    """Lines of one pixel keep a page from being nearly white or black, and noise in them is many colours."""
    assert flags_of(drawn(lines)) == ("few_colors",)
    assert flags_of(drawn(lines, paper=0, ink=255)) == ("few_colors",)
    noise = np.random.default_rng(3).integers(0, 256, 9_999, np.uint8)
    assert flags_of(drawn(lines, ink=noise)) == ()


@given(
    st.sampled_from(["white", "black", "red"]),
    st.integers(1, 90),
    st.integers(1, 90),
    st.floats(0, 0.03),
    st.integers(),
)
def test_share_is_counted_exactly(paper: str, height: int, width: int, share: float, seed: int) -> None:
    """A warning holds if it does for at least 99 % of all pixels, whatever the size and the place of the others."""
    color = {"white": (255, 250, 240), "black": (0, 15, 9), "red": (200, 10, 10)}[paper]
    dice = np.random.default_rng(abs(seed))
    pixels = np.full((height, width, 3), color, np.uint8)
    others = dice.random((height, width)) < share
    pixels[others] = dice.integers(0, 256, (int(others.sum()), 3), np.uint8)
    cells = np.unique((pixels >> 4).reshape(-1, 3), axis=0, return_counts=True)[1]
    allowed = height * width // 100
    expected = {
        "few_colors": height * width - np.sort(cells)[-2:].sum() <= allowed,
        "nearly_white": np.count_nonzero(pixels.min(axis=2) < 240) <= allowed,
        "nearly_black": np.count_nonzero(pixels.max(axis=2) > 15) <= allowed,
    }
    found = judge_quality(pixels, empty_alpha=False)
    assert found == tuple(flag for flag, holds in expected.items() if holds)

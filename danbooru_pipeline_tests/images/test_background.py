"""The background is the one on which a person would put a transparent picture; its edges decide."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from danbooru_pipeline.images import Downscaled, downscale_image, inspect_image
from danbooru_pipeline.images.background import choose_background, measure_edges, prefer_background
from danbooru_pipeline.images.words import LEVELS
from danbooru_pipeline_tests.support import backgrounds, cases
from danbooru_pipeline_tests.support.backgrounds import KINDS
from danbooru_pipeline_tests.support.pictures import pixels_of

DOCS = Path(__file__).parents[2] / "docs" / "images.md"


@pytest.mark.parametrize("name", KINDS)
def test_a_person_would_choose_it(name: str) -> None:
    """Each kind gets a background that a person would choose, and its padding has that colour."""
    made = backgrounds.made(KINDS[name])
    assert made.background in KINDS[name].chosen
    wide = Image.open(io.BytesIO(KINDS[name].png())).crop((0, 100, 700, 500))
    buffer = io.BytesIO()
    wide.save(buffer, "PNG", compress_level=1)
    padded = downscale_image(buffer.getvalue(), inspect_image(buffer.getvalue()))
    assert isinstance(padded, Downscaled)
    assert abs(int(pixels_of(padded.data)[2, 256, 0]) - LEVELS[padded.background]) <= 2


def test_documented_scores_are_measured() -> None:
    """The table of docs/images.md has the scores and choices that `benchmarks/backgrounds.py` prints."""
    text = DOCS.read_text().split("<!-- backgrounds -->")[1].split("<!-- /backgrounds -->")[0].strip()
    documented = [row.strip("| ").split(" | ") for row in text.splitlines()[2:]]
    measured = [row.strip("| ").split(" | ") for row in backgrounds.table()]
    assert [(row[0], *row[4:]) for row in documented] == [(row[0], *row[4:]) for row in measured]
    for said, found in zip(documented, measured, strict=True):
        assert np.allclose(list(map(float, said[1:4])), list(map(float, found[1:4])), atol=0.02), said[0]


def rgba(height: int, width: int, color: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    """One colour."""
    return np.full((height, width, 4), color, np.uint8)


@pytest.mark.parametrize("color", [(255, 255, 255, 0), (0, 0, 0, 0), (255, 255, 255, 255), (9, 9, 9, 255)])
def test_nothing_to_lose_is_white(color: tuple[int, int, int, int]) -> None:
    """Opaque and empty pictures are put on white, as is one without alpha."""
    assert choose_background(rgba(40, 60, color), "contrast") == ("white", 255)
    assert choose_background(None, "contrast") == ("white", 255)


def test_the_operator_decides() -> None:
    """A requested background is used whatever the picture looks like."""
    pixels = backgrounds.small(KINDS["02_white_lines"])
    assert choose_background(pixels, "white") == ("white", 255)
    assert choose_background(pixels, "black") == ("black", 0)
    assert choose_background(pixels, "contrast") == ("black", 0)


def test_white_is_preferred() -> None:
    """White is chosen whenever it keeps nearly as much as the best, then black; grey only if it keeps clearly more."""
    assert prefer_background({"white": 95, "black": 100, "grey": 100}) == "white"
    assert prefer_background({"white": 80, "black": 95, "grey": 100}) == "black"
    assert prefer_background({"white": 80, "black": 80, "grey": 100}) == "grey"
    assert prefer_background({"white": 0, "black": 0, "grey": 0}) == "white"


def turned(pixels: npt.NDArray[np.uint8], degrees: int) -> str:
    """The background of a picture that a program turned, with transparent corners."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels).rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    image.save(buffer, "PNG", compress_level=1)
    made = downscale_image(buffer.getvalue(), inspect_image(buffer.getvalue()))
    assert isinstance(made, Downscaled)
    return made.background


@pytest.mark.parametrize("degrees", [0, 1, 5, 20, 45, 90, 133])
def test_a_turned_page_is_a_page(degrees: int) -> None:
    """The paper of a page is no outline whichever way it is turned, with a drawing, a word or a soft rim on it."""
    word = rgba(900, 700, (255, 255, 255, 255))
    word[440:452, 300:360:4, :3] = 0
    assert turned(word, degrees) == "white"
    assert turned(KINDS["35_white_page_rounded_corners"].draw(), degrees) == "white"
    assert turned(KINDS["36_page_soft_edge"].draw(), degrees) == "white"
    assert turned(np.ascontiguousarray(word[:, 280:520]), degrees) == "white"


@pytest.mark.parametrize("degrees", [20, 45, 133])
def test_other_turned_shapes_are_not_lost(degrees: int) -> None:
    """A blank page, one with holes, a stroke and a disc keep their outline, though what is on them is not white."""
    y, x = np.mgrid[-350:350, -350:350]
    disc = rgba(700, 700, (255, 255, 255, 0))
    disc[x * x + y * y < 300 * 300] = 255
    disc[330:340, 300:400, :3] = 0
    stroke = rgba(60, 900, (255, 255, 255, 255))
    stroke[28:32, 20:-20, :3] = 150
    shapes = (rgba(900, 700, (255, 255, 255, 255)), KINDS["34_page_with_holes"].draw(), stroke, disc)
    assert [turned(shape, degrees) for shape in shapes] == ["black"] * 4


@pytest.mark.parametrize("shape", [(1, 1), (1, 512), (512, 1), (7, 9), (16, 16), (17, 300)])
def test_any_shape(shape: tuple[int, int]) -> None:
    """A picture of any shape has an answer; a single white pixel of a strip is not lost."""
    pixels = rgba(*shape, (255, 255, 255, 0))
    pixels[shape[0] // 2, shape[1] // 2, 3] = 255
    expected = "white" if shape == (1, 1) else "black"
    assert choose_background(pixels, "contrast")[0] == expected


@given(st.integers(0, 255), st.integers(1, 255), st.integers(0, 3))
def test_turning_changes_nothing(tone: int, opacity: int, turns: int) -> None:
    """A picture that is turned, and so has its edges in other places, gets the same background."""
    y, x = np.mgrid[0:32, 0:48]
    pixels = rgba(32, 48, (tone, tone, tone, 0))
    pixels[(x + 2 * y) % 16 < 5] = (tone, tone, tone, opacity)
    expected = choose_background(pixels, "contrast")
    assert choose_background(np.ascontiguousarray(np.rot90(pixels, turns)), "contrast") == expected


def test_transparent_margin_changes_nothing() -> None:
    """How much empty space a file leaves around the picture does not matter."""
    pixels = backgrounds.small(KINDS["19_white_fill_grey_outline"])
    wide = np.pad(pixels, ((30, 70), (110, 5), (0, 0)))
    assert measure_edges(wide) == measure_edges(pixels)


def test_hidden_colour_does_not_count() -> None:
    """Colour that is fully transparent decides nothing."""
    pixels = cases.hidden_colors(256)
    cleared = pixels.copy()
    cleared[cleared[..., 3] == 0] = 0
    assert measure_edges(pixels) == measure_edges(cleared)

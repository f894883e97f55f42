"""The filter chosen on a sample is as good as the best of all, and only plain colour is sampled."""

from collections.abc import Callable
from typing import Any

import numpy as np
import oxipng
import pytest
import pyvips

from danbooru_pipeline.images import inspect_image, optimize_image
from danbooru_pipeline.images.png_filters import choose_filters
from danbooru_pipeline_tests.support import pictures
from danbooru_pipeline_tests.support.pictures import from_array, illustration, png


def stripes() -> Any:
    """Flat areas with sharp edges, of many colours."""
    y, x = np.mgrid[0:400, 0:600]
    return from_array(
        np.stack([(x // 9) * 3 % 256, (y // 7) * 4 % 256, (x + y) // 11 * 2 % 256], axis=2).astype(np.uint8)
    )


def with_alpha() -> Any:
    """The illustration, transparent towards the right."""
    image = illustration(600, 400)
    return image.bandjoin((pyvips.Image.xyz(600, 400)[0] * 255 / 599).cast("uchar"))


SAMPLED = {"noisy": lambda: illustration(600, 400), "stripes": stripes, "alpha": with_alpha}


@pytest.mark.parametrize("name", SAMPLED)
@pytest.mark.parametrize(("level", "most"), [(3, 1.01), (2, 1.03)])
def test_sampled_filter_saves_as_much(name: str, level: int, most: float) -> None:
    """With one filter that was chosen on a sample, level 3 saves what trying all of them saves, and level 2 nearly."""
    data = png(SAMPLED[name]())
    facts = inspect_image(data)
    chosen = choose_filters(data, facts)
    assert chosen is not None
    assert len(chosen) == 1
    every = oxipng.optimize_from_memory(data, level=2, interlace=None)
    assert len(optimize_image(data, facts, png_level=level).data) <= most * len(every)


def deep() -> Any:
    """16 bits a sample."""
    return (illustration(600, 400).cast("ushort") * 257).cast("ushort").copy(interpretation="rgb16")


#: Made when they are asked for: every process of a run reads this module.
OTHERS: dict[str, Callable[[], bytes]] = {
    "grey": lambda: png(illustration(600, 400, bands=1)),
    "deep": lambda: png(deep(), bitdepth=16),
    "interlaced": lambda: png(illustration(600, 400), interlace=True),
    "palette": lambda: png(illustration(600, 400), palette=True),
    "small": lambda: png(illustration(60, 40)),
    "few colours": lambda: png(pictures.solid(pictures.RED, 600, 400)),
    "grey as colour": lambda: png(illustration(600, 400, bands=1).colourspace("srgb")),
    "damaged": lambda: pictures.rot(png(illustration(600, 400)), 0.3),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_others_are_left_to_the_optimiser(kind: str) -> None:
    """What may become grey or a palette, is not plain 8-bit colour, or is small or damaged, is not sampled."""
    data = OTHERS[kind]()
    assert choose_filters(data, inspect_image(data)) is None

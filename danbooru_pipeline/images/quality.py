"""Warnings for people who train on 512px images: this one has hardly any content.

They judge the picture as rendered, without its padding. A warning never excludes an image; users decide.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from danbooru_pipeline.images.background import Pixels
from danbooru_pipeline.images.words import Quality

#: Every second pixel of every second row is looked at first. What those have beyond two colours, the whole picture has
#: as well, so a picture with content is done after a quarter of the work; only of the others all pixels are counted.
_STEP: Final = 2
#: One pixel of so many may be of another colour.
_RARE: Final = 100
#: Colours are counted in cells of 16 × 16 × 16 values; so few cells hold nearly all pixels of an empty picture.
_FEW_CELLS: Final = 2
_CELLS: Final = 16**3
#: The cells at the corners: no channel below 240, and none above 15.
_WHITE, _BLACK = _CELLS - 1, 0


def judge_quality(pixels: Pixels, *, empty_alpha: bool, is_hdr: bool = False) -> tuple[str, ...]:
    """Warnings about a small picture without alpha.

    Args:
        pixels: height × width × 3.
        empty_alpha: whether every pixel of the original was transparent.
        is_hdr: whether the original states PQ or HLG.
    """
    size = pixels.shape[0] * pixels.shape[1]
    counts = _count_cells(pixels[::_STEP, ::_STEP])
    has_few = _RARE * _others(counts) <= size
    if has_few:
        counts = _count_cells(pixels)
        has_few = _RARE * _others(counts) <= size
    found = {
        Quality.FEW_COLORS: has_few,
        Quality.NEARLY_WHITE: has_few and _RARE * (size - counts[_WHITE]) <= size,
        Quality.NEARLY_BLACK: has_few and _RARE * (size - counts[_BLACK]) <= size,
        Quality.EMPTY_ALPHA: empty_alpha,
        Quality.HDR: is_hdr,
    }
    return tuple(flag.value for flag, holds in found.items() if holds)


def _count_cells(pixels: Pixels) -> npt.NDArray[np.intp]:
    """How many pixels each cell has. One array per channel, since the last axis is short and slow."""
    red, green, blue = (pixels[..., channel] >> 4 for channel in range(3))
    cells = red.astype(np.uint16) << 8 | green << 4 | blue
    return np.bincount(cells.ravel(), minlength=_CELLS)


def _others(counts: npt.NDArray[np.intp]) -> int:
    """How many pixels are in none of the fullest cells."""
    return int(counts.sum() - np.partition(counts, -_FEW_CELLS)[-_FEW_CELLS:].sum())

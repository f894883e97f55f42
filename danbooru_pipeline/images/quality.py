"""Warnings for people who train on 512px images: this one has hardly any content.

They judge the picture as rendered, without its padding. A warning never excludes an image; users decide.
"""

from typing import Final

import numpy as np

from danbooru_pipeline.images.background import Pixels
from danbooru_pipeline.images.words import Quality

#: Every second pixel of every second row is sampled, which costs a quarter and decides the same.
_STEP: Final = 2
_SHARE: Final = 0.99
_WHITE, _BLACK = 240, 15
#: Colours are counted in bins of 16 × 16 × 16 values; so few bins hold nearly all pixels of an empty picture.
_FEW_CELLS: Final = 2


def judge_quality(pixels: Pixels, *, empty_alpha: bool, is_hdr: bool = False) -> tuple[str, ...]:
    """Warnings about a small picture without alpha.

    Args:
        pixels: height × width × 3.
        empty_alpha: whether every pixel of the original was transparent.
        is_hdr: whether the original states PQ or HLG.
    """
    # One array per channel: reducing along the short last axis takes ten times as long.
    red, green, blue = (pixels[::_STEP, ::_STEP, channel] for channel in range(3))
    cells = (red >> 4).astype(np.uint16) << 8 | (green >> 4).astype(np.uint16) << 4 | blue >> 4
    counts = np.sort(np.bincount(cells.ravel(), minlength=_FEW_CELLS))
    wanted = _SHARE * cells.size
    darkest, lightest = np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)
    found = {
        Quality.FEW_COLORS: counts[-_FEW_CELLS:].sum() >= wanted,
        Quality.NEARLY_WHITE: np.count_nonzero(darkest >= _WHITE) >= wanted,
        Quality.NEARLY_BLACK: np.count_nonzero(lightest <= _BLACK) >= wanted,
        Quality.EMPTY_ALPHA: empty_alpha,
        Quality.HDR: is_hdr,
    }
    return tuple(flag.value for flag, holds in found.items() if holds)

"""Warnings to those who train on 512px images: there is hardly anything in this one.

Judged on the picture as it is shown, without its padding. A warning never keeps an image out; choosing is theirs.
"""

from enum import StrEnum
from typing import Any, Final

import numpy as np

#: Pixels looked at: every second one of every second row, which costs a quarter and decides the same.
_STEP: Final = 2
_SHARE: Final = 0.99
_WHITE, _BLACK = 240, 15
#: Cells of 16 × 16 × 16 values that a colour falls into; this few of them hold nearly all pixels of an empty picture.
_FEW_CELLS: Final = 2


class Quality(StrEnum):
    """Why an image may be of little use."""

    FEW_COLORS = "few_colors"
    NEARLY_WHITE = "nearly_white"
    NEARLY_BLACK = "nearly_black"
    EMPTY_ALPHA = "empty_alpha"


def judge_quality(image: Any, *, empty_alpha: bool) -> tuple[str, ...]:
    """Warnings about a small 8-bit sRGB image without alpha; `empty_alpha`: nothing of it was visible."""
    pixels = image.numpy()[::_STEP, ::_STEP].reshape(-1, 3)
    cells = (pixels >> 4).astype(np.uint16) @ np.array([256, 16, 1], np.uint16)
    counts = np.sort(np.bincount(cells, minlength=_FEW_CELLS))
    wanted = _SHARE * len(pixels)
    found = {
        Quality.FEW_COLORS: counts[-_FEW_CELLS:].sum() >= wanted,
        Quality.NEARLY_WHITE: np.count_nonzero(pixels.min(axis=1) >= _WHITE) >= wanted,
        Quality.NEARLY_BLACK: np.count_nonzero(pixels.max(axis=1) <= _BLACK) >= wanted,
        Quality.EMPTY_ALPHA: empty_alpha,
    }
    return tuple(flag.value for flag, holds in found.items() if holds)

"""What is put behind a transparent picture, and around one that is not square.

White, unless asked for contrast: then black for pictures that would vanish on white. The rule looks at the distance of
the visible pixels to white and to black (root mean square, weighted by alpha). A plain mean of brightness would turn
ordinary bright art black; among 665 real pictures with alpha this rule chose black for 10, all of them near white.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

#: ``contrast`` chooses between the other two.
Background = Literal["white", "black", "contrast"]

#: Rows × columns × channels, 8 bits each.
Pixels = npt.NDArray[np.uint8]

_LEVELS = {"white": 255, "black": 0}
#: Below this distance to white (0 to 1) a picture counts as invisible on it.
_INVISIBLE = 0.20
#: Visible pixels that are looked at.
_ENOUGH = 2**15


def choose_background(pixels: Pixels | None, wish: Background) -> tuple[str, int]:
    """Name of the background, and the value of its channels.

    Args:
        pixels: height × width × 4 of a small 8-bit sRGB picture with alpha; None for one without.
        wish: what was asked for.
    """
    name: str = wish
    if wish == "contrast":
        name = "black" if pixels is not None and _vanishes_on_white(pixels) else "white"
    return name, _LEVELS[name]


def _vanishes_on_white(pixels: Pixels) -> bool:
    """Whether what is visible is nearly white, and further from black."""
    opacity = np.ascontiguousarray(pixels[..., 3]).ravel()
    if opacity.min() == 255:
        return False
    shown = np.flatnonzero(opacity != 0)
    if not len(shown):
        return False
    # Of a picture that is visible in most places some pixels are enough; of thin lines every one counts.
    words = np.ascontiguousarray(pixels).view(np.uint32).ravel()[shown[:: max(1, len(shown) // _ENOUGH)]]
    channels = np.ascontiguousarray(words.view(np.uint8).reshape(-1, 4).T).astype(np.float32) / 255
    color, alpha = channels[:3], channels[3]
    weight = float(alpha.sum()) * 3
    mean = float((color @ alpha).sum()) / weight
    square = float(((color * color) @ alpha).sum()) / weight
    to_white = max(0.0, 1 - 2 * mean + square) ** 0.5
    return bool(to_white < _INVISIBLE and square**0.5 > to_white)

"""What is put behind a transparent picture, and around one that is not square.

White, unless asked for contrast: then black for pictures that would vanish on white. The rule looks at the distance of
the visible pixels to white and to black (root mean square, weighted by alpha). A plain mean of brightness would turn
ordinary bright art black; among 665 real pictures with alpha this rule chose black for 10, all of them near white.
"""

from typing import Any, Literal

import numpy as np

#: ``contrast`` chooses between the other two.
Background = Literal["white", "black", "contrast"]

_LEVELS = {"white": 255, "black": 0}
#: Below this distance to white (0 to 1) a picture counts as invisible on it.
_INVISIBLE = 0.20


def choose_background(image: Any, wish: Background) -> tuple[str, int]:
    """Name of the background, and the value of its channels, for a small 8-bit sRGB image, with or without alpha."""
    name: str = wish
    if wish == "contrast":
        name = "black" if image.hasalpha() and _vanishes_on_white(image) else "white"
    return name, _LEVELS[name]


def _vanishes_on_white(image: Any) -> bool:
    """Whether what is visible is nearly white, and further from black."""
    pixels = image.numpy().astype(np.float32) / 255
    color, alpha = pixels[..., :3], pixels[..., 3]
    weight = float(alpha.sum()) * 3
    if weight == 0 or float(alpha.min()) == 1:
        return False
    mean = float(np.einsum("hwc,hw->", color, alpha)) / weight
    square = float(np.einsum("hwc,hw->", color * color, alpha)) / weight
    to_white = max(0.0, 1 - 2 * mean + square) ** 0.5
    return bool(to_white < _INVISIBLE and square**0.5 > to_white)

"""Perceptual hashes: 256 bits that stay nearly the same when a picture is resized, recompressed or slightly edited.

Both see the 512px picture without its padding, as shades of grey in a small square, whatever its aspect ratio:

- the dHash compares each of 16 × 17 cells with its right neighbour, row by row;
- the pHash compares each of the 16 × 16 lowest frequencies of 64 × 64 cells with their median.

Bits are packed from the most significant one on. All sums are of integers, and exact also where floats hold them, so
every machine computes the same bits. How far edits move them is measured by `benchmarks/hashes.py`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from danbooru_pipeline.images.background import Pixels

#: Cells a side of the square that frequencies are taken from, and how many frequencies of each direction count.
_CELLS: Final = 64
_SIDE: Final = 16
#: Cosines are rounded to so many bits: sums of 64 × 64 products of them with a byte stay far below the 53 of a float.
_COSINE_BITS: Final = 12
#: From this side on a picture is halved first, in averages of four pixels, which takes less time and changes little.
_HALVED_SIDE: Final = 2 * _CELLS


def _cosines() -> npt.NDArray[np.float64]:
    """The lowest rows of a discrete cosine transform, as whole numbers; all have nearly the same length."""
    frequency, cell = np.mgrid[0:_SIDE, 0:_CELLS]
    cosines: npt.NDArray[np.float64] = np.cos(np.pi * frequency * (2 * cell + 1) / (2 * _CELLS))
    return np.rint(2**_COSINE_BITS * cosines)


_COSINES: Final = _cosines()


@dataclass(frozen=True, slots=True)
class Hashes:
    """The two hashes of a picture, 32 bytes each."""

    dhash: bytes
    phash: bytes


def hash_picture(square: Image.Image, *, width: int, height: int) -> Hashes:
    """The hashes of an RGB picture that is centred in a square."""
    left, top = (square.width - width) // 2, (square.height - height) // 2
    box = (left, top, left + width, top + height)
    is_halved = min(width, height) >= _HALVED_SIDE
    picture = square.reduce(2, box) if is_halved else square.crop(box)
    # An odd side leaves half a pixel at the edge that no picture is in.
    extent = (width / 2, height / 2) if is_halved else (width, height)
    grey = picture.convert("L")
    cells = _shrunk(grey, (_SIDE + 1, _SIDE), extent)
    rising = cells[:, 1:] > cells[:, :-1]
    waves = _COSINES @ _shrunk(grey, (_CELLS, _CELLS), extent).astype(np.float64) @ _COSINES.T
    # The first is the mean brightness, which would only move the median.
    strong = waves > np.median(waves.ravel()[1:])
    return Hashes(np.packbits(rising).tobytes(), np.packbits(strong).tobytes())


def _shrunk(grey: Image.Image, size: tuple[int, int], extent: tuple[float, float]) -> Pixels:
    """Weighted averages around the cells of a grid, in sums of integers.

    The weights reach into the neighbouring cells: with plain averages, recompression flips twice as many bits.
    """
    return np.asarray(grey.resize(size, Image.Resampling.BILINEAR, box=(0, 0, *extent)))

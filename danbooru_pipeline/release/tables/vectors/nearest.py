"""The nearest of some vectors: exact, and the same on any machine."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from danbooru_pipeline.release.tables.vectors.exact import Bytes

_ROWS: Final = 1_000


def nearest(vectors: Bytes, among: Bytes, *, most: int) -> Iterator[npt.NDArray[np.int64]]:
    """For each vector the rows of its nearest among others by cosine, the nearest first; of equals the first row.

    A vector that is itself among the others, in the row of its own number, is not its neighbour.
    """
    others = np.ascontiguousarray(among.T, dtype=np.float32)
    rows = np.arange(len(among))
    for first in range(0, len(vectors), _ROWS):
        part = vectors[first : first + _ROWS].astype(np.float32)
        # Products of bytes add up below 2^24, so they are exact; with the row they are a key that no two share.
        keys = (part @ others).astype(np.float64) * len(among) - rows
        own = np.arange(first, min(first + len(part), len(among)))
        keys[own - first, own] = -np.inf
        found = min(most, max(0, len(among) - 1))
        best = np.argpartition(keys, len(among) - found, axis=1)[:, len(among) - found :] if found else rows[:0]
        columns = np.broadcast_to(best, (len(part), found))
        order = np.argsort(-np.take_along_axis(keys, columns, axis=1), axis=1)
        yield from np.take_along_axis(columns, order, axis=1)

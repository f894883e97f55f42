"""The nearest of some vectors: exact, and the same on any machine."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from danbooru_pipeline.release.tables.vectors.exact import Bytes

_ROWS: Final = 1_000
#: Below any key.
_NOBODY: Final = -(2**31) + 1


def nearest(vectors: Bytes, among: Bytes, *, most: int) -> Iterator[npt.NDArray[np.int64]]:
    """For each vector the rows of its nearest among others by cosine, the nearest first; of equals the first row.

    A vector that is itself among the others, in the row of its own number, is not its neighbour.
    """
    others = np.ascontiguousarray(among.T, dtype=np.float32)
    count = len(among)
    rows = np.arange(count, dtype=np.int32)
    found = min(most, max(0, count - 1))
    for first in range(0, len(vectors), _ROWS):
        part = vectors[first : first + _ROWS].astype(np.float32)
        # Products of bytes add up below 2^24, so they are exact, and to some 2^14 where both have length 127; with the
        # row they are a key that no two share.
        keys = (part @ others).astype(np.int32)
        keys *= count
        keys -= rows
        own = np.arange(first, min(first + len(part), count))
        keys[own - first, own] = _NOBODY
        # The keys are sorted, and not their places: that is faster, and a key says its row.
        best = (
            -np.sort(-np.partition(keys, count - found, axis=1)[:, count - found :], axis=1) if found else keys[:, :0]
        )
        yield from -best % max(1, count)

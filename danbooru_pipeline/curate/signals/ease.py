"""EASE: how much each tag speaks for each other one, in closed form from how often they go together.

Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019. The diagonal is zero, so the score of a tag that a
post has is what the rest of its tags say: that finds wrong tags as well as missing ones.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse as sp

from danbooru_pipeline.curate.signals.matrix import Sparse

#: Up to so many tags all weights are kept; beyond, the largest of each tag, which hold what decides.
_DENSE_TAGS: Final = 1024
_WEIGHTS_OF_A_TAG: Final = 200
#: Posts whose products are summed at once: bounds the sparse product in memory, and is added to the matrix as a whole.
_ROWS: Final = 100_000
_DENSE_ROWS: Final = 1_000


class Gram:
    """How often each pair of tags is on the same post, of posts that are added block by block."""

    def __init__(self, tags: int) -> None:
        # Whole numbers up to 2**24 are exact, and half the bytes are half the time.
        self._cells = np.zeros((tags, tags), np.float32)
        self._waiting: list[Sparse] = []

    def add(self, rows: Sparse) -> None:
        """Count posts."""
        self._waiting.append(rows)
        if sum(each.shape[0] for each in self._waiting) >= _ROWS:
            self._count()

    def _count(self) -> None:
        if not self._waiting:
            return
        rows = sp.vstack(self._waiting, format="csr")
        self._waiting = []
        for start in range(0, rows.shape[0], _ROWS):
            part = rows[start : start + _ROWS]
            found = (part.T @ part).tocsr()
            # Made dense some rows at a time: cheaper than adding millions of cells by their places.
            for first in range(0, len(self._cells), _DENSE_ROWS):
                self._cells[first : first + _DENSE_ROWS] += found[first : first + _DENSE_ROWS].toarray()

    def taken(self) -> npt.NDArray[np.float64]:
        """The matrix, once; nothing can be added afterwards."""
        self._count()
        found, self._cells = self._cells.astype(np.float64), self._cells[:0]
        return found


def weights_of(gram: npt.NDArray[np.float64], *, posts: int) -> Sparse:
    """Weights by tag and tag it speaks for. Overwrites `gram`.

    Args:
        gram: how often each pair of tags is on the same post.
        posts: that were counted; the more, the less a rare tag is trusted.
    """
    size = len(gram)
    gram[np.diag_indices(size)] += ridge(posts)
    factor, info = scipy.linalg.lapack.dpotrf(gram.T, lower=1, overwrite_a=1)
    inverse, more = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    if info or more:
        raise ArithmeticError("the matrix of tags is not positive definite")
    diagonal = np.diag(inverse).copy()
    weights = np.empty((size, size), np.float32)
    for start in range(0, size, 1000):  # only the lower half was computed
        part = slice(start, start + 1000)
        weights[:, part] = (
            np.where(np.arange(size)[:, None] >= np.arange(size)[None, part], inverse[:, part], inverse[part].T)
            / -diagonal[None, part]
        )
    np.fill_diagonal(weights, 0)
    return sp.csr_matrix(weights if size <= _DENSE_TAGS else _largest(weights))


def ridge(posts: int) -> float:
    """What is added to the diagonal: 50 was best at 50,000 posts; a few dozen posts say nothing with that much."""
    return min(50, posts / 20) + posts / 10_000


def _largest(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    for start in range(0, len(weights), 500):
        part = weights[:, start : start + 500]
        least = np.partition(np.abs(part), -_WEIGHTS_OF_A_TAG, axis=0)[-_WEIGHTS_OF_A_TAG]
        part[np.abs(part) < least] = 0
    return weights


def gram_of(blocks: Iterable[Sparse], tags: int) -> npt.NDArray[np.float64]:
    """The same of all blocks."""
    gram = Gram(tags)
    for rows in blocks:
        gram.add(rows)
    return gram.taken()

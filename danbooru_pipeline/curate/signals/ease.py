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
#: Posts whose products are summed at once: bounds the sparse product in memory.
_ROWS: Final = 20_000


def add_gram(gram: npt.NDArray[np.float64], rows: Sparse) -> None:
    """Add how often each pair of tags is on the same post."""
    for start in range(0, rows.shape[0], _ROWS):
        part = rows[start : start + _ROWS]
        found = (part.T @ part).tocoo()
        gram[found.row, found.col] += found.data


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


def new_gram(tags: int) -> npt.NDArray[np.float64]:
    """An empty matrix for `add_gram`."""
    return np.zeros((tags, tags))


def gram_of(blocks: Iterable[Sparse], tags: int) -> npt.NDArray[np.float64]:
    """The same of all blocks."""
    gram = new_gram(tags)
    for rows in blocks:
        add_gram(gram, rows)
    return gram

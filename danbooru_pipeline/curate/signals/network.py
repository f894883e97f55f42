"""A small denoising network: one hidden layer that gives hidden tags back. It sees tags in combination, as EASE cannot.

Alone it finds no more than EASE does; the mean of both finds more than either (benchmarks/curate.py has the figures).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from danbooru_pipeline.curate.signals.matrix import Floats, Ids, Sparse, Vocabulary, hide_tags

_HIDDEN: Final = 512
_BATCH: Final = 500
#: Tags hidden in training, as many as are thought to be missing.
_SHARE: Final = 0.2
_RATE: Final = 1.5e-3
_DECAY: Final = 1e-3
_STEPS: Final = 1700
#: Up to so many tags a step is about all of them; beyond, about those of its posts and this share of the others.
_ALL_TAGS: Final = 1024
_OTHERS: Final = 0.1

#: All rows of a weight, or some.
_Rows = Ids | slice


@dataclass(frozen=True, slots=True)
class Network:
    """Weights: tags to hidden units, and hidden units to tags (one row a tag)."""

    inner: Floats
    inner_bias: Floats
    outer: Floats
    outer_bias: Floats

    def hidden(self, rows: Sparse) -> Floats:
        """What the hidden units say of posts."""
        return np.maximum(np.asarray(rows @ self.inner) + self.inner_bias, 0).astype(np.float32)

    def logits(self, hidden: Floats, posts: npt.NDArray[np.int64], tags: npt.NDArray[np.int64]) -> Floats:
        """Log odds of some cells, each a row of `hidden` and a tag."""
        found = np.empty(len(posts), np.float32)
        for start in range(0, len(posts), 20_000):
            part = slice(start, start + 20_000)
            found[part] = np.einsum("nh,nh->n", hidden[posts[part]], self.outer[tags[part]])
        return found + self.outer_bias[tags]


def train_network(rows: Sparse, vocabulary: Vocabulary, *, seed: int, steps: int = _STEPS) -> Network:
    """Train on posts some of whose tags are hidden: Adam, cosine decay, and only cells that are not seen count.

    The same posts and seed give the same network.
    """
    rng = np.random.default_rng(seed)
    size = rows.shape[1]
    hidden = min(_HIDDEN, size)
    share = np.clip(np.asarray(rows.mean(axis=0)).ravel(), 1e-6, 1 - 1e-6)
    weights = [
        (rng.normal(size=(size, hidden)) * 0.05).astype(np.float32),
        np.zeros(hidden, np.float32),
        (rng.normal(size=(size, hidden)) * 0.03).astype(np.float32),
        np.log(share / (1 - share)).astype(np.float32),
    ]
    adam = _Adam(weights)
    pick = np.random.default_rng(seed + 1)
    order = rng.permutation(rows.shape[0])
    batches = max(1, len(order) // _BATCH)
    for step in range(steps):
        if step and step % batches == 0:
            rng.shuffle(order)
        start = step % batches * _BATCH
        wanted = rows[np.sort(order[start : start + _BATCH])]
        seen = hide_tags(wanted, vocabulary, rng, share=_SHARE)
        tags, times = asked_tags(wanted, pick)
        rate = _RATE * (1 + np.cos(np.pi * step / steps)) / 2
        adam.step(weights, _gradients(weights, seen, wanted, tags=tags, times=times), rate=rate)
    return Network(*weights)


def asked_tags(wanted: Sparse, pick: np.random.Generator) -> tuple[Ids, Floats]:
    """The tags whose cells count in a step, and how often each: those of the batch, and some of all others.

    With 10,000 tags most are on no post of a batch. Their cells are all zeros, and of those a part says the same.
    """
    size = wanted.shape[1]
    if size <= _ALL_TAGS:
        return np.arange(size), np.ones(size, np.float32)
    share = np.where(np.bincount(wanted.indices, minlength=size) > 0, 1.0, _OTHERS).astype(np.float32)
    tags = np.flatnonzero(pick.random(size, np.float32) < share).astype(np.int64)
    return tags, np.float32(1) / share[tags]


def _gradients(
    weights: list[Floats], seen: Sparse, wanted: Sparse, *, tags: Ids, times: Floats
) -> list[tuple[_Rows, Floats]]:
    """For each weight the rows that change, and their gradients."""
    inner, inner_bias, outer, outer_bias = weights
    active = np.maximum(np.asarray(seen @ inner) + inner_bias, 0)
    some = outer[tags]
    error = active @ some.T
    error += outer_bias[tags]
    expit(error, out=error)
    error -= wanted[:, tags].toarray()
    rows, columns = seen[:, tags].nonzero()
    error[rows, columns] = 0
    error *= times / np.float32(len(error))
    back = (error @ some) * (active > 0)
    is_all = len(tags) == len(outer)
    shown = slice(None) if is_all else np.unique(seen.indices)
    asked = slice(None) if is_all else tags
    return [
        (shown, np.asarray(seen[:, shown].T @ back)),
        (slice(None), back.sum(0)),
        (asked, error.T @ active),
        (asked, error.sum(0)),
    ]


class _Adam:
    """Kingma & Ba 2015, with decoupled decay of matrices."""

    def __init__(self, weights: list[Floats]) -> None:
        self._means = [np.zeros_like(each) for each in weights]
        self._squares = [np.zeros_like(each) for each in weights]
        self._steps = 0

    def step(self, weights: list[Floats], gradients: list[tuple[_Rows, Floats]], *, rate: float) -> None:
        """Change the weights in place; rows without a gradient stay as they are."""
        self._steps += 1
        grown, spread = 1 - 0.9**self._steps, 1 - 0.999**self._steps
        for weight, (rows, gradient), means, squares in zip(
            weights, gradients, self._means, self._squares, strict=True
        ):
            mean, square = means[rows], squares[rows]  # views of all rows, copies of some
            mean += np.float32(0.1) * (gradient - mean)
            square += np.float32(0.001) * (gradient * gradient - square)
            move = np.sqrt(square / np.float32(spread))
            move += np.float32(1e-8)
            np.divide(mean, move, out=move)
            move *= np.float32(rate / grown)
            held = weight[rows]
            if weight.ndim == 2:
                held *= np.float32(1 - rate * _DECAY)
            held -= move
            if not isinstance(rows, slice):
                means[rows], squares[rows], weight[rows] = mean, square, held

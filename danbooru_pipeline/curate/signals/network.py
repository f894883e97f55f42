"""A small denoising network: one hidden layer that gives hidden tags back. It sees tags in combination, as EASE cannot.

Alone it finds no more than EASE does; the mean of both finds more than either (benchmarks/curate.py has the figures).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from danbooru_pipeline.curate.signals.matrix import Floats, Sparse, Vocabulary, hide_tags

_HIDDEN: Final = 512
_BATCH: Final = 500
#: Tags hidden in training, as many as are thought to be missing.
_SHARE: Final = 0.2
_RATE: Final = 1.5e-3
_DECAY: Final = 1e-3
_STEPS: Final = 1700


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
    order = rng.permutation(rows.shape[0])
    batches = max(1, len(order) // _BATCH)
    for step in range(steps):
        if step and step % batches == 0:
            rng.shuffle(order)
        start = step % batches * _BATCH
        wanted = rows[np.sort(order[start : start + _BATCH])]
        seen = hide_tags(wanted, vocabulary, rng, share=_SHARE)
        adam.step(weights, _gradients(weights, seen, wanted), rate=_RATE * (1 + np.cos(np.pi * step / steps)) / 2)
    return Network(*weights)


def _gradients(weights: list[Floats], seen: Sparse, wanted: Sparse) -> list[Floats]:
    inner, inner_bias, outer, outer_bias = weights
    active = np.maximum(np.asarray(seen @ inner) + inner_bias, 0)
    said = active @ outer.T
    said += outer_bias
    np.clip(said, -30, 30, out=said)
    error = 1 / (1 + np.exp(-said))
    error -= wanted.toarray()
    rows, columns = seen.nonzero()
    error[rows, columns] = 0
    error /= len(error)
    back = (error @ outer) * (active > 0)
    return [np.asarray(seen.T @ back), back.sum(0), error.T @ active, error.sum(0)]


class _Adam:
    """Kingma & Ba 2015, with decoupled decay of matrices."""

    def __init__(self, weights: list[Floats]) -> None:
        self._means = [np.zeros_like(each) for each in weights]
        self._squares = [np.zeros_like(each) for each in weights]
        self._steps = 0

    def step(self, weights: list[Floats], gradients: list[Floats], *, rate: float) -> None:
        """Change the weights in place."""
        self._steps += 1
        for weight, gradient, mean, square in zip(weights, gradients, self._means, self._squares, strict=True):
            np.add(mean, 0.1 * (gradient - mean), out=mean)
            np.add(square, 0.001 * (gradient * gradient - square), out=square)
            move = mean / (1 - 0.9**self._steps)
            move /= np.sqrt(square / (1 - 0.999**self._steps)) + 1e-8
            if weight.ndim == 2:
                move += _DECAY * weight
            np.subtract(weight, np.float32(rate) * move, out=weight)

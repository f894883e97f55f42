"""The tag model: EASE and the network, trained on the posts of a release, with probabilities of hidden tags.

A part of the posts is held out with some of their tags hidden; the mean log odds of both are calibrated on those. What
counts as true there is what people have tagged, so a probability is a lower bound: a tag that is missing on the
held-out post, too, counts as a mistake. Reviewed answers replace that (see `fusion`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.sparse as sp

from danbooru_pipeline.curate.signals.calibration import Array, Isotonic, Logistic, logit, sigmoid
from danbooru_pipeline.curate.signals.ease import Gram, weights_of
from danbooru_pipeline.curate.signals.matrix import Block, Floats, Ids, Sparse, Vocabulary, hide_tags, values_at
from danbooru_pipeline.curate.signals.network import Network, train_network

#: Posts held out for calibration, and the share of a small release that may be.
_HELD_OUT: Final = 10_000
_HELD_OUT_SHARE: Final = 0.1
#: Posts that train the network at most, and fewer than which it would only learn by heart.
_NETWORK_POSTS: Final = 300_000
_NETWORK_LEAST: Final = 5_000
_HIDDEN_SHARE: Final = 0.2
#: A tag with a lower score in EASE is not looked at again, and of a post only so many are.
_LEAST_SCORE: Final = 0.01
_OF_A_POST: Final = 40
#: Higher scores, from which on most posts have as many; what is below need not be sorted then.
_BOUNDS: Final = (0.03, 0.08)
_SCORE_ROWS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Cells:
    """Pairs of a post, by its row in a block, and a tag, by its column, with the score of EASE and a probability."""

    posts: Ids
    tags: Ids
    scores: Floats
    p: Array


@dataclass(frozen=True, slots=True)
class TagModel:
    """A trained model.

    Attributes:
        weights: of EASE, tags × tags.
        network: None where there were too few posts.
        curve, steps: log odds of both -> probability.
        wrong: bias and slope by tag: the score of EASE -> log odds that a tag on a post is right.
    """

    vocabulary: Vocabulary
    weights: Sparse
    network: Network | None
    curve: Logistic
    steps: Isotonic
    wrong: Floats

    def missing(self, rows: Sparse) -> Cells:
        """The tags that are likely missing on posts, at most forty each."""
        return _predicted(self, rows, *likely(rows @ self.weights, rows))

    def present(self, rows: Sparse) -> Cells:
        """The tags that posts have, with the probability that each is right, given the others."""
        return self._present(rows @ self.weights, rows)

    def judge(self, rows: Sparse) -> tuple[Cells, Cells]:
        """What is missing and what is present, from one product with the weights."""
        scores = rows @ self.weights
        return _predicted(self, rows, *likely(scores, rows)), self._present(scores, rows)

    def _present(self, scores: Sparse, rows: Sparse) -> Cells:
        posts, tags = rows.nonzero()
        held = values_at(scores, posts, tags).astype(np.float32)
        p = sigmoid(self.wrong[0, tags] + self.wrong[1, tags] * held)
        return Cells(posts.astype(np.int64), tags.astype(np.int64), held, p)

    def reasons(self, rows: Sparse, cells: Cells, *, most: int = 3) -> list[list[str]]:
        """For each cell the tags of its post that speak for it most."""
        held = np.diff(rows.indptr)[cells.posts]
        cell = np.repeat(np.arange(len(held)), held)
        found: list[list[str]] = [[] for _ in held]
        if not len(cell):
            return found
        before = np.cumsum(held) - held
        tags = rows.indices[np.arange(len(cell)) - np.repeat(before - rows.indptr[cells.posts], held)]
        weights = values_at(self.weights, tags, cells.tags[cell])
        speaking = np.flatnonzero(weights > 0)
        cell, tags, weights = cell[speaking], tags[speaking], weights[speaking]
        order = np.lexsort((tags, -weights, cell))
        cell, tags = cell[order], tags[order]
        kept = np.arange(len(cell)) - np.searchsorted(cell, cell) < most
        for number, tag in zip(cell[kept].tolist(), tags[kept].tolist(), strict=True):
            found[number].append(self.vocabulary.names[tag])
        return found


def likely(scores: Sparse, rows: Sparse) -> tuple[Ids, Ids, Floats]:
    """Post, tag and score of what EASE thinks likely and the post lacks: the best forty of a post, ties by tag."""
    count, width = rows.shape
    places, posts = _high(scores, enough=_OF_A_POST + np.diff(rows.indptr))
    cells = posts * width + scores.indices[places]
    held = np.zeros(count * width, bool)
    held[np.repeat(np.arange(count), np.diff(rows.indptr)) * width + rows.indices] = True
    lacking = ~held[cells]
    cells, values = cells[lacking], scores.data[places[lacking]].astype(np.float32)
    # One number that sorts by post, falling score and tag: above zero the bits of floats sort as they do.
    bits = int(width - 1).bit_length()
    falling = np.uint64(2**32 - 1) - values.view(np.uint32).astype(np.uint64)
    posts, tags = (part.astype(np.uint64) for part in np.divmod(cells, width))
    keys = np.sort((posts << np.uint64(32 + bits)) | (falling << np.uint64(bits)) | tags)
    posts = (keys >> np.uint64(32 + bits)).astype(np.int64)
    best = np.arange(len(keys)) - np.searchsorted(posts, np.arange(count))[posts] < _OF_A_POST
    keys, posts = keys[best], posts[best]
    tags = (keys & np.uint64(2**bits - 1)).astype(np.int64)
    falling = (keys >> np.uint64(bits)) & np.uint64(2**32 - 1)
    return posts, tags, (np.uint64(2**32 - 1) - falling).astype(np.uint32).view(np.float32)


def _high(scores: Sparse, *, enough: Ids) -> tuple[Ids, Ids]:
    """Places and posts of the scores that may be among the best: of a post those above a bound that enough reach."""
    places = np.flatnonzero(scores.data >= _LEAST_SCORE)
    posts = np.searchsorted(scores.indptr, places, side="right") - 1
    for bound in _BOUNDS:
        high = scores.data[places] >= bound
        is_enough = np.bincount(posts[high], minlength=len(enough)) >= enough
        kept = high | ~is_enough[posts]
        places, posts = places[kept], posts[kept]
    return places, posts


def _columns(network: Network | None, rows: Sparse, posts: Ids, *, tags: Ids, scores: Floats) -> Array:
    """What is calibrated: the log odds of both models, and their mean, of which more than the sum is true."""
    ease = logit(np.clip(scores, 1e-3, 1 - 1e-3))
    if network is None:
        return ease[:, None]
    said = np.clip(network.logits(network.hidden(rows), posts, tags).astype(np.float64), -12, 12)
    return (ease + said)[:, None] / 2


def _predicted(model: TagModel, rows: Sparse, posts: Ids, tags: Ids, scores: Floats) -> Cells:
    columns = _columns(model.network, rows, posts, tags=tags, scores=scores)
    return Cells(posts, tags, scores, model.steps(sigmoid(model.curve.logits(columns))))


def train_model(
    blocks: Callable[[], Iterator[Block]], vocabulary: Vocabulary, *, posts: int, seed: int = 22
) -> TagModel:
    """Train on posts that can be read again and again. The same posts and seed give the same model.

    Args:
        blocks: gives all posts of the release.
        vocabulary: the tags.
        posts: how many there are.
        seed: of what is held out, hidden and drawn.
    """
    rng = np.random.default_rng(seed)
    held_share = min(_HELD_OUT_SHARE, _HELD_OUT / max(1, posts))
    network_share = min(1.0, _NETWORK_POSTS / max(1, posts))
    gram = Gram(len(vocabulary.names))
    held_out: list[Sparse] = []
    hidden: list[Sparse] = []
    learnt: list[Sparse] = []
    for block in blocks():
        draw = rng.random(len(block.ids))
        apart = block.rows[draw < held_share]
        seen = hide_tags(apart, vocabulary, rng, share=_HIDDEN_SHARE)
        held_out.append(apart)
        hidden.append(seen)
        rest = block.rows[draw >= held_share]
        for rows in (rest, seen):
            gram.add(rows)
        learnt.append(rest[rng.random(rest.shape[0]) < network_share])
    weights = weights_of(gram.taken(), posts=posts)
    learning, full, seen = (sp.vstack(parts, format="csr") for parts in (learnt, held_out, hidden))
    network = train_network(learning, vocabulary, seed=seed) if learning.shape[0] >= _NETWORK_LEAST else None
    curve, steps = _calibrate(weights, network, seen, full)
    return TagModel(vocabulary, weights, network, curve, steps, _wrong_curves(weights, full))


def _calibrate(weights: Sparse, network: Network | None, seen: Sparse, full: Sparse) -> tuple[Logistic, Isotonic]:
    columns, yes = [], []
    for start in range(0, full.shape[0], _SCORE_ROWS):
        rows, whole = seen[start : start + _SCORE_ROWS], full[start : start + _SCORE_ROWS]
        posts, tags, scores = likely(rows @ weights, rows)
        columns.append(_columns(network, rows, posts, tags=tags, scores=scores))
        yes.append(values_at(whole, posts, tags).astype(np.float64))
    if not sum(map(len, yes)):
        return Logistic((1.0,), 0.0), Isotonic((0.0, 1.0), (0.0, 1.0))
    said, true = np.concatenate(columns), np.concatenate(yes)
    curve = Logistic.fit(said, true)
    return curve, Isotonic.fit(sigmoid(curve.logits(said)), true)


def _wrong_curves(weights: Sparse, rows: Sparse) -> Floats:
    """For each tag a logistic curve: the score of EASE -> log odds that a post has the tag.

    Fitted to counts by steps of the score, all tags at once; a tag that few held-out posts have is taken for right.
    """
    counts = np.zeros((2, rows.shape[1] * _STEPS))
    offsets = np.arange(rows.shape[1]) * _STEPS
    for start in range(0, rows.shape[0], _SCORE_ROWS):
        block = rows[start : start + _SCORE_ROWS]
        scores = (block @ weights).toarray()
        step = np.clip((scores - _LOW) / (_HIGH - _LOW) * _STEPS, 0, _STEPS - 1).astype(np.int64) + offsets
        has = block.nonzero()
        present = np.bincount(step[has], minlength=counts.shape[1])
        counts[1] += present
        counts[0] += np.bincount(step.ravel(), minlength=counts.shape[1]) - present
    absent, held = counts.reshape(2, -1, _STEPS)
    bias, slope = _fit_steps(absent, held)
    known = held.sum(1) >= _LEAST_POSTS
    return np.stack([np.where(known, bias, _CERTAIN), np.where(known, slope, 0)]).astype(np.float32)


def _fit_steps(absent: Array, present: Array) -> tuple[Array, Array]:
    """Newton's method for a logistic curve by row, over the middles of the steps."""
    middle = _LOW + (np.arange(_STEPS) + 0.5) * (_HIGH - _LOW) / _STEPS
    total = absent + present
    slope = np.full(len(total), 5.0)
    bias = np.log((present.sum(1) + 0.5) / (absent.sum(1) + 0.5)) - 0.5
    for _ in range(40):
        p = sigmoid(bias[:, None] + slope[:, None] * middle)
        error, bend = total * p - present, total * p * (1 - p) + 1e-9
        by_bias, by_slope = error.sum(1), (error * middle).sum(1) + _RIDGE * slope
        one, both, two = bend.sum(1) + _RIDGE, (bend * middle).sum(1), (bend * middle * middle).sum(1) + _RIDGE
        whole = one * two - both * both
        bias = bias - np.clip((two * by_bias - both * by_slope) / whole, -2, 2)
        slope = slope - np.clip((one * by_slope - both * by_bias) / whole, -4, 4)
    return bias, slope


#: Log odds of a tag about which nothing is known: it is right, as tags on posts nearly always are.
_CERTAIN: Final = 10.0
_LEAST_POSTS: Final = 10
_RIDGE: Final = 0.01
#: Steps of the score of EASE, whose values are mostly from 0 to 1.
_LOW, _HIGH, _STEPS = -0.5, 1.5, 100

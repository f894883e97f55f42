"""Probabilities that mean what they say: a logistic curve, an isotonic one on top, and how far off they are."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_CLIP: Final = 30.0
#: The isotonic curve has steps of at least so many answers, or it would follow each of them.
_STEP_ANSWERS: Final = 100


def sigmoid(logits: npt.ArrayLike) -> Array:
    """Log odds as probabilities."""
    return np.asarray(1 / (1 + np.exp(-np.clip(np.asarray(logits, np.float64), -_CLIP, _CLIP))))


def logit(p: npt.ArrayLike) -> Array:
    """Probabilities as log odds, bounded."""
    held = np.clip(np.asarray(p, np.float64), 1e-4, 1 - 1e-4)
    return np.asarray(np.log(held / (1 - held)))


@dataclass(frozen=True, slots=True)
class Logistic:
    """A logistic regression: weights of standardised columns."""

    weights: tuple[float, ...]
    bias: float

    @classmethod
    def fit(cls, columns: Array, yes: Array, *, ridge: float = 1.0) -> Self:
        """Fit by Newton's method; the ridge keeps it finite where yes and no can be told apart without fail."""
        mean, spread = columns.mean(0), columns.std(0) + 1e-9
        table = np.column_stack([(columns - mean) / spread, np.ones(len(yes))])
        weights = np.zeros(table.shape[1])
        penalty = ridge * np.eye(len(weights))
        penalty[-1, -1] = 1e-6
        for _ in range(50):
            p = sigmoid(table @ weights)
            slope = table.T @ (p - yes) + penalty @ weights
            bend = (table * (p * (1 - p))[:, None]).T @ table + penalty
            step = np.linalg.solve(bend, slope)
            weights -= np.clip(step, -3, 3)
            if np.abs(step).max() < 1e-7:
                break
        plain = weights[:-1] / spread
        return cls(tuple(plain.tolist()), float(weights[-1] - plain @ mean))

    def logits(self, columns: Array) -> Array:
        """Log odds of rows."""
        return np.asarray(columns @ np.array(self.weights) + self.bias)


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A curve that never falls: the pool of adjacent violators, linear between the middles of its steps."""

    said: tuple[float, ...]
    true: tuple[float, ...]

    @classmethod
    def fit(cls, said: Array, yes: Array) -> Self:
        """Fit to answers; fewer than two steps of them leave what is said as it is."""
        order = np.argsort(said, kind="stable")
        parts = max(1, len(said) // _STEP_ANSWERS)
        if parts < 2:
            return cls((0.0, 1.0), (0.0, 1.0))
        groups = np.array_split(order, parts)
        sizes = np.array([len(group) for group in groups], np.float64)
        # Half an answer of each kind, so that a step of nothing but yes is not certainty.
        heights = np.array([(yes[group].sum() + 0.5) / (len(group) + 1) for group in groups])
        import scipy.optimize  # noqa: PLC0415 - takes long, and whoever only counts answers fits nothing

        fitted = scipy.optimize.isotonic_regression(heights, weights=sizes).x
        middles = np.array([said[group].mean() for group in groups])
        return cls(tuple(middles.tolist()), tuple(fitted.tolist()))

    def __call__(self, said: Array) -> Array:
        """What is true where something is said."""
        return np.asarray(np.interp(said, self.said, self.true))


@dataclass(frozen=True, slots=True)
class Bin:
    """Cells of which about the same was said: how many, what was said, and what was true."""

    cells: int
    said: float
    true: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A calibration curve, and the expected calibration error: the mean distance of said and true."""

    bins: tuple[Bin, ...] = ()
    error: float = 0.0

    @classmethod
    def of(cls, said: Array, yes: Array, *, bins: int = 10) -> Self:
        """The curve in equal steps of probability."""
        numbers = np.minimum((said * bins).astype(np.int64), bins - 1)
        found = tuple(
            Bin(int(held.sum()), float(said[held].mean()), float(yes[held].mean()))
            for number in range(bins)
            if (held := numbers == number).any()
        )
        total = sum(each.cells for each in found)
        error = sum(each.cells * abs(each.said - each.true) for each in found) / max(1, total)
        return cls(found, error)


def without_mistakes(share: npt.ArrayLike, *, error: float) -> Array:
    """The share of yes that is true, from the share that people say who are wrong in `error` of their answers."""
    return np.clip((np.asarray(share, np.float64) - error) / (1 - 2 * error), 0, 1)

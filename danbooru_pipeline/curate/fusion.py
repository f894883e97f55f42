"""One probability from several signals, calibrated on reviewed answers: a logistic regression and an isotonic curve.

Reviewers are wrong at times; how often is known from the answers that were known before, and taken off. Fewer answers
than `LEAST` make no fusion: then each signal stands alone and its candidates say so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from danbooru_pipeline.curate.signals.calibration import Array, Isotonic, Logistic, logit, sigmoid, without_mistakes

LEAST: Final = 500
_LEAST_OF_EACH: Final = 25
_MODELS: Final = ("tags", "picture", "site")


@dataclass(frozen=True, slots=True)
class Fusion:
    """A fitted fusion.

    Attributes:
        answers: how many it was fitted to.
        mistakes: share of answers that reviewers get wrong.
    """

    curve: Logistic
    steps: Isotonic
    answers: int
    mistakes: float

    @classmethod
    def fit(cls, answers: Iterable[tuple[Mapping[str, float | None], bool]], *, mistakes: float = 0.0) -> Self | None:
        """Fit to what the signals said and a person answered; None where there are too few answers of either kind."""
        rows = list(answers)
        yes = np.array([said for _, said in rows], np.float64)
        if len(rows) < LEAST or min(yes.sum(), len(yes) - yes.sum()) < _LEAST_OF_EACH:
            return None
        columns = np.stack([_columns(signals) for signals, _ in rows])
        curve = Logistic.fit(columns, yes)
        return cls(curve, Isotonic.fit(sigmoid(curve.logits(columns)), yes), len(rows), min(mistakes, 0.2))

    def p(self, signals: Mapping[str, float | None]) -> float:
        """The probability that a post shows a tag."""
        said = sigmoid(self.curve.logits(_columns(signals)[None]))
        return float(without_mistakes(self.steps(said), error=self.mistakes)[0])


def _columns(signals: Mapping[str, float | None]) -> Array:
    """The log odds of each model, zero where it says nothing, and whether it does."""
    given = [signals.get(name) for name in _MODELS]
    return np.array([*(0.0 if p is None else float(logit(p)) for p in given), *(float(p is not None) for p in given)])

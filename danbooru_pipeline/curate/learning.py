"""What the log teaches: a fusion of the signals, how long an answer takes, and when it is time to learn again."""

import statistics
from collections.abc import Iterable
from typing import Final

from danbooru_pipeline.curate.decisions import in_force, mistakes
from danbooru_pipeline.curate.fusion import Fusion
from danbooru_pipeline.curate.log import Page

#: New answers after which candidates are found anew. Training the tag model alone on them gains next to nothing (0.1
#: point in 100,000 decisions); calibration and fusion are what it is good for.
RETRAIN_ANSWERS: Final = 10_000
_SECONDS: Final = 1.0


def answers_of(pages: Iterable[Page]) -> list[tuple[dict[str, float], bool]]:
    """What the signals said, and the yes or no of a person, for each answer that was not known before."""
    return [
        (dict(answer.signals), answer.verdict == "+")
        for page in in_force(pages)
        for answer in page.answers
        if page.asked != "gold" and answer.known is None and answer.verdict != "?" and "rule" not in answer.signals
    ]


def fusion_of(pages: Iterable[Page]) -> Fusion | None:
    """A fusion of the signals, calibrated on all answers; None while there are too few."""
    held = list(pages)
    return Fusion.fit(answers_of(held), mistakes=mistakes(held))


def seconds_of(pages: Iterable[Page]) -> float:
    """The median seconds of an answer, by page; one second while nobody has answered."""
    # Thousandths first: a hundred of them is a tenth of a second, and 1.1 / 11 is not quite.
    taken = [page.ms / len(page.answers) for page in in_force(pages) if page.answers and page.ms]
    return max(0.05, statistics.median(taken) / 1000) if taken else _SECONDS


def count_answers(pages: Iterable[Page]) -> int:
    """How many answers there are, gold ones too."""
    return sum(len(page.answers) for page in in_force(pages))

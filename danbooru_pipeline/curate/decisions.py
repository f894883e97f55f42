"""What the pages of the log amount to: who says what of a post and a tag today, and what reviewers agree on.

The last answer of a reviewer counts, a page that was undone does not, and answers that were known before only measure
the reviewer. One reviewer is enough to add a tag, if nobody disagrees; to remove one takes two.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from danbooru_pipeline.curate.log import Answer, Page

#: Reviewers who must say the same: to add a tag, and to remove one.
TO_ADD: Final = 1
TO_REMOVE: Final = 2

Cell = tuple[int, str]


@dataclass(slots=True)
class Standing:
    """What is said of one post and tag.

    Attributes:
        by: reviewer -> their last answer.
        asked: ``+`` if the post lacked the tag when it was asked about, ``-`` if it had it.
        release: in which that was.
    """

    asked: str
    release: str = ""
    at: str = ""
    by: dict[str, Answer] = field(default_factory=dict)

    def agreed(self) -> str | None:
        """``+`` or ``-`` where a change of the tag is agreed on; None while it is not, or where nothing changes."""
        said = [answer.verdict for answer in self.by.values() if answer.verdict != "?"]
        if len(set(said)) != 1 or said[0] != self.asked:
            # On a missing tag only a yes changes something, on a present one only a no.
            return None
        return said[0] if len(said) >= (TO_ADD if said[0] == "+" else TO_REMOVE) else None

    @property
    def is_disputed(self) -> bool:
        """Whether one says yes and another no."""
        return {"+", "-"} <= {answer.verdict for answer in self.by.values()}


@dataclass(frozen=True, slots=True)
class Reviewer:
    """How reliable a reviewer is: answers, seconds, and how many of the known ones were wrong."""

    name: str
    answers: int = 0
    seconds: float = 0.0
    known: int = 0
    known_wrong: int = 0


def in_force(pages: Iterable[Page]) -> list[Page]:
    """The pages with answers that nobody has taken back."""
    held = list(pages)
    undone = {page.undoes for page in held if page.undoes is not None}
    return [page for page in held if page.number not in undone and page.undoes is None and not page.skipped]


def standings(pages: Iterable[Page]) -> dict[Cell, Standing]:
    """Post and tag -> what is said of them, gold pages left out."""
    found: dict[Cell, Standing] = {}
    for page in in_force(pages):
        for answer in page.answers if page.asked != "gold" else ():
            if answer.known is None:
                # The sign that a verdict would change: asked about a missing tag, "+" adds it.
                cell = found.setdefault((answer.post, page.tag), Standing(page.asked, page.release))
                cell.by[page.who] = answer
                cell.at, cell.release = page.at, page.release
    return found


def skipped_tags(pages: Iterable[Page]) -> dict[str, set[str]]:
    """Reviewer -> tags that they want no more of."""
    held = list(pages)
    undone = {page.undoes for page in held if page.undoes is not None}
    found: dict[str, set[str]] = {}
    for page in held:
        if page.skipped and page.number not in undone:
            found.setdefault(page.who, set()).add(page.tag)
    return found


def reviewers(pages: Iterable[Page]) -> list[Reviewer]:
    """Every reviewer, by name."""
    found: dict[str, Reviewer] = {}
    for page in in_force(pages):
        before = found.get(page.who, Reviewer(page.who))
        known = [answer for answer in page.answers if answer.known is not None and answer.verdict != "?"]
        found[page.who] = Reviewer(
            page.who,
            before.answers + len(page.answers),
            before.seconds + page.ms / 1000,
            before.known + len(known),
            before.known_wrong + sum(answer.verdict != answer.known for answer in known),
        )
    return sorted(found.values(), key=lambda each: each.name)


def mistakes(pages: Iterable[Page]) -> float:
    """The share of known answers that reviewers got wrong, of all together."""
    held = reviewers(pages)
    known = sum(each.known for each in held)
    return sum(each.known_wrong for each in held) / known if known else 0.0


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often two answers about the same cell are the same; `kappa` takes off what chance alone would give."""

    pairs: int
    same: int
    kappa: float | None


def agreement(found: Mapping[Cell, Standing]) -> Agreement:
    """Agreement over all pairs of reviewers that said yes or no about the same cell."""
    pairs = same = yes = 0
    for standing in found.values():
        said = [answer.verdict == "+" for _, answer in sorted(standing.by.items()) if answer.verdict != "?"]
        for number, one in enumerate(said):
            for other in said[number + 1 :]:
                pairs += 1
                same += one == other
                yes += one + other
    share = yes / (2 * pairs) if pairs else 0.0
    chance = share * share + (1 - share) * (1 - share)
    kappa = (same / pairs - chance) / (1 - chance) if pairs and chance < 1 else None
    return Agreement(pairs, same, kappa)

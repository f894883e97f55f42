"""Captions from tags: which come first, which are left out, and how they are written.

Underscores become spaces except in kaomoji, whose underscore is a mouth: ``>_<``, ``0_0``, ``||_||``.
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from danbooru_pipeline.consume.select import Chosen, ChosenPosts
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.years import RATINGS

#: What a caption may be made of.
PARTS: Final = ("count", "character", "copyright", "general", "artist", "meta", "rating", "quality")
#: Tags that say how many people there are; trainers put them first.
_COUNT: Final = re.compile(r"\d+\+?(girl|boy|other)s?|multiple_(girls|boys|others)|solo|no_humans")
#: Share of the chosen posts of the same rating whose score is lower -> words. Explicit posts score higher, so scores
#: are compared within a rating.
QUALITY: Final = ((0.95, "masterpiece"), (0.85, "best quality"), (0.6, "good quality"), (0.3, "normal quality"))
_REST, _WORST, _WORST_BELOW = "low quality", "worst quality", 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionOptions:
    """How captions are written.

    Attributes:
        order: parts in their order; tags of a category that is not named are left out.
        blacklist: tags that are left out.
        underscores: whether underscores stay.
        escape: whether parentheses get a backslash, which prompts of image generators take for emphasis otherwise.
        drop: probability that a general tag is left out, from 0 to 1.
        seed: of that chance; the same seed drops the same tags.
        separator: between tags.
    """

    order: tuple[str, ...] = ("count", "character", "copyright", "general")
    blacklist: tuple[str, ...] = ()
    underscores: bool = False
    escape: bool = False
    drop: float = 0.0
    seed: int = 0
    separator: str = ", "

    def __post_init__(self) -> None:
        if unknown := [part for part in self.order if part not in PARTS]:
            raise SettingsError(f"--order {unknown[0]!r} does not exist; use some of {', '.join(PARTS)}")
        if not 0 <= self.drop <= 1:
            raise SettingsError(f"--drop {self.drop} is not a probability; use a number from 0 to 1")


#: ``caption(post)``
Caption = Callable[[Chosen], str]


def captioner(options: CaptionOptions, chosen: ChosenPosts) -> Caption:
    """A function that writes captions of these posts. Scores are read here, once, if quality words are wanted."""
    steps = score_steps(chosen) if "quality" in options.order else {}
    blacklist = frozenset(options.blacklist)

    def caption(post: Chosen) -> str:
        words: list[str] = []
        for part in options.order:
            words += _words(post, part, options=options, steps=steps)
        written = (_written(word, options) for word in dict.fromkeys(words) if word not in blacklist)
        return options.separator.join(written)

    return caption


def _words(post: Chosen, part: str, *, options: CaptionOptions, steps: Mapping[str, list[int]]) -> list[str]:
    if part == "rating":
        return [RATINGS[post.rating]] if post.rating in RATINGS else []
    if part == "quality":
        return [quality_of(post, steps)]
    if part == "count":
        return [tag for tag in post.tag_string_general.split() if _COUNT.fullmatch(tag)]
    tags: list[str] = getattr(post, f"tag_string_{part}").split()
    if part != "general":
        return tags
    if "count" in options.order:
        tags = [tag for tag in tags if not _COUNT.fullmatch(tag)]
    if not options.drop:
        return tags
    dice = random.Random(f"{options.seed} {post.id}")  # noqa: S311 - no secret; the same each time
    return [tag for tag in tags if dice.random() >= options.drop]


def _written(word: str, options: CaptionOptions) -> str:
    text = word if options.underscores else spaced(word)
    return text.replace("(", r"\(").replace(")", r"\)") if options.escape else text


@lru_cache(maxsize=65_536)
def spaced(tag: str) -> str:
    """A tag with spaces for its underscores, unless it is a kaomoji."""
    return tag if is_kaomoji(tag) else tag.replace("_", " ")


def is_kaomoji(tag: str) -> bool:
    """Whether a tag is a face: at most one letter or digit on either side of each underscore, as in ``o_o``."""
    parts = tag.split("_")
    return len(parts) > 1 and all(sum(map(str.isalnum, part)) <= 1 for part in parts)


def score_steps(chosen: ChosenPosts) -> dict[str, list[int]]:
    """Rating -> the scores at which words change, best first, and the one below which a post is among the worst."""
    shares = ", ".join(f"{share}" for share in (*(share for share, _ in QUALITY), _WORST_BELOW))
    query = (
        f"SELECT coalesce(rating, '') AS rating, quantile_disc(coalesce(score, 0), [{shares}]) AS steps FROM posts "
        "WHERE id IN (SELECT id FROM chosen) GROUP BY ALL"
    )
    return {row["rating"]: list(row["steps"]) for row in chosen.rows.dicts(query)}


def quality_of(post: Chosen, steps: Mapping[str, list[int]]) -> str:
    """The words for a post's score among the chosen posts of its rating."""
    score, bounds = post.score or 0, steps[post.rating or ""]
    for (_, words), bound in zip(QUALITY, bounds, strict=False):
        if score > bound:
            return words
    return _WORST if score < bounds[-1] else _REST

"""Implications that the site lacks, as text for a bulk update request, which a person reads and posts.

A tag may imply another one if nearly all posts with it have the other, too: the lower bound of the share, at 95 %, is
above a limit. Two tags that do so both ways are likely one tag by two names, which is not proposed; nor is what follows
from other implications, or leads to another category, which the site does not allow.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from danbooru_pipeline.curate.interval import interval
from danbooru_pipeline.curate.signals.ease import gram_of
from danbooru_pipeline.curate.signals.matrix import Vocabulary, count_tags, read_blocks
from danbooru_pipeline.curate.signals.rules import TagRules, rules_of
from danbooru_pipeline.release.tables.search_index import categories_of, reader


@dataclass(frozen=True, slots=True)
class Proposal:
    """An implication, and on how many posts of the narrow tag the wide one is."""

    narrow: str
    wide: str
    together: int
    posts: int

    @property
    def line(self) -> str:
        """Of a bulk update request. Source: danbooru app/logical/bulk_update_request_processor.rb."""
        return f"imply {self.narrow} -> {self.wide}"


def propose_implications(release: Path, *, least_share: float, least_posts: int) -> list[Proposal]:
    """The implications that the posts of a release suggest, those of the most posts first.

    Args:
        release: folder of the release.
        least_share: lower bound of the share, from which on a person is asked.
        least_posts: fewest posts of the narrow tag.
    """
    read = reader(release)
    rules = rules_of(read)
    vocabulary = Vocabulary.of(count_tags(read, rules), rules)
    size = len(vocabulary.names)
    gram = gram_of((block.rows for block in read_blocks(read, vocabulary, rules)), size)
    pairs = implied_pairs(gram, least_share=least_share, least_posts=least_posts)
    return chosen(pairs, gram, vocabulary.names, rules=rules, categories=categories_of(read))


def implied_pairs(gram: npt.NDArray[Any], *, least_share: float, least_posts: int) -> set[tuple[int, int]]:
    """Narrow and wide columns of all pairs that the counts suggest, in one direction only."""
    posts = np.diag(gram)
    found: set[tuple[int, int]] = set()
    for start in range(0, len(gram), 1000):
        count = np.maximum(posts[start : start + 1000], 1)[:, None]
        kept = interval(gram[start : start + 1000] / count, count)[0] > least_share
        kept &= count >= least_posts
        found |= {(start + narrow, wide) for narrow, wide in np.argwhere(kept).tolist() if start + narrow != wide}
    return {(narrow, wide) for narrow, wide in found if (wide, narrow) not in found}


def chosen(
    pairs: Iterable[tuple[int, int]],
    gram: npt.NDArray[Any],
    names: tuple[str, ...],
    *,
    rules: TagRules,
    categories: dict[str, str],
) -> list[Proposal]:
    """Proposals without what is known, may not be proposed, or follows from another proposal."""
    wide_of: dict[str, set[str]] = {}
    kept: list[Proposal] = []
    may = partial(_may_be, rules=rules, categories=categories)
    for narrow, wide in pairs:
        if may(names[narrow], names[wide]):
            wide_of.setdefault(names[narrow], set()).add(names[wide])
            kept.append(Proposal(names[narrow], names[wide], int(gram[narrow, wide]), int(gram[narrow, narrow])))
    found = [each for each in kept if not _follows(each, wide_of, rules)]
    return sorted(found, key=lambda each: (-each.posts, each.narrow, each.wide))


def _may_be(narrow: str, wide: str, *, rules: TagRules, categories: dict[str, str]) -> bool:
    if categories.get(narrow) != categories.get(wide) or wide in rules.implied.get(narrow, ()):
        return False
    return rules.may_propose(narrow) and rules.may_propose(wide)


def _follows(proposal: Proposal, wide_of: dict[str, set[str]], rules: TagRules) -> bool:
    """Whether the narrow tag implies, or is proposed to imply, another tag from which the wide one follows."""
    others = (wide_of[proposal.narrow] | rules.implied.get(proposal.narrow, frozenset())) - {proposal.wide}
    return any(
        proposal.wide in rules.implied.get(other, ()) or proposal.wide in wide_of.get(other, ()) for other in others
    )

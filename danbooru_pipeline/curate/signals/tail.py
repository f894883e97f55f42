"""Rules for rare tags: beyond those that the model knows, how often a tag goes with another one, with shrinkage.

A tag with thirty posts says little, so its share among the posts of another tag is pulled towards nothing by some posts
that are thought to lack it. Only tags that are about as rare can speak for a rare one: a tag with 100 posts is on 1 %
of those of a tag with 10,000 at most. So what is counted stays small, however large the release is.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import scipy.sparse as sp

from danbooru_pipeline.curate.signals.matrix import Block, Sparse, Vocabulary

#: Posts of a tag that is rarer than what is counted at all.
LEAST_POSTS: Final = 20
#: Rare tags at most, the most frequent of them.
MOST_RARE: Final = 100_000
#: Posts with both tags, and the share after shrinkage, below which one does not speak for the other.
_LEAST_TOGETHER: Final = 5
LEAST_SHARE: Final = 0.3
#: Posts without the tag that are added to those that were counted.
_SHRINKAGE: Final = 10
#: Share of right tags that is thought to be missing, as for the model.
_MISSING: Final = 0.2
#: Posts whose products are added up before they join the rest.
_ROWS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Speaks:
    """A tag that speaks for a rare one: on so many of its posts both are."""

    rare: str
    together: int
    posts: int

    @property
    def share(self) -> float:
        """Of its posts those with the rare tag, after shrinkage."""
        return self.together / (self.posts + _SHRINKAGE)

    @property
    def p(self) -> float:
        """How likely a post without the rare tag shows it, if a fifth of all right tags is missing."""
        return _MISSING * self.share / (_MISSING * self.share + 1 - self.share)


@dataclass(frozen=True, slots=True)
class TailRules:
    """Tag -> rare tags that it speaks for."""

    by_tag: dict[str, tuple[Speaks, ...]] = field(default_factory=dict)

    def findings(self, held: Iterable[str]) -> Iterator[tuple[str, float, str]]:
        """Rare tags that a post lacks, the probability of each by its best witness, and why, in words."""
        tags = set(held)
        best: dict[str, tuple[Speaks, str]] = {}
        for tag in sorted(tags):
            for each in self.by_tag.get(tag, ()):
                if each.rare not in tags and (each.rare not in best or each.share > best[each.rare][0].share):
                    best[each.rare] = (each, tag)
        for rare, (found, tag) in sorted(best.items()):
            yield rare, found.p, f"{found.together:,} of {found.posts:,} posts with {tag} have it"


def rare_vocabulary(counts: Counter[str], *, known: Iterable[str]) -> tuple[Vocabulary, int]:
    """The rare tags, and those that may speak for them; which columns are the rare ones: from the number on."""
    held = set(known)
    rare = [(tag, n) for tag, n in counts.most_common() if tag not in held and n >= LEAST_POSTS][:MOST_RARE]
    most = rare[0][1] / LEAST_SHARE if rare else 0
    speaking = [(tag, counts[tag]) for tag in sorted(held) if counts[tag] <= most]
    chosen = [*speaking, *rare]
    # Implications are applied by their own rule, so rows need not be closed under them here.
    empty = sp.csr_matrix((len(chosen), len(chosen)), dtype=np.float32)
    return Vocabulary(tuple(tag for tag, _ in chosen), tuple(n for _, n in chosen), empty), len(speaking)


def mine_tail(blocks: Callable[[Vocabulary], Iterable[Block]], vocabulary: Vocabulary, *, first: int) -> TailRules:
    """Count which tags go with rare ones.

    Args:
        blocks: gives all posts by a vocabulary.
        vocabulary: of `rare_vocabulary`.
        first: column of the first rare tag.
    """
    size = len(vocabulary.names)
    total: Sparse = sp.csr_matrix((size, size - first), dtype=np.float32)
    waiting: list[Sparse] = []
    for block in blocks(vocabulary) if size > first else ():
        waiting.append(block.rows)
        if sum(rows.shape[0] for rows in waiting) >= _ROWS:
            total, waiting = total + _together(waiting, first), []
    if waiting:
        total = total + _together(waiting, first)
    return _rules(total.tocoo(), vocabulary, first)


def _together(waiting: list[Sparse], first: int) -> Sparse:
    rows = sp.vstack(waiting, format="csr")
    rows = rows[np.diff(rows[:, first:].indptr) > 0]  # the other posts have no rare tag
    return rows.T.tocsr() @ rows[:, first:]


def _rules(total: Sparse, vocabulary: Vocabulary, first: int) -> TailRules:
    posts = np.array(vocabulary.counts)
    rare = total.col + first
    share = total.data / (posts[total.row] + _SHRINKAGE)
    kept = (rare != total.row) & (total.data >= _LEAST_TOGETHER) & (share >= LEAST_SHARE)
    found: dict[str, list[Speaks]] = {}
    names = vocabulary.names
    cells = zip(total.row[kept].tolist(), rare[kept].tolist(), total.data[kept].tolist(), strict=True)
    for tag, column, together in sorted(cells):
        found.setdefault(names[tag], []).append(Speaks(names[column], int(together), int(posts[tag])))
    return TailRules({tag: tuple(each) for tag, each in found.items()})

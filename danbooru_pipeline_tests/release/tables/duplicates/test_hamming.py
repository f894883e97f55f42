"""The search within a distance finds what a comparison of every two finds, in runs of any length."""

from collections.abc import Sequence

import numpy as np
import pytest

from danbooru_pipeline.release.tables.duplicates.hamming import (
    MEMBER_BITS,
    Numbers,
    Pairs,
    pairs_anywhere,
    pairs_within,
)
from danbooru_pipeline.release.tables.duplicates.rules import Words, bits_of

#: More than are compared at once, some of about one length, and some alone.
LENGTHS = (700, 301, 300, 299, 64, *([17] * 9), *([3] * 40), 2, 2, 1, 1)


def clustered(chance: np.random.Generator, count: int, *, most: int) -> Words:
    """Hashes around a few centres, at distances below and above `most`; some are the opposite of another one."""
    words = chance.integers(0, 2**64, (4, 25), np.uint64)[:, chance.integers(0, 25, count)]
    for _ in range(most):
        at = chance.integers(0, 256, count)
        turned = np.where(chance.random(count) < 0.7, np.uint64(1) << (at % 64).astype(np.uint64), np.uint64(0))
        words[at // 64, np.arange(count)] ^= turned
    opposite = chance.random(count) < 0.1
    words[:, opposite] = ~words[:, opposite]
    return words


def compared(words: Words, runs: Sequence[Numbers], *, most: int) -> set[tuple[int, int]]:
    """The pairs of each run, by comparing every two."""
    found = set()
    for run in runs:
        left, right = (run[side] for side in np.triu_indices(len(run), 1))
        near = bits_of(words[:, left] ^ words[:, right]) <= most
        found |= set(zip(left[near].tolist(), right[near].tolist(), strict=True))
    return {(min(pair), max(pair)) for pair in found}


def as_set(pairs: Pairs) -> set[tuple[int, int]]:
    """Pairs of arrays, after checking that they are sorted and none is there twice."""
    listed = list(zip(*pairs.tolist(), strict=True))
    assert listed == sorted(set(listed))
    return set(listed)


@pytest.mark.parametrize("most", [0, 7, 40])
def test_groups_of_any_length_give_the_pairs_of_a_full_comparison(most: int) -> None:
    """Many groups side by side, long and short, give each near pair of theirs once and none across groups."""
    chance = np.random.default_rng(most)
    count = sum(LENGTHS)
    words, members = clustered(chance, count, most=most), chance.permutation(count)
    groups = np.repeat(chance.permutation(len(LENGTHS)), LENGTHS)
    mixed = chance.permutation(count)
    found = pairs_within(words, lambda: groups[mixed] << MEMBER_BITS | members[mixed], most=most, largest=400)
    runs = [members[groups == group] for group in range(len(LENGTHS))]
    assert as_set(found) == compared(words, [run for run in runs if len(run) <= 400], most=most)


@pytest.mark.parametrize("most", [0, 7, 11])
def test_search_among_all_misses_nothing(most: int) -> None:
    """Two hashes within the distance are found, whichever bits differ."""
    words = clustered(np.random.default_rng(most), 900, most=most)
    assert as_set(pairs_anywhere(words, most=most)) == compared(words, [np.arange(900)], most=most)

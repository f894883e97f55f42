"""All pairs of 256-bit hashes within a distance: exactly, on one core, in memory of a few times the hashes.

Two searches. Within runs, such as the pictures of one artist, every pair is compared. Among all, the bits are dealt to
one chunk more than the distance: two hashes within it agree in at least one whole chunk (the pigeonhole principle), so
only pictures that share a chunk are compared.
"""

from collections.abc import Iterator
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from danbooru_pipeline.release.tables.duplicates.rules import Words, bits_of

Numbers: TypeAlias = npt.NDArray[np.int64]
#: 2 × pairs: numbers of pictures, the lower one first.
Pairs: TypeAlias = npt.NDArray[np.int64]
_bits: Final = np.bitwise_count

#: Pictures of short runs that are compared together, so that they stay in the cache of a core.
_SLICE: Final = 2**16
#: Longer runs are compared a block at a time.
_LONG: Final = 128
_BLOCK_PAIRS: Final = 2**16
#: Words of half a hash; and the share of the pairs of a block that is looked at one by one.
_HALF: Final = 2
_FEW: Final = 20
#: Odd numbers that spread the bits of four words over one.
_SPREAD: Final = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], dtype=np.uint64
)
_NO_PAIRS: Final = np.empty((2, 0), np.int64)


def pairs_anywhere(words: Words, *, most: int) -> Pairs:
    """All pairs of pictures whose hashes differ in at most `most` bits."""
    found = [_NO_PAIRS]
    for chunk in range(most + 1):
        members, starts = _runs_by_key(_keys(words, _chunk_bits(chunk, of=most + 1)))
        found += _pairs_in_runs(words, members, starts, most=most)
    return unique_pairs(np.concatenate(found, axis=1))


def pairs_within(words: Words, members: Numbers, groups: Numbers, *, most: int, largest: int) -> Pairs:
    """All pairs of pictures of a group whose hashes differ in at most `most` bits.

    Args:
        words: hashes.
        members: pictures; one may be in several groups.
        groups: the number of the group of each.
        most: the largest distance.
        largest: a larger group is left out.
    """
    order = np.argsort(groups, kind="stable")
    members, groups = members[order], groups[order]
    del order
    starts = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1], [True]])) if len(groups) else groups
    lengths = np.diff(starts)
    kept = (lengths > 1) & (lengths <= largest)
    members = members[np.repeat(kept, lengths)]
    found = _pairs_in_runs(words, members, _starts_of(lengths[kept]), most=most)
    return unique_pairs(np.concatenate([_NO_PAIRS, *found], axis=1))


def crowds(words: Words, *, largest: int) -> Pairs:
    """Pictures beyond the first `largest` that have the very same hash, each after the first of all."""
    members, starts = _runs_by_key(_keys(words, np.full(4, 2**64 - 1, np.uint64)))
    lengths = np.diff(starts)
    place = np.arange(len(members)) - np.repeat(starts[:-1], lengths)
    first = np.repeat(members[starts[:-1]], lengths)
    late = np.flatnonzero(place >= largest)
    pairs = np.stack([first[late], members[late]])
    return pairs[:, distances_of(words, pairs) == 0]


def distances_of(words: Words, pairs: Pairs) -> npt.NDArray[np.uint16]:
    """In how many bits the hashes of pairs differ."""
    return bits_of(words[:, pairs[0]] ^ words[:, pairs[1]])


def unique_pairs(pairs: Pairs) -> Pairs:
    """The same pairs, sorted, each once."""
    packed = np.unique(pairs[0] << 32 | pairs[1])
    return np.stack([packed >> 32, packed & 0xFFFF_FFFF])


def _chunk_bits(chunk: int, *, of: int) -> Words:
    """The bits of a chunk, as a mask: every `of`-th, so that each chunk is dealt bits of all parts of a picture."""
    bits = np.zeros(256, np.uint8)
    bits[chunk::of] = 1
    return np.packbits(bits).view("<u8").astype(np.uint64)


def _keys(words: Words, mask: Words) -> Words:
    """A number for each picture that is equal where the masked bits are, and hardly ever where they are not."""
    keys = np.zeros(words.shape[1], np.uint64)
    for word, bits, factor in zip(words, mask, _SPREAD, strict=True):
        keys += (word & bits) * factor
    return keys


def _runs_by_key(keys: Words) -> tuple[Numbers, Numbers]:
    """Pictures that share a key, those of each key together and ascending; and where each run of them begins and ends.

    Key and number of a picture are sorted as one word, which takes a fifth of the time of sorting numbers by key.
    """
    bits = np.uint64(len(keys).bit_length())
    packed = keys >> bits << bits | np.arange(len(keys), dtype=np.uint64)
    packed.sort()
    if not len(packed):
        return np.empty(0, np.int64), np.zeros(1, np.int64)
    is_like_last = np.concatenate([[False], packed[1:] >> bits == packed[:-1] >> bits, [False]])
    in_run = is_like_last[:-1] | is_like_last[1:]
    members = (packed[in_run] & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    starts = np.flatnonzero(~is_like_last[:-1][in_run])
    return members, np.concatenate([starts, [len(members)]])


def _starts_of(lengths: Numbers) -> Numbers:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _pairs_in_runs(words: Words, members: Numbers, starts: Numbers, *, most: int) -> Iterator[Pairs]:
    lengths = np.diff(starts)
    is_long = lengths > _LONG
    for run in np.flatnonzero(is_long).tolist():
        yield from _pairs_of_long_run(words, members[starts[run] : starts[run + 1]], most=most)
    members, ends = members[np.repeat(~is_long, lengths)], _starts_of(lengths[~is_long])
    first = 0
    while first < len(ends) - 1:
        last = int(np.searchsorted(ends, ends[first] + _SLICE, "right")) - 1
        part = members[ends[first] : ends[last]]
        yield from _pairs_of_short_runs(words, part, np.diff(ends[first : last + 1]), most=most)
        first = last


def _pairs_of_short_runs(words: Words, members: Numbers, lengths: Numbers, *, most: int) -> Iterator[Pairs]:
    """Compare each picture with the next of its run, then with the one after that, and so on."""
    local = words[:, members]
    ends = np.repeat(np.cumsum(lengths), lengths)
    left = np.arange(len(members))
    for step in range(1, int(lengths.max(initial=0))):
        left = left[left + step < ends[left]]
        # Half of the bits rule out most pairs.
        half = _bits(local[0][left] ^ local[0][left + step]) + _bits(local[1][left] ^ local[1][left + step])
        close = left[half <= most]
        close = close[bits_of(local[:, close] ^ local[:, close + step]) <= most]
        yield _ordered(members[close], members[close + step])


def _pairs_of_long_run(words: Words, members: Numbers, *, most: int) -> Iterator[Pairs]:
    """Compare some pictures at a time with all that follow them."""
    local = words[:, members]
    rows = max(1, _BLOCK_PAIRS // len(members))
    for top in range(0, len(members), rows):
        distances = np.zeros((min(rows, len(members) - top), len(members) - top), np.uint8)
        for number, word in enumerate(local, start=1):
            distances += _bits(word[top : top + rows, None] ^ word[None, top:])
            # Half of the bits rule out most pairs, unless these pictures have much in common.
            if number == _HALF and np.count_nonzero(distances <= most) < distances.size // _FEW:
                break
        left, right = np.nonzero(distances <= most)
        # Opposite hashes differ in 256 bits, which a byte holds as 0.
        is_pair = (right > left) & (bits_of(local[:, top + left] ^ local[:, top + right]) <= most)
        yield _ordered(members[top + left[is_pair]], members[top + right[is_pair]])


def _ordered(left: Numbers, right: Numbers) -> Pairs:
    pairs = np.stack([np.minimum(left, right), np.maximum(left, right)])
    return pairs[:, left != right]  # a post that names itself as its parent is in its family twice

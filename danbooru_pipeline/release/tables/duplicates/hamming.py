"""All pairs of 256-bit hashes within a distance: exactly, on one core, in memory of a few times the hashes.

Two searches. Within runs, such as the pictures of one artist, every pair is compared. Among all, the bits are dealt to
one chunk more than the distance: two hashes within it agree in at least one whole chunk (the pigeonhole principle), so
only pictures that share a chunk are compared.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from danbooru_pipeline.release.tables.duplicates.rules import Flags, Words, bits_of

Number = TypeVar("Number", bound=np.integer)
Numbers: TypeAlias = npt.NDArray[np.int64]
#: 2 × pairs: numbers of pictures, the lower one first.
Pairs: TypeAlias = npt.NDArray[np.int64]
#: Members of groups, in any order, each one word: the group's number, and below it the picture's in so many bits.
Members: TypeAlias = npt.NDArray[np.int64]
MEMBER_BITS: Final = 32
#: Called when its array is needed, since whoever holds it meanwhile adds to the memory; it is sorted in place.
Groups: TypeAlias = Callable[[], Members]
#: Pictures that are worked on together, so that a word of each stays in the cache of a core.
CELLS: Final = 2**15
#: The words of a hash in the order in which they are compared: the middle of a picture, which differs most, goes first.
#: And the share of pairs that is looked at one by one.
_ORDER: Final = (1, 2, 0, 3)
_FEW: Final = 32
#: Odd numbers that spread the bits of four words over one.
_SPREAD: Final = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], dtype=np.uint64
)
_NO_PAIRS: Final = np.empty((2, 0), np.int64)


def pairs_anywhere(words: Words, *, most: int) -> Pairs:
    """All pairs of pictures whose hashes differ in at most `most` bits."""
    found = [_NO_PAIRS]
    for chunk in range(most + 1):
        members, starts = _runs_by_key(words, _chunk_bits(chunk, of=most + 1))
        found += _pairs_in_runs(words, members, starts, most=most)
    return unique_pairs(np.concatenate(found, axis=1))


def pairs_within(words: Words, read: Groups, *, most: int, largest: int) -> Pairs:
    """All pairs of pictures of a group whose hashes differ in at most `most` bits.

    Args:
        words: hashes.
        read: gives the members of groups; a picture may be in several.
        most: the largest distance.
        largest: a larger group is left out.
    """
    members, starts = _runs(read(), MEMBER_BITS)
    found = _pairs_in_runs(words, members, starts, most=most, largest=largest)
    return unique_pairs(np.concatenate([_NO_PAIRS, *found], axis=1))


def crowds(words: Words, *, largest: int) -> Pairs:
    """Pictures beyond the first `largest` that have the very same hash, each after the first of all."""
    members, starts = _runs_by_key(words, np.full(4, 2**64 - 1, np.uint64))
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
    packed = pairs[0] << 32 | pairs[1]
    packed.sort()  # `numpy.unique` fills a hash table first, which takes ten times as long
    packed = packed[np.concatenate([np.ones(min(1, len(packed)), bool), packed[1:] != packed[:-1]])]
    return np.stack([packed >> 32, packed & 0xFFFF_FFFF])


def compress(values: npt.NDArray[Number], is_kept: Flags) -> npt.NDArray[Number]:
    """The values of some columns, moved to the front of the same memory: of as many as there are posts, no copy."""
    kept = 0
    for start in range(0, values.shape[-1], CELLS):
        part = values[..., start : start + CELLS][..., is_kept[start : start + CELLS]]
        values[..., kept : kept + part.shape[-1]] = part
        kept += part.shape[-1]
    return values[..., :kept]


def _chunk_bits(chunk: int, *, of: int) -> Words:
    """The bits of a chunk, as a mask: every `of`-th, so that each chunk is dealt bits of all parts of a picture."""
    bits = np.zeros(256, np.uint8)
    bits[chunk::of] = 1
    return np.packbits(bits).view("<u8").astype(np.uint64)


def _runs_by_key(words: Words, mask: Words) -> tuple[Numbers, Numbers]:
    """Runs of pictures whose masked bits are equal.

    A number stands for these bits, which is equal where they are and hardly ever where they are not. It is sorted as
    one word with the number of its picture, which takes a fifth of the time of sorting numbers by key.
    """
    count = words.shape[1]
    bits = count.bit_length()
    low = np.uint64(2**bits - 1)
    packed = np.empty(count, np.uint64)
    for start in range(0, count, CELLS):
        part = slice(start, min(start + CELLS, count))
        keys = np.zeros(part.stop - start, np.uint64)
        for word, masked, factor in zip(words, mask, _SPREAD, strict=True):
            keys += (word[part] & masked) * factor
        packed[part] = keys & ~low | np.arange(start, part.stop, dtype=np.uint64)
    return _runs(packed, bits)


def _runs(packed: npt.NDArray[Number], bits: int) -> tuple[Numbers, Numbers]:
    """Runs of two and more: pictures that share a key, those of each key together; and where each run begins and ends.

    Args:
        packed: keys, and in so many bits below each the number of a picture; sorted in place.
        bits: how many.
    """
    packed.sort()
    shift = packed.dtype.type(bits)
    is_like_last = np.zeros(len(packed) + 1, bool)
    for start in range(1, len(packed), CELLS):
        keys = packed[start - 1 : start + CELLS] >> shift
        is_like_last[start : start + len(keys) - 1] = keys[1:] == keys[:-1]
    in_run = is_like_last[:-1] | is_like_last[1:]
    members = compress(packed, in_run)
    members &= packed.dtype.type(2**bits - 1)
    starts = np.flatnonzero(~is_like_last[:-1][in_run])
    return members.view(np.int64), np.concatenate([starts, [len(members)]])


def _pairs_in_runs(
    words: Words, members: Numbers, starts: Numbers, *, most: int, largest: int | None = None
) -> Iterator[Pairs]:
    """Compare all pictures of each run, many runs of about one length at a time. Runs longer than `largest` are not."""
    lengths = np.diff(starts)
    order = np.argsort(-lengths, kind="stable")
    firsts, lengths = starts[:-1][order], lengths[order]
    at = 0 if largest is None else int(np.count_nonzero(lengths > largest))
    while at < len(lengths) and lengths[at] > 1:
        runs = slice(at, at + max(1, CELLS // int(lengths[at])))
        yield from _pairs_of_runs(words, _beside(members, firsts[runs], lengths[runs]), most=most)
        at = runs.stop


def _beside(members: Numbers, firsts: Numbers, lengths: Numbers) -> Numbers:
    """Runs side by side, one a column, the longest first. A shorter one goes on with its own last picture."""
    places = np.minimum(np.arange(lengths[0])[:, None], lengths - 1)
    beside: Numbers = members[firsts + places]
    return beside


def _pairs_of_runs(words: Words, members: Numbers, *, most: int) -> Iterator[Pairs]:
    """Compare each picture with the next of its column, then with the one after that, and so on."""
    rows, columns = members.shape
    members = members.ravel()
    local = words[:, members]
    scratch = np.empty(members.shape, np.uint64), np.empty((2, len(members)), np.uint8)
    for step in range(1, rows):
        shift = step * columns
        left = _near(local[:, :-shift], local[:, shift:], most=most, scratch=scratch)
        if len(left):
            yield _ordered(members[left], members[left + shift])


def _near(left: Words, right: Words, *, most: int, scratch: tuple[Words, npt.NDArray[np.uint8]]) -> Numbers:
    """Where two rows of hashes differ in at most `most` bits: a word at a time, until few places are left."""
    count = left.shape[1]
    difference, (distances, bits) = scratch[0][:count], scratch[1][:, :count]
    for number, word in enumerate(_ORDER):
        np.bitwise_xor(left[word], right[word], out=difference)
        if number == 0:
            np.bitwise_count(difference, out=distances)
        else:
            distances += np.bitwise_count(difference, out=bits)
        is_near = distances <= most
        if np.count_nonzero(is_near) < count // _FEW:
            break
    near = np.flatnonzero(is_near)
    # Opposite hashes differ in 256 bits, which a byte holds as 0.
    return near[bits_of(left[:, near] ^ right[:, near]) <= most] if len(near) else near


def _ordered(left: Numbers, right: Numbers) -> Pairs:
    pairs = np.stack([np.minimum(left, right), np.maximum(left, right)])
    return pairs[:, left != right]  # a post that names itself as its parent is in its family twice

"""What counts as a duplicate, and as which kind. Pure functions of hashes and sides; no files, no search.

Hashes are columns of four 64-bit words, in which four rows of the dHash's 16 × 16 cells make one word. The distances
were measured with 14 edits (`benchmarks/hashes.py`); docs/release.md says what they mean.
"""

from enum import StrEnum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

#: 4 × pictures: the hashes of many pictures. A word of the least significant byte first is 8 bytes of the hash.
Words: TypeAlias = npt.NDArray[np.uint64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Distances: TypeAlias = npt.NDArray[np.uint16]

#: No pair beyond these distances is a duplicate.
MOST_DHASH: Final = 40
MOST_PHASH: Final = 90
#: Pairs without an artist, a parent or a pixiv id in common are found up to one of these distances. The dHashes of
#: drawings on white pages have much in common, so a larger distance would compare ten times as many pairs.
ANYWHERE_DHASH: Final = 7
ANYWHERE_PHASH: Final = 11
#: Posts of an artist, family or pixiv id that are all compared; a larger group is a tag like `banned_artist`.
LARGEST_GROUP: Final = 20_000
#: Pictures that are the same by their pixels, or have the same dHash, are all paired up to this number. Of more, the
#: others are paired with the one of the lowest id alone.
LARGEST_CROWD: Final = 32

_RECOMPRESSED_DHASH: Final = 20
_RECOMPRESSED_PHASH: Final = 2
_RESIZED_PHASH: Final = 4
_SAME_SHAPE: Final = 0.02
_CROPPED_BLOCKS: Final = 6
_CROPPED_PHASH: Final = 16
#: The bits of a word that are in one of four blocks of columns.
_BLOCKS: Final = tuple(np.uint64(0x0001_0001_0001_0001 * nibble) for nibble in (0xF0, 0x0F, 0xF000, 0x0F00))
#: Fewer set (or unset) bits say that hardly anything is in the picture.
_LEAST_DHASH_BITS: Final = 32
_LEAST_PHASH_BITS: Final = 64


class Kind(StrEnum):
    """How one picture of a pair is related to the other."""

    IDENTICAL = "identical"
    RECOMPRESSED = "recompressed"
    CROPPED = "cropped"
    VARIANT = "variant"


#: One row per pair, sorted. A distance is null where a post has no 512px image.
DUPLICATES_SCHEMA: Final = pa.schema(
    [
        pa.field("a", pa.int64(), nullable=False),
        pa.field("b", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("distance_dhash", pa.int16()),
        pa.field("distance_phash", pa.int16()),
        pa.field("same_parent", pa.bool_(), nullable=False),
        pa.field("unlinked", pa.bool_(), nullable=False),
    ],
    metadata={"danbooru_pipeline.schema": "1"},
)


def bits_of(words: Words) -> Distances:
    """How many bits of each hash are set; of differences, the distances."""
    bits: Distances = np.bitwise_count(words).sum(axis=0, dtype=np.uint16)
    return bits


def is_plain(dhash: Words, phash: Words) -> Flags:
    """Which pictures have too little in them for their hashes to mean anything: pages of one colour, menus, frames."""
    rising, strong = bits_of(dhash), bits_of(phash)
    few = (rising < _LEAST_DHASH_BITS) | (rising > 256 - _LEAST_DHASH_BITS)
    return few | (strong < _LEAST_PHASH_BITS) | (strong > 256 - _LEAST_PHASH_BITS)


def is_near(dhash: Distances, phash: Distances) -> Flags:
    """Which distances are those of duplicates."""
    return (dhash <= MOST_DHASH) & (phash <= MOST_PHASH)


def kinds_of(difference: Words, phash: Distances, *, sides: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
    """The kinds of near pairs that are not identical.

    Args:
        difference: the bits in which their dHashes differ.
        phash: distances of the other hash.
        sides: 2 × 2 × pairs: widths of both pictures, and their heights, as they are shown.
    """
    shapes = sides[0] / sides[1]
    has_same_shape = shapes.max(axis=0) <= shapes.min(axis=0) * (1 + _SAME_SHAPE)
    is_resized = (sides[:, 0] != sides[:, 1]).any(axis=0)
    # Two pictures of one size may be another expression of one face, of which hashes see little.
    most = np.where(is_resized, _RESIZED_PHASH, _RECOMPRESSED_PHASH)
    is_recompressed = has_same_shape & (bits_of(difference) <= _RECOMPRESSED_DHASH) & (phash <= most)
    # A crop moves everything, so bits change in all parts of the picture. A local edit changes those of some parts,
    # and other light hardly changes the frequencies.
    blocks = sum(np.count_nonzero(difference & block, axis=0) for block in _BLOCKS)
    is_cropped = ~has_same_shape | ((np.asarray(blocks) >= _CROPPED_BLOCKS) & (phash >= _CROPPED_PHASH))
    kinds = np.where(is_cropped, Kind.CROPPED.value, Kind.VARIANT.value)
    return np.where(is_recompressed, Kind.RECOMPRESSED.value, kinds).astype(object)

"""Finds the duplicates of a release: pairs of posts whose files show the same picture, or nearly. Writes nothing.

Whether two posts are a pair depends on these two alone (but for the crowds of `rules`), so a post that is not in a
release changes nothing for the others. A picture with hardly anything in it is compared by its pixels only.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from danbooru_pipeline.release.tables.duplicates.hamming import (
    Groups,
    Numbers,
    Pairs,
    crowds,
    pairs_anywhere,
    pairs_within,
    unique_pairs,
)
from danbooru_pipeline.release.tables.duplicates.pictures import NOBODY, Tables
from danbooru_pipeline.release.tables.duplicates.rules import (
    ANYWHERE_DHASH,
    ANYWHERE_PHASH,
    DUPLICATES_SCHEMA,
    LARGEST_CROWD,
    LARGEST_GROUP,
    MOST_DHASH,
    Flags,
    Kind,
    Words,
    bits_of,
    is_near,
    is_plain,
    kinds_of,
)

_DHASH: Final = "px512_dhash"
_PHASH: Final = "px512_phash"


@dataclass(frozen=True, slots=True)
class _Compared:
    """Pairs of rows, the bits in which a hash of each pair differs, and for which pairs both hashes are known."""

    difference: Words
    is_known: Flags

    @property
    def distances(self) -> npt.NDArray[np.uint16]:
        return bits_of(self.difference)

    @property
    def column(self) -> pa.Array:
        """The distances, null where they are not known."""
        return pa.array(self.distances.astype(np.int16), mask=~self.is_known)


def find_duplicates(tables: Tables) -> pa.Table:
    """The pairs of a release, sorted by id; `DUPLICATES_SCHEMA` has the columns."""
    near, akin = _near(tables)
    pairs = unique_pairs(np.concatenate([_identical(tables), near], axis=1))
    return describe_pairs(tables, pairs, is_akin=_are_among(pairs, akin))


def describe_pairs(tables: Tables, pairs: Pairs, *, is_akin: Flags) -> pa.Table:
    """The rows of pairs, in their order.

    Args:
        tables: of the release.
        pairs: numbers of rows in them.
        is_akin: which have an artist or a source in common.
    """
    dhash, phash = (_compare(tables, column, pairs) for column in (_DHASH, _PHASH))
    kinds = kinds_of(dhash.difference, phash.distances, sides=tables.sides()[:, pairs].astype(np.int64))
    kinds[_have_same_pixels(tables, pairs)] = Kind.IDENTICAL.value
    (a, b), (parent_of_a, parent_of_b) = tables.ids()[pairs], tables.parents()[pairs]
    same_parent = (parent_of_a == b) | (parent_of_b == a) | ((parent_of_a != NOBODY) & (parent_of_a == parent_of_b))
    is_copy = np.isin(kinds, [Kind.IDENTICAL.value, Kind.RECOMPRESSED.value])
    values: list[Any] = [a, b, kinds, dhash.column, phash.column, same_parent, ~same_parent & (is_akin | is_copy)]
    columns = [pa.array(value, field.type) for value, field in zip(values, DUPLICATES_SCHEMA, strict=True)]
    return pa.Table.from_arrays(columns, schema=DUPLICATES_SCHEMA)


def _identical(tables: Tables) -> Pairs:
    """Rows of the same pixel hash."""
    rows, words = tables.pixel_hashes()
    late = crowds(words, largest=LARGEST_CROWD)
    early = _all_but(late[1], of=len(rows))
    same = early[pairs_anywhere(_kept(words, early), most=0)]
    pairs: Pairs = rows[np.concatenate([late, same], axis=1)]
    return pairs


def _have_same_pixels(tables: Tables, pairs: Pairs) -> Flags:
    compared = _difference(*tables.pixel_hashes(), pairs)
    equal: Flags = compared.is_known & (compared.distances == 0)
    return equal


def _near(tables: Tables) -> tuple[Pairs, Pairs]:
    """Rows whose perceptual hashes are near each other; and which of them have an artist or a source in common."""
    rows, dhash = tables.hashes(_DHASH)
    chosen = np.flatnonzero(~is_plain(dhash, tables.hashes(_PHASH)[1]))
    dhash = _kept(dhash, chosen)
    crowd = crowds(dhash, largest=LARGEST_CROWD)
    late, early = rows[chosen[crowd]], _all_but(crowd[1], of=len(chosen))
    dhash, chosen = _kept(dhash, early), chosen[early]
    rows = rows[chosen]
    del early
    akin = rows[_near_in_groups(tables, rows, dhash)]
    found = [late, akin, rows[pairs_anywhere(dhash, most=ANYWHERE_DHASH)]]
    del dhash
    phash = _kept(tables.hashes(_PHASH)[1], chosen)
    found.append(rows[pairs_anywhere(phash, most=ANYWHERE_PHASH)])
    del phash, rows, chosen
    pairs = unique_pairs(np.concatenate(found, axis=1))
    distances = [_compare(tables, column, pairs).distances for column in (_DHASH, _PHASH)]
    return pairs[:, is_near(*distances)], akin


def _all_but(numbers: Numbers, *, of: int) -> Numbers:
    is_left = np.ones(of, bool)
    is_left[numbers] = False
    return np.flatnonzero(is_left)


def _kept(words: Words, chosen: Numbers) -> Words:
    """Some of the hashes, moved to the front of the same memory."""
    for word in words:
        word[: len(chosen)] = word[chosen]
    return words[:, : len(chosen)]


def _near_in_groups(tables: Tables, rows: Numbers, dhash: Words) -> Pairs:
    """Pairs by the same artist, from the same source, or of the same family."""

    def placed(read: Groups) -> tuple[Numbers, Numbers]:
        """Places of hashes instead of rows; rows without a hash are left out."""
        members, groups = read()
        places = np.searchsorted(rows, members)
        is_there = rows[np.minimum(places, len(rows) - 1)] == members if len(rows) else np.zeros(len(members), bool)
        return places[is_there], groups[is_there]

    found = [
        pairs_within(dhash, partial(placed, read), most=MOST_DHASH, largest=LARGEST_GROUP)
        for read in (tables.artists, tables.sources, tables.families)
    ]
    return unique_pairs(np.concatenate(found, axis=1))


def _compare(tables: Tables, column: str, pairs: Pairs) -> _Compared:
    return _difference(*tables.hashes(column), pairs)


def _difference(rows: Numbers, words: Words, pairs: Pairs) -> _Compared:
    """Compare the hashes of pairs, of which only some rows have one."""
    if not len(rows):
        return _Compared(np.zeros((4, pairs.shape[1]), np.uint64), np.zeros(pairs.shape[1], bool))
    places = np.minimum(np.searchsorted(rows, pairs), len(rows) - 1)
    is_known = (rows[places] == pairs).all(axis=0)
    return _Compared(np.where(is_known, words[:, places[0]] ^ words[:, places[1]], np.uint64(0)), is_known)


def _are_among(pairs: Pairs, others: Pairs) -> Flags:
    return np.isin(pairs[0] << 32 | pairs[1], others[0] << 32 | others[1])

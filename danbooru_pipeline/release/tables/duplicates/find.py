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
    CELLS,
    MEMBER_BITS,
    Groups,
    Members,
    Numbers,
    Pairs,
    compress,
    crowds,
    pairs_anywhere,
    pairs_within,
    unique_pairs,
)
from danbooru_pipeline.release.tables.duplicates.pictures import DHASH, NOBODY, PHASH, PIXEL_HASH, Tables
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
    kinds_of,
)

_LOW: Final = 2**MEMBER_BITS - 1


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
    dhash, phash = (_compare(tables, column, pairs) for column in (DHASH, PHASH))
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
    rows = tables.rows_with(PIXEL_HASH)
    words, _ = tables.hashes(PIXEL_HASH, rows)
    late, words, rows = _without_crowds(words, rows)
    return np.concatenate([late, rows[pairs_anywhere(words, most=0)]], axis=1)


def _have_same_pixels(tables: Tables, pairs: Pairs) -> Flags:
    compared = _compare(tables, PIXEL_HASH, pairs)
    equal: Flags = compared.is_known & (compared.distances == 0)
    return equal


def _near(tables: Tables) -> tuple[Pairs, Pairs]:
    """Rows whose perceptual hashes are near each other; and which of them have an artist or a source in common."""
    rows = tables.rows_with_content()
    dhash, _ = tables.hashes(DHASH, rows)
    late, dhash, rows = _without_crowds(dhash, rows)
    akin = rows[_near_in_groups(tables, rows, dhash)]
    found = [late, akin, rows[pairs_anywhere(dhash, most=ANYWHERE_DHASH)]]
    del dhash
    phash, _ = tables.hashes(PHASH, rows)
    found.append(rows[pairs_anywhere(phash, most=ANYWHERE_PHASH)])
    del phash, rows
    pairs = unique_pairs(np.concatenate(found, axis=1))
    distances = [_compare(tables, column, pairs).distances for column in (DHASH, PHASH)]
    return pairs[:, is_near(*distances)], akin


def _without_crowds(words: Words, rows: Numbers) -> tuple[Pairs, Words, Numbers]:
    """The pairs of rows in crowds, and hashes and rows without those that are paired by them."""
    crowd = crowds(words, largest=LARGEST_CROWD)
    late, is_early = rows[crowd], np.ones(len(rows), bool)
    is_early[crowd[1]] = False
    return late, compress(words, is_early), compress(rows, is_early)


def _near_in_groups(tables: Tables, rows: Numbers, dhash: Words) -> Pairs:
    """Pairs by the same artist, from the same source, or of the same family."""

    def placed(read: Groups) -> Members:
        return _placed(read(), rows)

    artists = partial(tables.artists, rows, largest=LARGEST_GROUP)
    found = [
        pairs_within(dhash, read, most=MOST_DHASH, largest=LARGEST_GROUP)
        for read in (artists, partial(placed, tables.sources), partial(placed, tables.families))
    ]
    return unique_pairs(np.concatenate(found, axis=1))


def _placed(members: Members, rows: Numbers) -> Members:
    """Members by their places among the rows instead of by row, in the same memory; without those of no such row."""
    is_there = np.zeros(len(members), bool)
    for start in range(0, len(members) if len(rows) else 0, CELLS):
        part = members[start : start + CELLS]
        row = part & _LOW
        places = np.minimum(np.searchsorted(rows, row), len(rows) - 1)
        is_there[start : start + CELLS] = rows[places] == row
        part += places - row
    return compress(members, is_there)


def _compare(tables: Tables, column: str, pairs: Pairs) -> _Compared:
    """Compare the hashes of pairs, of which only some rows have one."""
    rows = np.unique(pairs)
    words, is_known = tables.hashes(column, rows)
    a, b = np.searchsorted(rows, pairs)
    is_known = is_known[a] & is_known[b]
    return _Compared(np.where(is_known, words[:, a] ^ words[:, b], np.uint64(0)), is_known)


def _are_among(pairs: Pairs, others: Pairs) -> Flags:
    return np.isin(pairs[0] << 32 | pairs[1], others[0] << 32 | others[1])

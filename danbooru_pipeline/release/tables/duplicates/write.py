"""Finds the duplicates of a release whose tables are written, and writes ``parquet/duplicates-….parquet``.

The same posts and manifest give the same bytes. Whether two posts are a pair depends on these two alone (but for the
crowds of `rules`), so a post that is not in a release changes nothing for the others.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from danbooru_pipeline.io.parquet import write_shards
from danbooru_pipeline.layout import parquet_path
from danbooru_pipeline.release.release_json import DuplicateCounts
from danbooru_pipeline.release.tables.duplicates.hamming import (
    Pairs,
    crowds,
    pairs_anywhere,
    pairs_within,
    unique_pairs,
)
from danbooru_pipeline.release.tables.duplicates.pictures import Numbers, Tables
from danbooru_pipeline.release.tables.duplicates.rules import (
    DUPLICATES_SCHEMA,
    LARGEST_CROWD,
    LARGEST_GROUP,
    MOST_ANYWHERE,
    MOST_DHASH,
    Kind,
    Words,
    bits_of,
    is_near,
    is_plain,
    kinds_of,
)
from danbooru_pipeline.release.tables.image_rows import release_shards

TABLE: Final = "duplicates"
_DHASH: Final = "px512_dhash"
_PHASH: Final = "px512_phash"
_DICTIONARY: Final = ("kind",)


def write_duplicates(folder: Path) -> DuplicateCounts:
    """Write the table of a tree whose posts and manifest are written. Returns how many pairs there are."""
    table = find_duplicates(Tables(release_shards(folder, "parquet/posts"), release_shards(folder, "manifest/files")))
    write_shards(
        iter([table]),
        table.num_rows,
        path_of=lambda n, of: folder / parquet_path(TABLE, n, of=of),
        schema=DUPLICATES_SCHEMA,
        dictionary=_DICTIONARY,
    )
    return count_duplicates(table)


def count_duplicates(table: pa.Table) -> DuplicateCounts:
    """How many pairs of each kind a table has."""
    kinds = table["kind"].to_pylist()
    counts = {kind.value: kinds.count(kind.value) for kind in Kind}
    return DuplicateCounts(**counts, unlinked=table["unlinked"].to_pylist().count(True))


def find_duplicates(tables: Tables) -> pa.Table:
    """The pairs of a release, sorted by id."""
    identical = _identical(tables)
    near = _without(_near(tables), identical)
    pairs = np.concatenate([identical, near], axis=1)
    order = np.lexsort((pairs[1], pairs[0]))
    is_identical = (np.arange(pairs.shape[1]) < identical.shape[1])[order]
    return _described(tables, pairs[:, order], is_identical=is_identical)


def _identical(tables: Tables) -> Pairs:
    """Rows of the same pixel hash."""
    rows, words = tables.pixel_hashes()
    # As 256 bits, of which two words are empty, they are what the other searches take.
    padded = np.concatenate([words, np.zeros_like(words)])
    late = crowds(padded, largest=LARGEST_CROWD)
    early = np.setdiff1d(np.arange(len(rows)), late[1], assume_unique=True)
    same = early[pairs_anywhere(padded[:, early], most=0)]
    return unique_pairs(rows[np.concatenate([late, same], axis=1)])


def _near(tables: Tables) -> Pairs:
    """Rows whose perceptual hashes are near each other."""
    rows, dhash = tables.hashes(_DHASH)
    _, phash = tables.hashes(_PHASH)
    busy = np.flatnonzero(~is_plain(dhash, phash))
    del phash
    rows, dhash = rows[busy], dhash[:, busy]
    late = rows[crowds(dhash, largest=LARGEST_CROWD)]
    early = np.flatnonzero(~np.isin(rows, late[1]))
    rows, dhash = rows[early], dhash[:, early]
    found = [late, rows[_near_in_groups(tables, rows, dhash)], rows[pairs_anywhere(dhash, most=MOST_ANYWHERE)]]
    del dhash
    _, phash = tables.hashes(_PHASH)
    found.append(rows[pairs_anywhere(phash[:, busy][:, early], most=MOST_ANYWHERE)])
    pairs = unique_pairs(np.concatenate(found, axis=1))
    return pairs[:, is_near(bits_of(_difference(tables, _DHASH, pairs)), bits_of(_difference(tables, _PHASH, pairs)))]

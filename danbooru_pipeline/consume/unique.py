"""Groups of duplicates, of which a selection keeps one post each.

A group is all posts that pairs of the wanted kinds connect, directly or over others. Of its selected members the best
is kept: the one with the most pixels; of several, the one with the larger file at the source; of several, the oldest.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.consume.tables import Query, read_table, table_names
from danbooru_pipeline.errors import ReleaseError, SettingsError
from danbooru_pipeline.release.tables.duplicates.rules import Kind
from danbooru_pipeline.release_paths import DUPLICATES

Numbers: TypeAlias = npt.NDArray[np.int64]
#: Kinds of pairs.
KINDS: Final = tuple(kind.value for kind in Kind)
#: The order of the files `f` of a group, as SQL.
BEST_FIRST: Final = "f.width::BIGINT * f.height DESC NULLS LAST, f.source_size DESC NULLS LAST, f.id"


def groups_of(release: Path, kinds: Collection[str]) -> pa.Table:
    """The posts that are in a group: their ids, and the number of each one's group, which is its lowest id.

    Raises:
        SettingsError: a kind does not exist.
        ReleaseError: the release has no table of duplicates, or a damaged one.
    """
    if unknown := set(kinds) - set(KINDS):
        raise SettingsError(f"there is no kind {min(unknown)!r} of duplicates; use {', '.join(KINDS)}")
    if DUPLICATES not in table_names(release):
        raise ReleaseError(
            f"{release} has no parquet/{DUPLICATES}-*.parquet; select without --unique, or a newer release"
        )
    pairs = read_table(release, DUPLICATES, Query(columns=("a", "b"), where=pc.field("kind").isin(list(kinds))))
    ids, places = np.unique(np.stack([pairs["a"].to_numpy(), pairs["b"].to_numpy()]), return_inverse=True)
    numbers = lowest_connected(len(ids), places.reshape(2, -1))
    return pa.table({"id": ids, "number": ids[numbers]})


def lowest_connected(count: int, pairs: Numbers) -> Numbers:
    """For each of some things, the lowest one that pairs connect with it.

    Each takes over the lowest number among its neighbours, and then that one's, until nothing changes.
    """
    lowest = np.arange(count)
    while True:
        least = np.minimum(lowest[pairs[0]], lowest[pairs[1]])
        before = lowest.copy()
        for side in pairs:
            np.minimum.at(lowest, lowest[side], least)
        lowest = lowest[lowest]
        if np.array_equal(lowest, before):
            return lowest

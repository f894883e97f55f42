"""Sets of ids: bitmaps of 32 bits, and of 64 where a release has ids beyond them. The two are never mixed.

No booru is near 2^32, so the usual ones stay small and in the format that any language reads. Both classes do the same,
and one annotation stands for both, since pyroaring gives them no common base.
"""

from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap, BitMap64

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.layout import INT64_MAX

#: Of 32 bits without a sign, or of 64 with one, so that they compare with Arrow's without becoming floats.
Ids: TypeAlias = npt.NDArray[Any]
Kind: TypeAlias = type[BitMap]

NARROW: Final[Kind] = BitMap
WIDE: Final = cast("Kind", BitMap64)
#: The largest id that fits a narrow bitmap.
MAX_ID: Final = 2**32 - 1


class IdTooLarge(ReleaseError):  # noqa: N818 - the name says what is wrong
    """A post has an id that the bitmaps of this release cannot hold: its tables do not belong to its index."""


def kind_for(largest: int) -> Kind:
    """The bitmaps of a release with ids up to this one."""
    return NARROW if largest <= MAX_ID else WIDE


def largest_id(kind: Kind) -> int:
    """The largest id that bitmaps hold."""
    return MAX_ID if kind is NARROW else INT64_MAX


def checked_ids(ids: npt.NDArray[Any], kind: Kind) -> Ids:
    """Ids in the type of their bitmaps.

    Raises:
        IdTooLarge: one does not fit, or a row has none, which makes floats of all.
    """
    if len(ids) and not 0 < ids.min() <= ids.max() <= largest_id(kind):
        wrong = ids.max() if ids.min() > 0 else ids.min()
        raise IdTooLarge(
            f"a table names {'no post' if np.isnan(wrong) else f'post {wrong}'} in a row, and the index of the release "
            f"holds 1 to {largest_id(kind):,}; verify the release"
        )
    return ids.astype(np.uint32 if kind is NARROW else np.int64, copy=False)


def bitmap_of(ids: npt.NDArray[Any], kind: Kind) -> BitMap:
    """A bitmap of some ids.

    Raises:
        As `checked_ids`.
    """
    held = np.ascontiguousarray(checked_ids(ids, kind))
    return kind(held if kind is NARROW else held.view(np.uint64))


def places_of(
    ids: npt.NDArray[Any], among: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which of some ids are among others that ascend, and the place of each that is.

    By halves: what looks at all of the others for each table of a release takes minutes for millions of posts.
    """
    places = np.searchsorted(among, ids)
    is_there = places < len(among)
    is_there[is_there] = among[places[is_there]] == ids[is_there]
    return is_there, places[is_there]


def ids_of(bitmap: BitMap) -> Ids:
    """The ids of a bitmap, ascending."""
    kind: npt.DTypeLike = np.uint32 if isinstance(bitmap, NARROW) else np.int64
    return np.frombuffer(bitmap.to_array(), kind) if bitmap else np.empty(0, kind)

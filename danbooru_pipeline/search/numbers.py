"""Numbers of posts that searches compare and sort by: which columns each comes from, and how it follows from them.

They are read from the tables of the release when a search names them. A null is in no range, and last in any order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from danbooru_pipeline.layout import INT64_MAX
from danbooru_pipeline.search.bitmaps import Ids, Kind, bitmap_of, ids_of, places_of
from danbooru_pipeline.search.nodes import Range
from danbooru_pipeline.search.postings import Read


@dataclass(frozen=True, slots=True)
class Number:
    """A number: its table, its columns, and how it follows from their arrays; the column itself without `of`."""

    table: str
    columns: tuple[str, ...]
    of: Callable[..., Any] | None = None


def _million(width: Any, height: Any) -> Any:
    return pc.divide(pc.multiply(width.cast(pa.float64()), height.cast(pa.float64())), 1e6)


def _ratio(width: Any, height: Any) -> Any:
    # Of two zeros, which no picture has, nothing follows.
    held = pc.if_else(pc.greater(height, 0), height, None)
    return pc.round(pc.divide(width.cast(pa.float64()), held.cast(pa.float64())), 2)


def _instant(column: Any) -> Any:
    return column.cast(pa.timestamp("us")).cast(pa.int64())


def _plain(name: str) -> Number:
    return Number("posts", (name,))


_SIZE: Final = ("image_width", "image_height")
NUMBERS: Final[dict[str, Number]] = {
    "score": _plain("score"),
    "upvotes": _plain("up_score"),
    "downvotes": Number("posts", ("down_score",), pc.abs),  # the site stores it as a negative number
    "favcount": _plain("fav_count"),
    "width": _plain("image_width"),
    "height": _plain("image_height"),
    "mpixels": Number("posts", _SIZE, _million),
    "ratio": Number("posts", _SIZE, _ratio),
    "filesize": _plain("file_size"),
    "tagcount": _plain("tag_count"),
    "gentags": _plain("tag_count_general"),
    "arttags": _plain("tag_count_artist"),
    "chartags": _plain("tag_count_character"),
    "copytags": _plain("tag_count_copyright"),
    "metatags": _plain("tag_count_meta"),
    "pixiv_id": _plain("pixiv_id"),
    "user_id": _plain("uploader_id"),
    "approver_id": _plain("approver_id"),
    "parent": _plain("parent_id"),
    "date": Number("posts", ("created_at",), _instant),
    "change": Number("posts", ("updated_at",), _instant),
    "side": Number("files", ("width", "height"), lambda *sides: pc.min_element_wise(*sides, skip_nulls=False)),
}


def read_number(name: str, read: Read) -> Any:
    """Ids and the number of each, some posts at a time, as Arrow arrays."""
    number = NUMBERS[name]
    for table in read(number.table, ("id", *number.columns)):
        ids = table["id"].combine_chunks()
        arrays = [
            table[column].combine_chunks() if column in table.column_names else pa.nulls(len(ids), pa.int64())
            for column in number.columns
        ]
        yield ids, arrays[0] if number.of is None else number.of(*arrays)


def within(name: str, ranges: Sequence[Range], read: Read, kind: Kind) -> BitMap:
    """The posts whose number is in one of some ranges."""
    found = kind()
    for ids, values in read_number(name, read):
        found |= bitmap_of(ids.filter(mask_of(values, ranges)).to_numpy(zero_copy_only=False), kind)
    return found


def mask_of(values: Any, ranges: Sequence[Range]) -> Any:
    """Which values are in one of some ranges."""
    mask = pa.repeat(False, len(values))  # noqa: FBT003 - Arrow's own
    for each in ranges:
        inside: Any = values.is_valid()
        if each.low is not None:
            compare = pc.greater if each.open_low else pc.greater_equal
            inside = pc.and_(inside, compare(values, _bound(each.low, values.type)))
        if each.high is not None:
            compare = pc.less if each.open_high else pc.less_equal
            inside = pc.and_(inside, compare(values, _bound(each.high, values.type)))
        mask = pc.or_(mask, pc.fill_null(inside, False))  # noqa: FBT003
    return mask


def _bound(value: Any, kind: pa.DataType) -> pa.Scalar:
    if isinstance(value, float) or pa.types.is_floating(kind):
        return pa.scalar(float(value), pa.float64())
    return pa.scalar(max(-INT64_MAX, min(value, INT64_MAX)), pa.int64())


def present(name: str, read: Read, kind: Kind) -> BitMap:
    """The posts that have the number."""
    found = kind()
    for ids, values in read_number(name, read):
        found |= bitmap_of(ids.filter(values.is_valid()).to_numpy(zero_copy_only=False), kind)
    return found


def sorted_by(name: str, bitmap: BitMap, read: Read, *, ascending: bool) -> Ids:
    """The ids of a bitmap by a number: nulls last, among equals the newest first."""
    ids = ids_of(bitmap)
    wanted = ids.astype(np.int64)
    keys = np.full(len(ids), np.nan)
    for part, values in read_number(name, read):
        inside, places = places_of(part.to_numpy(zero_copy_only=False), wanted)
        keys[places] = values.cast(pa.float64()).to_numpy(zero_copy_only=False)[inside]
    order = np.lexsort((-wanted, keys if ascending else -keys, np.isnan(keys)))
    return ids[order]


def shuffled(bitmap: BitMap, seed: int) -> Ids:
    """The ids of a bitmap in an order that follows from each id and the seed alone, the same on any machine."""
    ids = ids_of(bitmap)
    mixed = ids.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
    with np.errstate(over="ignore"):
        # splitmix64, twice, so that neither neighbours nor neighbouring seeds look alike.
        for _ in range(2):
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            mixed ^= mixed >> np.uint64(31)
    return ids[np.argsort(mixed, kind="stable")]

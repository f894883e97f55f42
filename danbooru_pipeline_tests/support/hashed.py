"""A release's posts and manifest as the search for duplicates reads them, and a slow search that is surely right."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.release.tables.duplicates.pictures import Tables
from danbooru_pipeline_tests.support.yard import Yard


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashed:
    """A post with what its pictures are compared by. Hashes are numbers of 256 bits; None without a 512px image."""

    id: int
    dhash: int | None = None
    phash: int | None = None
    pixel_hash: str | None = None
    artists: tuple[str, ...] = ()
    parent: int | None = None
    pixiv: int | None = None
    sides: tuple[int, int] = (600, 400)
    orientation: int | None = None


def tables_of(posts: Sequence[Hashed], folder: Path) -> Tables:
    """Write posts and manifest with the columns that are read, in two row groups where there are enough rows."""
    rows = sorted(posts, key=lambda post: post.id)
    about = pa.table(
        {
            "id": pa.array([row.id for row in rows], pa.int64()),
            "tag_string_artist": pa.array([" ".join(row.artists) or None for row in rows], pa.string()),
            "parent_id": pa.array([row.parent for row in rows], pa.int64()),
            "pixiv_id": pa.array([row.pixiv for row in rows], pa.int64()),
        }
    )
    files = pa.table(
        {
            "id": pa.array([row.id for row in rows], pa.int64()),
            "pixel_hash": pa.array([row.pixel_hash for row in rows], pa.string()),
            "width": pa.array([row.sides[0] for row in rows], pa.int32()),
            "height": pa.array([row.sides[1] for row in rows], pa.int32()),
            "orientation": pa.array([row.orientation for row in rows], pa.int8()),
            "px512_dhash": pa.array([_bytes(row.dhash) for row in rows], pa.binary(32)),
            "px512_phash": pa.array([_bytes(row.phash) for row in rows], pa.binary(32)),
        }
    )
    half = max(1, len(rows) // 2)
    pq.write_table(about, folder / "posts.parquet", row_group_size=half)
    pq.write_table(files, folder / "files.parquet", row_group_size=half)
    return Tables.of([folder / "posts.parquet"], [folder / "files.parquet"])


_DHASH, _PHASH = (random.Random(seed).getrandbits(256) for seed in (1, 2))


def _bytes(number: int | None) -> bytes | None:
    return None if number is None else number.to_bytes(32)


def flipped(number: int, bits: Sequence[int]) -> int:
    """A hash with some bits turned over."""
    for bit in bits:
        number ^= 1 << bit
    return number


def plant_duplicates(yard: Yard) -> None:
    """Make 4001 identical to 12001 by its pixels, and 8001 nearly the same as both; none is another's parent."""
    for id_, pixels in ((4001, "a" * 32), (8001, "b" * 32), (12_001, "a" * 32)):
        yard.post(id_, rating="s")
        bits = range(6 if id_ == 8001 else 0)
        yard.change(id_, px512_dhash=_bytes(flipped(_DHASH, bits)), px512_phash=_bytes(_PHASH), pixel_hash=pixels)


def all_pairs(posts: Sequence[Hashed]) -> dict[tuple[int, int], tuple[bool, bool]]:
    """Pairs of ids -> whether they are identical, and whether one looks for its parent: by comparing every two."""
    found = {}
    for a, b in itertools.combinations(sorted(posts, key=lambda post: post.id), 2):
        identical = a.pixel_hash is not None and a.pixel_hash == b.pixel_hash
        related = a.parent == b.id or b.parent == a.id or (a.parent is not None and a.parent == b.parent)
        akin = bool(set(a.artists) & set(b.artists)) or (a.pixiv is not None and a.pixiv == b.pixiv)
        near = _near(a, b, is_close=related or akin)
        if identical or near is not None:
            copy = identical or (near is not None and near[0] <= 20 and near[1] <= 2)
            found[a.id, b.id] = (identical, not related and (copy or (akin and near is not None)))
    return found


def _near(a: Hashed, b: Hashed, *, is_close: bool) -> tuple[int, int] | None:
    """The distances of two near pictures; None when they are not."""
    if a.dhash is None or a.phash is None or b.dhash is None or b.phash is None:
        return None
    if any(_is_plain(post.dhash, post.phash) for post in (a, b)):
        return None
    dhash, phash = (a.dhash ^ b.dhash).bit_count(), (a.phash ^ b.phash).bit_count()
    found = is_close or dhash <= 7 or phash <= 11
    return (dhash, phash) if found and dhash <= 40 and phash <= 90 else None


def _is_plain(dhash: int | None, phash: int | None) -> bool:
    bits, waves = (dhash or 0).bit_count(), (phash or 0).bit_count()
    return not 32 <= bits <= 224 or not 64 <= waves <= 192

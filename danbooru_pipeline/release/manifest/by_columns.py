"""Reconciles buckets by columns: the many rows in which everything agrees at once, all others one by one.

Pure. It gives the rows and the problems of `reconcile_bucket`, which stays the definition and gets whatever is not
plain: posts without their file, with updates since the sweep, with anything unusual, and rows that disagree.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import no_rows, one_chunk
from danbooru_pipeline.layout import BUCKET_COUNT, BUCKETS, EXTENSIONS, STORED_EXTENSIONS, bucket_path
from danbooru_pipeline.outcomes import Reason, Status, status_of
from danbooru_pipeline.posts import Post
from danbooru_pipeline.posts.post import MAX_FILE_BYTES, MD5, posts_from, read_pixel_hash, says_nothing_doubtful
from danbooru_pipeline.release.manifest.reconcile import DERIVED, reconcile_bucket
from danbooru_pipeline.release.manifest.row import MANIFEST_SCHEMA, manifest_table
from danbooru_pipeline.store.columns import ORIGINAL_FACTS, PX512_FACTS
from danbooru_pipeline.store.ledger import ledger_rows
from danbooru_pipeline.years import sfw_ratings

#: 512px outcomes that stand in a plain row.
_PX512_REASONS: Final = [str(reason) for reason in Reason if reason not in DERIVED]


#: The folders of both trees, by the number of their bucket.
_FOLDERS: Final = tuple([bucket_path(tree, bucket) for bucket in BUCKETS] for tree in ("original", "512px"))

Flags: TypeAlias = npt.NDArray[np.bool_]
Places: TypeAlias = npt.NDArray[np.int64]
T = TypeVar("T")

#: The manifest of a bucket without posts.
NO_ROWS: Final = no_rows(MANIFEST_SCHEMA)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketTables:
    """What is known of a bucket.

    Attributes:
        posts: its slice of the sweep, the columns `POST_COLUMNS`.
        updated: posts that were refreshed or restored since, as they are now; they are never plain.
        ledger: its ledger, the columns that are stored.
        original_files, px512_files: name -> size in bytes.
    """

    bucket: str
    posts: pa.Table
    updated: Mapping[int, Post]
    ledger: pa.Table
    original_files: Mapping[str, int]
    px512_files: Mapping[str, int]


def reconcile_tables(buckets: Sequence[BucketTables], *, year: int, px512_settings: str) -> tuple[pa.Table, list[str]]:
    """The manifest rows of some buckets, each bucket's by id if they are plain, and their problems.

    Many small buckets cost little more than one as large: what is done by columns is done once.
    """
    posts, ledger = (pa.concat_tables(tables).combine_chunks() for tables in _sides(buckets))
    if not posts.num_rows and not ledger.num_rows and not any(each.updated for each in buckets):
        return NO_ROWS, []
    matches = _Matches.of(buckets)
    candidates, rows = posts.take(pa.array(matches.posts)), ledger.take(pa.array(matches.rows))
    sfw = sfw_ratings(year)
    agree = _file_agrees(matches, candidates, rows) & _px512_agrees(
        matches, candidates, rows, sfw=sfw, settings=px512_settings
    )
    found = [_rows(candidates.filter(pa.array(agree)), rows.filter(pa.array(agree)), year=year)]
    problems: list[str] = []
    plain_posts, plain_rows = (np.zeros(table.num_rows, bool) for table in (posts, ledger))
    plain_posts[matches.posts[agree]] = plain_rows[matches.rows[agree]] = True
    for each, its_posts, its_rows in zip(
        buckets, _cut(plain_posts, buckets, "posts"), _cut(plain_rows, buckets, "ledger"), strict=True
    ):
        if its_posts.all() and its_rows.all() and not each.updated:
            continue
        more, wrong = _one_by_one(each, ~its_posts, ~its_rows, year=year, px512_settings=px512_settings)
        found.append(more)
        problems += wrong
    return pa.concat_tables(found).combine_chunks(), problems


def _sides(buckets: Sequence[BucketTables]) -> tuple[list[pa.Table], list[pa.Table]]:
    return [each.posts for each in buckets], [each.ledger for each in buckets]


def _cut(flags: Flags, buckets: Sequence[BucketTables], side: str) -> list[Flags]:
    """The part of each bucket."""
    return np.split(flags, np.cumsum([getattr(each, side).num_rows for each in buckets])[:-1])


def _one_by_one(
    tables: BucketTables, posts: Flags, rows: Flags, *, year: int, px512_settings: str
) -> tuple[pa.Table, list[str]]:
    """The manifest of some posts and ledger rows of a bucket, and their problems."""
    swept = set(tables.posts["id"].to_pylist()) if tables.updated else set()
    restored = [post for id_, post in tables.updated.items() if id_ not in swept]
    rest = posts_from(tables.posts.filter(pa.array(posts)), pixel_hashes=True)
    made, problems = reconcile_bucket(
        [*(tables.updated.get(post.id, post) for post in rest), *restored],
        ledger_rows(tables.ledger.filter(pa.array(rows))),
        tables.original_files,
        tables.px512_files,
        year=year,
        px512_settings=px512_settings,
    )
    return manifest_table(made) if made else NO_ROWS, problems


@dataclass(frozen=True, slots=True)
class _Matches:
    """Posts that are in their bucket and have a ledger row, of all buckets one after the other.

    Attributes:
        posts, rows: their places among all posts, and those of their rows among all ledger rows.
        buckets: each bucket, and the end of its part of these.
    """

    posts: Places
    rows: Places
    buckets: tuple[tuple[BucketTables, int], ...]

    @classmethod
    def of(cls, buckets: Sequence[BucketTables]) -> Self:
        """Find them; in a bucket that is not sorted by id there are none."""
        posts, rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        ends: list[tuple[BucketTables, int]] = []
        first_post = first_row = held = 0
        for each in buckets:
            ids, known = (table["id"].to_numpy() for table in (each.posts, each.ledger))
            if len(known) and np.all(ids[:-1] < ids[1:]) and np.all(known[:-1] < known[1:]):
                place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
                is_here = (ids > 0) & (ids % BUCKET_COUNT == int(each.bucket)) & (known[place] == ids)
                posts.append(np.flatnonzero(is_here) + first_post)
                rows.append(place[is_here] + first_row)
                held += len(rows[-1])
            ends.append((each, held))
            first_post, first_row = first_post + len(ids), first_row + len(known)
        return cls(np.concatenate(posts), np.concatenate(rows), tuple(ends))

    def by_bucket(self, values: Sequence[T]) -> Iterator[tuple[BucketTables, Sequence[T]]]:
        """Values of all of them, bucket by bucket."""
        start = 0
        for each, end in self.buckets:
            yield each, values[start:end]
            start = end


def _numpy(mask: pa.ChunkedArray) -> np.ndarray:
    found: np.ndarray = pc.fill_null(mask, fill_value=False).to_numpy()
    return found


def _file_agrees(matches: _Matches, posts: pa.Table, rows: pa.Table) -> np.ndarray:
    """Whether a post names a file, and its row and the disk have that very file."""
    size = posts["file_size"]
    held = _held_ext(rows)
    names = pc.binary_join_element_wise(posts["id"].cast(pa.string()), held, ".")
    on_disk = [each.original_files.get(name) for each, part in matches.by_bucket(names.to_pylist()) for name in part]
    sizes = pa.chunked_array([pa.array(on_disk, pa.int64())])
    checks = [
        pc.invert(pc.fill_null(posts["is_banned"], fill_value=False)),
        pc.match_substring_regex(posts["md5"], f"^{MD5.pattern}$"),
        pc.is_in(posts["file_ext"], pa.array(sorted(EXTENSIONS))),
        pc.fill_null(pc.and_(pc.greater_equal(size, 0), pc.less_equal(size, MAX_FILE_BYTES)), fill_value=True),
        pc.is_null(rows["reason"]),
        pc.equal(rows["md5"], posts["md5"]),
        pc.equal(rows["ext"], posts["file_ext"]),
        pc.is_in(held, pa.array(sorted(STORED_EXTENSIONS))),
        pc.is_valid(rows["sha256"]),
        pc.equal(rows["size"], sizes),
    ]
    quiet = [says_nothing_doubtful(extra) for extra in posts["extra"].to_pylist()]
    unchanged = [id_ not in each.updated for each, ids in matches.by_bucket(posts["id"].to_pylist()) for id_ in ids]
    agree: np.ndarray = np.logical_and.reduce([*map(_numpy, checks), np.array(quiet, bool), np.array(unchanged, bool)])
    return agree


def _px512_agrees(
    matches: _Matches, posts: pa.Table, rows: pa.Table, *, sfw: tuple[str, ...], settings: str
) -> np.ndarray:
    """Whether the 512px image is there as the row says, has a reason, or is not wanted."""
    found = [
        each.px512_files.get(f"{id_}.jpg") for each, ids in matches.by_bucket(posts["id"].to_pylist()) for id_ in ids
    ]
    sizes = pa.chunked_array([pa.array(found, pa.int64())])
    hashes = [_numpy(pc.is_valid(rows[name])) for name in ("px512_sha256", "px512_dhash", "px512_phash")]
    made = np.logical_and.reduce([_numpy(pc.equal(rows["px512_size"], sizes)), *hashes])
    explained = _numpy(pc.is_in(rows["px512_reason"], pa.array(_PX512_REASONS)))
    absent = _numpy(pc.is_null(rows["px512_reason"]))
    tried = _numpy(pc.equal(rows["px512_settings"], settings))
    agree: np.ndarray = ~_wanted(posts, sfw) | (tried & (explained | (absent & made)))
    return agree


def _wanted(posts: pa.Table, sfw: tuple[str, ...]) -> np.ndarray:
    return _numpy(pc.is_in(posts["rating"].cast(pa.string()), pa.array(sfw)))


def _held_ext(rows: pa.Table) -> pa.ChunkedArray:
    return pc.coalesce(rows["stored_ext"], rows["ext"])


def _rows(posts: pa.Table, rows: pa.Table, *, year: int) -> pa.Table:
    """The manifest rows of plain posts."""
    wanted = pa.array(_wanted(posts, sfw_ratings(year)))
    reason = pc.if_else(wanted, rows["px512_reason"], str(Reason.RATING))
    made = pc.is_null(reason)
    hashes = [read_pixel_hash(extra) if extra else None for extra in posts["extra"].to_pylist()]
    source_hash = pa.chunked_array([pa.array(hashes, pa.string())])
    ids, count = posts["id"].cast(pa.string()), posts.num_rows
    numbers = posts["id"].to_numpy() % BUCKET_COUNT
    bucket, original, px512 = (pa.array(names).take(pa.array(numbers)) for names in (BUCKETS, *_FOLDERS))
    columns = {
        "id": posts["id"],
        "bucket": bucket,
        "rating": posts["rating"].cast(pa.string()),
        "status": pa.array([str(Status.OK)] * count, pa.string()),
        "reason": pa.nulls(count, pa.string()),
        "path": pc.binary_join_element_wise(original, ids, ".", _held_ext(rows), ""),
        "source_md5": posts["md5"],
        "source_md5_matches": pc.equal(rows["fetched_md5"], posts["md5"]),
        "source_pixel_hash": source_hash,
        "pixel_hash_matches": pc.equal(rows["pixel_hash"], source_hash),
        "px512_status": _statuses(reason),
        "px512_reason": reason,
        "px512_path": pc.if_else(made, pc.binary_join_element_wise(px512, ids, ".jpg", ""), None),
        "first_release": pc.coalesce(rows["first_release"], pa.scalar(year, pa.int16())),
        **{name: _filled(rows[name]) for name in ORIGINAL_FACTS},
        **{name: _filled(pc.if_else(made, rows[name], None)) for name in PX512_FACTS},
    }
    arrays = [columns[field.name] for field in MANIFEST_SCHEMA]
    return pa.table(
        [one_chunk(array).cast(f.type) for array, f in zip(arrays, MANIFEST_SCHEMA, strict=True)], MANIFEST_SCHEMA
    )


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A list that is not known is empty, as in a row of its own."""
    return (
        pc.if_else(pc.is_valid(column), column, pa.scalar([], column.type)) if pa.types.is_list(column.type) else column
    )


def _statuses(reasons: pa.ChunkedArray) -> pa.ChunkedArray:
    names = pa.array([str(reason) for reason in Reason])
    statuses = pa.array([str(status_of(reason)) for reason in Reason])
    return pc.fill_null(statuses.take(pc.index_in(one_chunk(reasons), names)), str(Status.OK))

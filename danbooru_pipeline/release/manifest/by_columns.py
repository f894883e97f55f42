"""Reconciles a bucket by columns: the many rows in which everything agrees at once, all others one by one.

Pure. It gives the rows and the problems of `reconcile_bucket`, which stays the definition and gets whatever is not
plain: posts without their file, with updates since the sweep, with anything unusual, and rows that disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import no_rows
from danbooru_pipeline.layout import BUCKET_COUNT, EXTENSIONS, STORED_EXTENSIONS, bucket_path
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


def reconcile_tables(tables: BucketTables, *, year: int, px512_settings: str) -> tuple[pa.Table, list[str]]:
    """The manifest rows of a bucket, sorted by id, and its problems."""
    posts, ledger = tables.posts.combine_chunks(), tables.ledger.combine_chunks()
    if not posts.num_rows and not ledger.num_rows and not tables.updated:
        return NO_ROWS, []
    plain, facts = _plain(tables, posts, ledger, sfw=sfw_ratings(year), settings=px512_settings)
    rest_posts, rest_rows = posts.filter(pa.array(~plain)), _without(ledger, posts["id"].filter(pa.array(plain)))
    swept = set(posts["id"].to_pylist()) if tables.updated else set()
    restored = [post for id_, post in tables.updated.items() if id_ not in swept]
    rest = [tables.updated.get(post.id, post) for post in posts_from(rest_posts, pixel_hashes=True)]
    rows, problems = reconcile_bucket(
        [*rest, *restored],
        ledger_rows(rest_rows),
        tables.original_files,
        tables.px512_files,
        year=year,
        px512_settings=px512_settings,
    )
    found = [
        _rows(tables.bucket, posts.filter(pa.array(plain)), facts, year=year),
        manifest_table(rows) if rows else NO_ROWS,
    ]
    whole = pa.concat_tables([table for table in found if table.num_rows] or found[:1]).combine_chunks()
    return (whole if len(rows) in {0, whole.num_rows} else whole.sort_by("id")), problems


def _without(ledger: pa.Table, ids: pa.ChunkedArray) -> pa.Table:
    return ledger.filter(pc.invert(pc.is_in(ledger["id"], ids.combine_chunks())))


def _plain(
    tables: BucketTables, posts: pa.Table, ledger: pa.Table, *, sfw: tuple[str, ...], settings: str
) -> tuple[np.ndarray, pa.Table]:
    """Which posts are plain, and their ledger rows."""
    ids, known = posts["id"].to_numpy(), ledger["id"].to_numpy()
    usable = bool(np.all(ids[:-1] < ids[1:]) and np.all(known[:-1] < known[1:]) and len(known))
    place = np.minimum(np.searchsorted(known, ids), max(0, len(known) - 1))
    here = (ids > 0) & (ids % BUCKET_COUNT == int(tables.bucket))
    matched = here & (known[place] == ids) if usable else np.zeros(len(ids), dtype=bool)
    candidates = posts.filter(pa.array(matched))
    rows = ledger.take(pa.array(place[matched]))
    agree = _file_agrees(tables, candidates, rows) & _px512_agrees(tables, candidates, rows, sfw=sfw, settings=settings)
    matched[matched] = agree
    return matched, rows.filter(pa.array(agree))


def _numpy(mask: pa.ChunkedArray) -> np.ndarray:
    found: np.ndarray = pc.fill_null(mask, fill_value=False).to_numpy()
    return found


def _file_agrees(tables: BucketTables, posts: pa.Table, rows: pa.Table) -> np.ndarray:
    """Whether a post names a file, and its row and the disk have that very file."""
    size = posts["file_size"]
    held = _held_ext(rows)
    names = pc.binary_join_element_wise(posts["id"].cast(pa.string()), held, ".")
    sizes = pa.chunked_array([pa.array([tables.original_files.get(name) for name in names.to_pylist()], pa.int64())])
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
    unchanged = [id_ not in tables.updated for id_ in posts["id"].to_pylist()] if tables.updated else quiet
    agree: np.ndarray = np.logical_and.reduce([*map(_numpy, checks), np.array(quiet, bool), np.array(unchanged, bool)])
    return agree


def _px512_agrees(
    tables: BucketTables, posts: pa.Table, rows: pa.Table, *, sfw: tuple[str, ...], settings: str
) -> np.ndarray:
    """Whether the 512px image is there as the row says, has a reason, or is not wanted."""
    found = [tables.px512_files.get(f"{id_}.jpg") for id_ in posts["id"].to_pylist()]
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


def _rows(bucket: str, posts: pa.Table, rows: pa.Table, *, year: int) -> pa.Table:
    """The manifest rows of plain posts."""
    wanted = pa.array(_wanted(posts, sfw_ratings(year)))
    reason = pc.if_else(wanted, rows["px512_reason"], str(Reason.RATING))
    made = pc.is_null(reason)
    hashes = [read_pixel_hash(extra) if extra else None for extra in posts["extra"].to_pylist()]
    source_hash = pa.chunked_array([pa.array(hashes, pa.string())])
    ids, count = posts["id"].cast(pa.string()), posts.num_rows
    columns = {
        "id": posts["id"],
        "bucket": pa.array([bucket] * count, pa.string()),
        "rating": posts["rating"].cast(pa.string()),
        "status": pa.array([str(Status.OK)] * count, pa.string()),
        "reason": pa.nulls(count, pa.string()),
        "path": pc.binary_join_element_wise(bucket_path("original", bucket), ids, ".", _held_ext(rows), ""),
        "source_md5": posts["md5"],
        "source_md5_matches": pc.equal(rows["fetched_md5"], posts["md5"]),
        "source_pixel_hash": source_hash,
        "pixel_hash_matches": pc.equal(rows["pixel_hash"], source_hash),
        "px512_status": _statuses(reason),
        "px512_reason": reason,
        "px512_path": pc.if_else(
            made, pc.binary_join_element_wise(bucket_path("512px", bucket), ids, ".jpg", ""), None
        ),
        "first_release": pc.coalesce(rows["first_release"], pa.scalar(year, pa.int16())),
        **{name: _filled(rows[name]) for name in ORIGINAL_FACTS},
        **{name: _filled(pc.if_else(made, rows[name], None)) for name in PX512_FACTS},
    }
    arrays = [columns[field.name] for field in MANIFEST_SCHEMA]
    return pa.table(
        [_one(array).cast(f.type) for array, f in zip(arrays, MANIFEST_SCHEMA, strict=True)], MANIFEST_SCHEMA
    )


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A list that is not known is empty, as in a row of its own."""
    return (
        pc.if_else(pc.is_valid(column), column, pa.scalar([], column.type)) if pa.types.is_list(column.type) else column
    )


def _statuses(reasons: pa.ChunkedArray) -> pa.ChunkedArray:
    names = pa.array([str(reason) for reason in Reason])
    statuses = pa.array([str(status_of(reason)) for reason in Reason])
    return pc.fill_null(statuses.take(pc.index_in(_one(reasons), names)), str(Status.OK))

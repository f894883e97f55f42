"""The manifest of a release: the frozen ledgers, one row per post, sorted by id. No network, no clock.

It is written only if posts, ledgers and files of all 1000 buckets reconcile; the error names each row that does not.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.errors import ReleaseError, ReleaseRefused
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.io.damage import damage_named
from danbooru_pipeline.io.external_sort import ExternalGroupBy, by_id_range
from danbooru_pipeline.io.formats import require_known_schema
from danbooru_pipeline.io.parquet import (
    ROW_GROUP_ROWS,
    Side,
    differences,
    no_rows,
    read_batches,
    rechunk,
    write_parquet,
)
from danbooru_pipeline.io.row_digest import RowDigest
from danbooru_pipeline.layout import BUCKET_COUNT, BUCKETS, Layout
from danbooru_pipeline.outcomes import Reason, Status, status_of
from danbooru_pipeline.posts import POST_SCHEMA, conform, read_posts
from danbooru_pipeline.posts.post import read_columns
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.release.manifest.by_columns import BucketTables, reconcile_tables
from danbooru_pipeline.release.manifest.first_release import manifests_before, with_first_releases
from danbooru_pipeline.release.manifest.row import (
    MANIFEST_DICTIONARY,
    MANIFEST_SCHEMA,
)
from danbooru_pipeline.release.manifest.summary import ManifestSummary, Tally
from danbooru_pipeline.store.ledger import read_ledger_table
from danbooru_pipeline.store.plan import list_files

#: Columns that the posts have too; both must agree.
SHARED_COLUMNS = ("id", "source_md5", "rating")
POSTS_COLUMNS = ("id", "md5", "rating")

#: More pending posts than this are an outage, not a release: this many, or this share of all posts if that is more.
PENDING_POSTS = 20
PENDING_SHARE = 0.1

_SUMMARY_KEY = b"danbooru_pipeline.summary"
_RANGE_IDS = 200_000
#: Posts and ledger rows that are reconciled at once; a bucket of ten million posts has twice as many.
_ROWS_AT_ONCE = 10_000
#: What reconciling needs of a post.
_READ = pa.schema(
    [
        POST_SCHEMA.field(name)
        for name in ("id", "md5", "file_ext", "file_size", "rating", "is_banned", "tag_string", "extra")
    ],
    metadata=POST_SCHEMA.metadata,
)
_SHOWN = 5
_NO_POSTS = no_rows(_READ)


def write_manifest(layout: Layout, year: int, *, px512_settings: str, progress: Progress = silent) -> ManifestSummary:
    """Unite the ledgers of all buckets with the posts of a year, and make the files of the store read-only.

    Releases link these files. Here each is looked at anyway, so linking need not look at its mode.

    Raises:
        ReleaseRefused: they do not reconcile (all rows are in ``unreconciled.txt``), or too many posts are pending.
        ReleaseError: the year has no posts yet.
    """
    if not layout.posts(year).exists():
        raise ReleaseError(f"there are no posts of {year}; build `posts` first")
    tally, digest = Tally(), RowDigest(MANIFEST_SCHEMA)
    problems: list[str] = []
    with ExternalGroupBy(MANIFEST_SCHEMA, key=by_id_range(_RANGE_IDS), folder=layout.metadata(year)) as by_range:
        for buckets in _some_buckets(layout, year, progress):
            rows, wrong = reconcile_tables(buckets, year=year, px512_settings=px512_settings)
            problems += wrong
            if rows.num_rows:
                by_range.add(rows)
        carried = manifests_before(layout, year)

        def made() -> Iterator[pa.Table]:
            return with_first_releases((table for _, table in by_range.groups()), carried, year=year)

        for table in made():
            tally.add(table)
            digest.update(table)
        # A stale slice of a bucket agrees with its ledger, but not with the posts that are released.
        problems = problems or list(_against_posts(layout.posts(year), (table for _, table in by_range.groups())))
        summary = tally.summary(digest.hexdigest())
        _refuse(layout, year, problems, summary)
        write_manifest_table(layout.manifest(year), made(), summary)
    return summary


def _some_buckets(layout: Layout, year: int, progress: Progress) -> Iterator[list[BucketTables]]:
    """All buckets that have something, as many at a time as are worth the work by columns."""
    held: list[BucketTables] = []
    for done, bucket in enumerate(BUCKETS):
        tables = _tables(layout, year, bucket)
        if tables.posts.num_rows or tables.ledger.num_rows or tables.updated:
            held.append(tables)
        if sum(each.posts.num_rows + each.ledger.num_rows for each in held) >= _ROWS_AT_ONCE:
            yield held
            held = []
        progress("buckets", done + 1, BUCKET_COUNT)
    if held:
        yield held


def _tables(layout: Layout, year: int, bucket: str) -> BucketTables:
    slice_, refreshed = layout.posts_bucket(year, bucket), layout.refreshed(year, bucket)
    updated = read_posts(slice_, refreshed=refreshed, pixel_hashes=True) if refreshed.exists() else []
    changed = ids_of(refreshed) if updated else frozenset()
    posts, ledger = _slice(slice_), read_ledger_table(layout.ledger(bucket))
    is_empty = not posts.num_rows and not ledger.num_rows and not updated
    return BucketTables(
        bucket=bucket,
        posts=posts,
        updated={post.id: post for post in updated if post.id in changed},
        ledger=ledger,
        original_files={} if is_empty else list_files(layout.original_bucket(bucket), read_only=True),
        px512_files={} if is_empty else list_files(layout.px512_bucket(bucket), read_only=True),
    )


def _slice(path: Path) -> pa.Table:
    if not path.exists():
        return _NO_POSTS
    with damage_named(path):
        return conform(read_columns(path, _READ.names), _READ)


def ids_of(path: Path) -> frozenset[int]:
    """The ids in a table.

    Raises:
        DamagedFile: it cannot be read.
    """
    with damage_named(path):
        return frozenset(read_columns(path, ["id"])["id"].to_pylist())


def post_keys(path: Path) -> Iterator[pa.Table]:
    """The columns that posts and manifest share, read from posts, under the names of the manifest."""
    for table in read_batches(path, columns=POSTS_COLUMNS):
        yield pa.Table.from_arrays([table[name].cast(_plain(name)) for name in POSTS_COLUMNS], list(SHARED_COLUMNS))


def manifest_keys(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The columns that posts and manifest share, from rows of the manifest."""
    for table in tables:
        yield pa.Table.from_arrays([table[name].cast(_plain(name)) for name in SHARED_COLUMNS], list(SHARED_COLUMNS))


def _plain(column: str) -> pa.DataType:
    return pa.int64() if column == "id" else pa.string()


def _against_posts(posts: Path, manifest: Iterable[pa.Table]) -> Iterator[str]:
    said = {
        Side.LEFT_ONLY: "is in the posts but in no bucket; build `posts_by_bucket` again",
        Side.RIGHT_ONLY: "is in a bucket but not in the posts; build `posts_by_bucket` again",
        Side.TWICE: "has more than one post",
        Side.DIFFERS: "its bucket has another MD5 or rating than the posts; build `posts_by_bucket` again",
    }
    for difference in differences(post_keys(posts), manifest_keys(manifest)):
        yield f"{difference.id}: {said[difference.side]}"


def _refuse(layout: Layout, year: int, problems: Sequence[str], summary: ManifestSummary) -> None:
    """Refuse rows that do not reconcile, and an outage."""
    report = layout.unreconciled(year)
    if problems:
        ordered = sorted(problems, key=lambda line: int(line.partition(":")[0]))
        write_atomic(report, "".join(f"{line}\n" for line in ordered).encode())
        shown = "; ".join(ordered[:_SHOWN]) + ("; …" if len(ordered) > _SHOWN else "")
        raise ReleaseRefused(
            f"{len(ordered)} rows of {year} do not reconcile ({shown}); see {report}, then build those buckets again",
            rows=ordered,
        )
    report.unlink(missing_ok=True)
    if summary.pending > max(PENDING_POSTS, PENDING_SHARE * summary.posts):
        reasons = summary.reasons["original"].items()
        why = ", ".join(f"{name} {count}" for name, count in reasons if status_of(Reason(name)) is Status.PENDING)
        raise ReleaseRefused(
            f"{summary.pending} of {summary.posts} posts of {year} are pending ({why}), which is an outage and not a "
            "release; run the build again"
        )


def write_manifest_table(path: Path, tables: Iterable[pa.Table], summary: ManifestSummary) -> None:
    """Write rows sorted by id. The summary is in the file, so it cannot be mistaken for another manifest's."""
    metadata = {**MANIFEST_SCHEMA.metadata, _SUMMARY_KEY: msgspec.json.encode(summary)}
    schema = MANIFEST_SCHEMA.with_metadata(metadata)
    write_parquet(path, rechunk(tables, ROW_GROUP_ROWS), schema=schema, dictionary=MANIFEST_DICTIONARY)


def read_summary(layout: Layout, year: int) -> ManifestSummary:
    """The totals of a manifest on disk.

    Raises:
        ReleaseError: it is missing or damaged.
    """
    path = layout.manifest(year)
    try:
        schema = pq.read_schema(path)
        require_known_schema(path, schema)
        metadata = schema.metadata or {}
        return msgspec.json.decode(metadata[_SUMMARY_KEY], type=ManifestSummary)
    except FileNotFoundError:
        raise ReleaseError(f"there is no manifest of {year}; build `release_manifest` first") from None
    except (pa.ArrowException, OSError, KeyError, msgspec.MsgspecError) as error:
        raise ReleaseError(f"{path} cannot be read ({error}); build `release_manifest` again") from error

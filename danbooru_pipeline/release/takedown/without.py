"""Tables, lines and reports without some posts: the same bytes as if the source had never had them."""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.io.atomic import atomic_file, write_atomic
from danbooru_pipeline.io.external_sort import ExternalGroupBy
from danbooru_pipeline.io.parquet import read_batches, rechunk, write_parquet
from danbooru_pipeline.io.row_digest import RowDigest
from danbooru_pipeline.posts import POST_SCHEMA, conform
from danbooru_pipeline.release.checksums import bucket_number
from danbooru_pipeline.release.manifest.row import MANIFEST_SCHEMA, digest_bytes, row_from
from danbooru_pipeline.release.manifest.summary import ManifestSummary, Tally
from danbooru_pipeline.release.manifest.write import write_manifest_table

_ROWS = 50_000


class _Line(msgspec.Struct, gc=False):
    """What says which post a line is about."""

    id: int | str | None = None
    post_id: int | str | None = None


_decoder = msgspec.json.Decoder(_Line)


def without(tables: Iterable[pa.Table], ids: Collection[int]) -> Iterator[pa.Table]:
    """Rows whose id is not among these."""
    gone = pa.array(sorted(ids), pa.int64())
    return (table.filter(pc.invert(pc.is_in(table["id"], gone))) for table in tables)


def ids_present(files: Iterable[Path], ids: Collection[int]) -> set[int]:
    """Which of these ids some tables have."""
    gone = pa.array(sorted(ids), pa.int64())
    found: set[int] = set()
    for path in files:
        for table in read_batches(path, columns=("id",)):
            found.update(table["id"].filter(pc.is_in(table["id"], gone)).to_pylist())
    return found


def write_posts_without(files: Iterable[Path], target: Path, ids: Collection[int]) -> tuple[int, str]:
    """Write posts to one file. Returns the number of rows and their digest."""
    digest = RowDigest(POST_SCHEMA)
    rows = 0

    def counted() -> Iterator[pa.Table]:
        nonlocal rows
        for table in rechunk(without(_post_tables(files), ids), _ROWS):
            rows += table.num_rows
            digest.update(table)
            yield table

    write_parquet(target, counted(), schema=POST_SCHEMA, dictionary=("rating", "file_ext"))
    return rows, digest.hexdigest()


def _post_tables(files: Iterable[Path]) -> Iterator[pa.Table]:
    for path in files:
        for table in read_batches(path):
            yield conform(table)


def write_slice_without(path: Path, ids: Collection[int]) -> None:
    """Replace a bucket's table about posts; a bucket that has no row left has no file."""
    table = pa.concat_tables(without([pq.ParquetFile(path).read()], ids))
    if table.num_rows:
        with atomic_file(path) as file:
            pq.write_table(table, file, compression="zstd")
    else:
        path.unlink()


def write_manifest_without(files: Iterable[Path], target: Path, ids: Collection[int]) -> ManifestSummary:
    """Write a manifest to one file, with its numbers. Returns them."""
    tally = Tally()
    digest = hashlib.sha256()
    kept = (table for path in files for table in without(read_batches(path), ids))
    with ExternalGroupBy(MANIFEST_SCHEMA, key=bucket_number, folder=target.parent) as by_bucket:
        tables = []
        for table in kept:
            rows = conform(table, MANIFEST_SCHEMA)
            tally.add(rows)
            by_bucket.add(rows)
            tables.append(rows)
        for _, table in by_bucket.groups():
            digest.update(digest_bytes(map(row_from, table.to_pylist())))
    summary = tally.summary(digest.hexdigest())
    write_manifest_table(target, tables, summary)
    return summary


def lines_without(path: Path, target: Path, ids: Collection[int], *, about_posts: bool) -> bool:
    """Write JSON lines to `target` without those about some posts; nothing when no line is. Returns whether one was.

    Args:
        path: of the lines.
        target: may be the same.
        ids: of posts.
        about_posts: whether `id` is a post's; in other tables `post_id` says so.
    """
    if not any(_is_about(line, ids, about_posts=about_posts) for line in _lines(path)):
        return False
    with atomic_file(target) as file:
        file.writelines(line for line in _lines(path) if not _is_about(line, ids, about_posts=about_posts))
    return True


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as lines:
        yield from lines


def _is_about(line: bytes, ids: Collection[int], *, about_posts: bool) -> bool:
    try:
        record = _decoder.decode(line)
        value = record.id if about_posts else record.post_id
        return value is not None and int(value) in ids
    except (ValueError, RecursionError):
        return False  # a line that no reader can use is about nobody


def rewrite_report(path: Path, *, rows: int, digest: str) -> None:
    """Bring the report of a sweep up to date with the posts that are left."""
    report = msgspec.json.decode(path.read_bytes())
    report["source"] |= {"rows": rows, "sha256": digest}
    write_atomic(path, msgspec.json.format(msgspec.json.encode(report)))

"""Tables and lines without some posts: the same bytes as if the source had never had them."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.io.atomic import atomic_file
from danbooru_pipeline.io.parquet import read_batches, rechunk, write_parquet
from danbooru_pipeline.io.row_digest import RowDigest
from danbooru_pipeline.posts import POST_SCHEMA, conform
from danbooru_pipeline.release.manifest.first_release import with_first_releases
from danbooru_pipeline.release.manifest.row import MANIFEST_SCHEMA
from danbooru_pipeline.release.manifest.summary import ManifestSummary, Tally
from danbooru_pipeline.release.manifest.write import write_manifest_table
from danbooru_pipeline.release.post_lines import LineSearch

_ROWS = 50_000


def without(tables: Iterable[pa.Table], ids: Collection[int]) -> Iterator[pa.Table]:
    """Rows without those that have one of these ids."""
    gone = pa.array(sorted(ids), pa.int64())
    return (table.filter(pc.invert(pc.is_in(table["id"], gone))) for table in tables)


def write_posts_without(files: Iterable[Path], target: Path, ids: Collection[int]) -> tuple[int, str]:
    """Write posts without these ids to one file. Returns the number of rows and their digest."""
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
    """Remove these ids from a bucket's slice; the file is removed if no row is left."""
    table = pa.concat_tables(without([pq.ParquetFile(path).read()], ids))
    if table.num_rows:
        with atomic_file(path) as file:
            pq.write_table(table, file, compression="zstd")
    else:
        path.unlink()


def write_manifest_without(
    files: Iterable[Path],
    target: Path,
    ids: Collection[int],
    *,
    year: int = 0,
    carried: Mapping[int, Sequence[Path]] = MappingProxyType({}),
) -> ManifestSummary:
    """Write a manifest without these ids to one file, with its summary. Returns the summary.

    Args:
        files: of the manifest.
        target: the file.
        ids: of posts.
        year: of the manifest.
        carried: earlier manifests that will be beside it, which may be newer ones than it was made with.
    """
    files = list(files)  # read twice, since the summary of all rows comes before them

    def rows() -> Iterator[pa.Table]:
        tables = (table for path in files for table in without(read_batches(path), ids))
        return with_first_releases((conform(table, MANIFEST_SCHEMA) for table in tables), carried, year=year)

    tally, digest = Tally(), RowDigest(MANIFEST_SCHEMA)
    for table in rows():
        tally.add(table)
        digest.update(table)
    summary = tally.summary(digest.hexdigest())
    write_manifest_table(target, rows(), summary)
    return summary


def lines_without(path: Path, target: Path, ids: Collection[int], *, about_posts: bool) -> bool:
    """Write JSON lines to `target` without those about some posts; writes nothing if there are none.

    Args:
        path: of the lines.
        target: may be the same.
        ids: of posts.
        about_posts: whether `id` is that of a post; in other tables it is `post_id`.

    Returns:
        Whether a line was about one of the posts.
    """
    search = LineSearch(frozenset(ids), about_posts)
    if not any(map(search.of_line, _lines(path))):
        return False
    with atomic_file(target) as file:
        file.writelines(line for line in _lines(path) if not search.of_line(line))
    return True


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as lines:
        yield from lines

"""Verification of the layer of corrections: its states follow from the release's posts, and so do corrected posts."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from danbooru_pipeline.io.parquet import differences, no_rows
from danbooru_pipeline.io.untrusted import is_plain
from danbooru_pipeline.posts import POST_SCHEMA, conform
from danbooru_pipeline.release.tables.corrections import (
    CORRECTIONS_SCHEMA,
    POSTS_COLUMNS,
    corrected,
    judge,
    known_tags,
)
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import batches, readable_shards, tables_in, whole_table
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import CORRECTED, CORRECTIONS


def check_corrections(run: Verification, posts: Sequence[str]) -> None:
    """Check the layer against posts that agree with the manifest; most releases have none."""
    names = tables_in(run, CORRECTED)
    if not is_plain(run.folder, CORRECTIONS):
        if names:
            run.add(Kind.CORRECTIONS_DIFFER, CORRECTED, "has posts, but there are no corrections")
        return
    if CORRECTIONS in run.altered:
        run.add(Kind.PARQUET_UNREADABLE, CORRECTIONS, "is altered, and was not read")
        return
    with run.reading(Kind.PARQUET_UNREADABLE, CORRECTIONS):
        listed = pa.concat_tables([no_rows(CORRECTIONS_SCHEMA), *batches(run, CORRECTIONS)])
        if not listed.equals(judge(listed, _rows(run, posts, POSTS_COLUMNS))):
            run.add(Kind.CORRECTIONS_DIFFER, CORRECTIONS, "has posts or states that do not follow from the posts")
            return
        if "posts" in names:
            _check_posts(run, posts, listed)


def _check_posts(run: Verification, posts: Sequence[str], listed: pa.Table) -> None:
    shards = readable_shards(run, CORRECTED, "posts")
    if shards is None:
        return
    known = known_tags(lambda table: _rows(run, whole_table(run, "parquet", table), None))
    expected = corrected(_rows(run, posts, None), listed, known)
    for difference in differences(expected, map(conform, _rows(run, shards, None))):
        run.add(Kind.CORRECTIONS_DIFFER, str(difference.id), f"{CORRECTED}: {difference.side}")


def _rows(run: Verification, names: Sequence[str], columns: Sequence[str] | None) -> Iterator[pa.Table]:
    held = None if columns is None else list(columns)
    for name in names:
        yield from batches(run, name, columns=held or POST_SCHEMA.names if name.startswith("parquet/posts") else held)

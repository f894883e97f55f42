"""Verification of the vectors of tags and posts: each post has one, of the right length, in the order of the posts.

With ``full`` they are learned again from the release's own tables and compared to the last bit, which takes some twenty
seconds of a core for a million posts. A tree that was just made from them is not asked again.
"""

import itertools
import tempfile
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.memory import give_back
from danbooru_pipeline.io.parquet import differences, rechunk
from danbooru_pipeline.release.tables.search_index import reader
from danbooru_pipeline.release.tables.vectors.learn import DIMENSIONS, Learned, Learner
from danbooru_pipeline.release.tables.vectors.write import (
    POST_VECTORS_SCHEMA,
    TAG_VECTORS_SCHEMA,
    post_tables,
    tag_tables,
)
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import ROWS, announced_rows, batches, readable_shards, tables_in
from danbooru_pipeline.release.verify.schemas import check_columns
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import POST_VECTORS, TAG_VECTORS

_TAGS = f"parquet/{TAG_VECTORS}-*.parquet"
_POSTS = f"parquet/{POST_VECTORS}-*.parquet"
_WRONG = "is not what the posts and their tags say"


def check_vectors(run: Verification, posts: Sequence[str]) -> None:
    """Check both tables against the posts, which can be read; releases before them have none."""
    held = [table for table in (TAG_VECTORS, POST_VECTORS) if table in tables_in(run, "parquet")]
    if not held:
        return
    if len(held) == 1:
        run.add(Kind.VECTORS_DIFFER, f"parquet/{held[0]}-*.parquet", "is there alone")
        return
    names = {table: readable_shards(run, "parquet", table) for table in held}
    tag_files, post_files = names[TAG_VECTORS], names[POST_VECTORS]
    if tag_files is None or post_files is None:
        return
    tags_right = check_columns(run, tag_files, TAG_VECTORS_SCHEMA)
    if not check_columns(run, post_files, POST_VECTORS_SCHEMA) or not tags_right:
        return
    with run.reading(Kind.VECTORS_DIFFER, _POSTS):
        if not _check_ids(run, post_files, posts):
            return
        if run.full and run.published:
            _compare(run, tag_files, post_files, all_posts=sum(announced_rows(run, name) for name in posts))
        else:
            _check_lengths(run, TAG_VECTORS_SCHEMA, tag_files)
            _check_lengths(run, POST_VECTORS_SCHEMA, post_files)


def _check_ids(run: Verification, files: Sequence[str], posts: Sequence[str]) -> bool:
    """Check that there is a vector for each post, in the order of the posts: readers find it by its row."""
    pairs = itertools.zip_longest(*(rechunk(_ids(run, names), ROWS) for names in (files, posts)))
    if all(ours is not None and theirs is not None and ours.equals(theirs) for ours, theirs in pairs):
        return True
    run.add(Kind.VECTORS_DIFFER, _POSTS, "does not have the posts of the release in their order")
    return False


def _ids(run: Verification, names: Sequence[str]) -> Iterator[pa.Table]:
    """The ids of a table's rows, some at a time."""
    for name in names:
        for table in batches(run, name, columns=["id"]):
            yield pa.table({"id": table["id"].cast(pa.int64())})


def _rows(run: Verification, schema: pa.Schema, names: Sequence[str]) -> Iterator[pa.Table]:
    for name in names:
        for table in batches(run, name, columns=schema.names):
            yield table.cast(schema)


def _check_lengths(run: Verification, schema: pa.Schema, names: Sequence[str]) -> None:
    for table in _rows(run, schema, names):
        wrong = table.filter(pc.not_equal(pc.list_value_length(table["vector"]), DIMENSIONS))
        for key in wrong.column(0).to_pylist():
            run.add(Kind.VECTORS_DIFFER, str(key), f"its vector does not have {DIMENSIONS} numbers")


def _compare(run: Verification, tags: Sequence[str], posts: Sequence[str], *, all_posts: int) -> None:
    """Name the tags and posts whose vector is another one."""
    with tempfile.TemporaryFile(prefix=".vectors-") as file:
        learned = Learner(reader(run.folder), file, all_posts=all_posts).learn()
        _compare_tags(run, tags, learned)
        give_back()
        for each in differences(_rows(run, POST_VECTORS_SCHEMA, posts), post_tables(learned)):
            run.add(Kind.VECTORS_DIFFER, f"post {each.id}", _WRONG)


def _compare_tags(run: Verification, files: Sequence[str], learned: Learned) -> None:
    expected = (table for table in tag_tables(learned, rows=ROWS) if table.num_rows)
    pairs = itertools.zip_longest(rechunk(_rows(run, TAG_VECTORS_SCHEMA, files), ROWS), expected)
    if all(ours is not None and theirs is not None and ours.equals(theirs) for ours, theirs in pairs):
        return
    ours, theirs = (
        {row["name"]: row for table in tables for row in table.to_pylist()}
        for tables in (_rows(run, TAG_VECTORS_SCHEMA, files), tag_tables(learned, rows=ROWS))
    )
    wrong = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    for name in wrong or [_TAGS]:
        run.add(Kind.VECTORS_DIFFER, name, _WRONG)

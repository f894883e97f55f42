"""Writes ``parquet/tag_vectors-….parquet`` and ``parquet/post_vectors-….parquet`` from the tables of a release."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import write_parquet, write_shards
from danbooru_pipeline.release.tables.search_index import reader
from danbooru_pipeline.release.tables.vectors.learn import Learned, Learner
from danbooru_pipeline.release.tables.vectors.nearest import nearest
from danbooru_pipeline.release_paths import POST_VECTORS, TAG_VECTORS, parquet_path

TAG_VECTORS_SCHEMA: Final = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("posts", pa.int64(), nullable=False),
        pa.field("nearest", pa.list_(pa.string()), nullable=False),
        pa.field("vector", pa.list_(pa.int8()), nullable=False),
    ],
    metadata={"danbooru_pipeline.schema": "1"},
)
POST_VECTORS_SCHEMA: Final = pa.schema(
    [pa.field("id", pa.int64(), nullable=False), pa.field("vector", pa.list_(pa.int8()), nullable=False)],
    metadata={"danbooru_pipeline.schema": "1"},
)
#: Small, so that a reader of one tag reads little.
_GROUP_ROWS: Final = 4_000
#: Tags that are named as neighbours, for each tag, out of the most frequent ones.
_NEAREST: Final = 10
_AMONG: Final = 4_096


def write_vectors(folder: Path, *, posts: int) -> None:
    """Write both tables of a tree whose posts and counts of tags are written."""
    with tempfile.TemporaryFile(prefix=".vectors-", dir=folder) as file:
        learned = Learner(reader(folder), file, all_posts=posts).learn()
        path = folder / parquet_path(TAG_VECTORS, 0, of=1)
        write_parquet(path, tag_tables(learned, rows=_GROUP_ROWS), schema=TAG_VECTORS_SCHEMA, dictionary=("category",))
        write_shards(
            post_tables(learned),
            posts,
            path_of=lambda n, of: folder / parquet_path(POST_VECTORS, n, of=of),
            schema=POST_VECTORS_SCHEMA,
            dictionary=(),
        )


def tag_tables(learned: Learned, *, rows: int) -> Iterator[pa.Table]:
    """The vectors of tags and the names of their neighbours, sorted by name, so many rows at a time.

    The names of all neighbours are ten times as many as tags, and never there at once. Without a tag it is one table.
    """
    words, vectors = learned.vocabulary, learned.tags
    found = nearest(vectors, vectors[:_AMONG], most=_NEAREST)
    near = np.fromiter(itertools.chain.from_iterable(found), np.int32)
    near = near.reshape(len(vectors), len(near) // max(1, len(vectors)))
    order = pc.array_sort_indices(words.names).to_numpy()  # by bytes, which sort as characters do
    for first in range(0, max(1, len(order)), rows):
        some = order[first : first + rows]
        names = _lists(words.names.take(pa.array(near[some].ravel())), len(some))
        bytes_ = _lists(pa.array(vectors[some].ravel()), len(some))
        own = (words.names.take(pa.array(some)), words.categories.take(pa.array(some)), words.posts[some])
        columns = zip((*own, names, bytes_), TAG_VECTORS_SCHEMA, strict=True)
        arrays = [pa.array(column, field.type) for column, field in columns]
        yield pa.Table.from_arrays(arrays, schema=TAG_VECTORS_SCHEMA)


def post_tables(learned: Learned) -> Iterator[pa.Table]:
    """The vectors of posts, sorted by id, some at a time."""
    for ids, vectors in learned.posts:
        yield pa.Table.from_arrays(
            [pa.array(ids, pa.int64()), _lists(pa.array(vectors.ravel()), len(vectors))], schema=POST_VECTORS_SCHEMA
        )


def _lists(values: pa.Array, rows: int) -> pa.Array:
    """Values as so many lists of the same length."""
    starts = np.arange(rows + 1, dtype=np.int32) * (len(values) // max(1, rows))
    return pa.ListArray.from_arrays(pa.array(starts), values)

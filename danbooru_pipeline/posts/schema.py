"""The one Arrow schema of posts, whatever dialect they come in. No network, no clock."""

from collections.abc import Iterable
from typing import Any, Final, NewType

import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.io.parquet import store_options
from danbooru_pipeline.layout import INT64_MAX

PostRow = dict[str, Any]
#: A row that went through `completed`, with every column of `POST_SCHEMA`: only such a row decides anything.
CompleteRow = NewType("CompleteRow", dict[str, Any])

TIMESTAMP: Final = pa.timestamp("us", tz="UTC")

#: One tag of a post: its id in the table of tags, and its category (0 general, 1 artist, 3 copyright, 4 character,
#: 5 meta). Both are null where the source does not say.
TAG: Final = pa.struct([("id", pa.int64()), ("name", pa.string()), ("category", pa.int8())])

#: Category number -> its name in `tag_string_NAME`, in the order in which the site names them.
CATEGORIES: Final = {0: "general", 1: "artist", 3: "copyright", 4: "character", 5: "meta"}

#: Where a row has its tags of one category.
TAG_STRINGS: Final = tuple(f"tag_string_{title}" for title in CATEGORIES.values())

#: Columns in the order in which the site writes them (2021 to today; the three ``is_*_locked`` until January 2022).
#: The last five are our own:
#:   `tags`, `pools`, `favs`: as the source gives them for 2017 to 2020; else filled from the side tables in a release
#:   `extra`: columns that are not in this list and values of another type, as a JSON object
#:   `raw`: the line of an earlier release, where writing the row in its dialect would give a different line
POST_SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("created_at", TIMESTAMP, nullable=False),
        ("uploader_id", pa.int64()),
        ("score", pa.int64()),
        ("source", pa.string()),
        ("md5", pa.string()),
        ("last_comment_bumped_at", TIMESTAMP),
        ("rating", pa.string()),
        ("image_width", pa.int64()),
        ("image_height", pa.int64()),
        ("tag_string", pa.string()),
        ("is_note_locked", pa.bool_()),
        ("fav_count", pa.int64()),
        ("file_ext", pa.string()),
        ("last_noted_at", TIMESTAMP),
        ("is_rating_locked", pa.bool_()),
        ("parent_id", pa.int64()),
        ("has_children", pa.bool_()),
        ("approver_id", pa.int64()),
        ("tag_count_general", pa.int64()),
        ("tag_count_artist", pa.int64()),
        ("tag_count_character", pa.int64()),
        ("tag_count_copyright", pa.int64()),
        ("file_size", pa.int64()),
        ("is_status_locked", pa.bool_()),
        ("up_score", pa.int64()),
        ("down_score", pa.int64()),
        ("is_pending", pa.bool_()),
        ("is_flagged", pa.bool_()),
        ("is_deleted", pa.bool_()),
        ("tag_count", pa.int64()),
        ("updated_at", TIMESTAMP),
        ("is_banned", pa.bool_()),
        ("pixiv_id", pa.int64()),
        ("last_commented_at", TIMESTAMP),
        ("has_active_children", pa.bool_()),
        ("bit_flags", pa.int64()),
        ("tag_count_meta", pa.int64()),
        ("has_large", pa.bool_()),
        ("has_visible_children", pa.bool_()),
        ("tag_string_general", pa.string()),
        ("tag_string_character", pa.string()),
        ("tag_string_copyright", pa.string()),
        ("tag_string_artist", pa.string()),
        ("tag_string_meta", pa.string()),
        ("file_url", pa.string()),
        ("large_file_url", pa.string()),
        ("preview_file_url", pa.string()),
        ("tags", pa.list_(TAG)),
        ("pools", pa.list_(pa.int64())),
        ("favs", pa.list_(pa.int64())),
        ("extra", pa.string()),
        ("raw", pa.string()),
    ],
    metadata={"danbooru_pipeline.schema": "2"},
)

OUR_COLUMNS: Final = ("tags", "pools", "favs", "extra", "raw")
#: The columns of the site alone.
SITE_COLUMNS: Final = tuple(name for name in POST_SCHEMA.names if name not in OUR_COLUMNS)

#: Posts that were asked for again since the sweep; expunged ones as they were last seen.
REFRESHED_SCHEMA: Final = POST_SCHEMA.append(pa.field("is_expunged", pa.bool_(), nullable=False))

#: Columns with few distinct values, for which a dictionary is small; for the others it only costs time.
DICTIONARY_COLUMNS: Final = ["rating", "file_ext"]


def conform(table: pa.Table, schema: pa.Schema = POST_SCHEMA) -> pa.Table:
    """A table with the columns of a schema; columns that an older release or store lacks are null."""
    if table.schema.equals(schema, check_metadata=True):
        return table
    held = set(table.column_names)
    columns = [
        _typed(table[field.name], field.type) if field.name in held else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _typed(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    """A column of a type, untouched if it is; types of lists that differ in the name of their items count as equal."""
    return column if column.type.equals(type_) and not pa.types.is_nested(type_) else column.cast(type_)


def posts_table(rows: Iterable[PostRow]) -> pa.Table:
    """Rows as an Arrow table of `POST_SCHEMA`, sorted by id."""
    return pa.Table.from_pylist(sorted(rows, key=lambda row: row["id"]), schema=POST_SCHEMA)


def posts_writer(file: Any, *, rows: int = INT64_MAX) -> pq.ParquetWriter:
    """A Parquet writer of posts into a binary file; of many, if nobody says how many."""
    return pq.ParquetWriter(file, POST_SCHEMA, use_dictionary=DICTIONARY_COLUMNS, **store_options(rows))


def write_posts(table: pa.Table, file: Any) -> None:
    """Write a table of posts as Parquet into a binary file."""
    with posts_writer(file, rows=table.num_rows) as writer:
        writer.write_table(table)

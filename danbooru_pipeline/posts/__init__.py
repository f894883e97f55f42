"""The post: one Arrow schema, the dialects that are parsed into it and written from it. No network, no clock."""

from danbooru_pipeline.lazy import names_of

#: As `typing.TYPE_CHECKING`, whose import alone takes milliseconds.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from danbooru_pipeline.posts.arrow_columns import require_columns, require_values
    from danbooru_pipeline.posts.arrow_rows import as_json, type_batch
    from danbooru_pipeline.posts.completed import complete_rows
    from danbooru_pipeline.posts.dialect_2017 import encode_2017, pool_categories, pools_with_categories
    from danbooru_pipeline.posts.dialect_2021 import encode_2021, encode_2021_complete, encode_record, to_2021_dialect
    from danbooru_pipeline.posts.lines import LineTyper, Typed, json_objects
    from danbooru_pipeline.posts.post import MD5, Fetch, Post, post_of, read_posts
    from danbooru_pipeline.posts.record import RejectedRow, parse_api_record, parse_record, parse_timestamp
    from danbooru_pipeline.posts.schema import (
        DICTIONARY_COLUMNS,
        POST_SCHEMA,
        REFRESHED_SCHEMA,
        TIMESTAMP,
        CompleteRow,
        PostRow,
        conform,
        posts_table,
        posts_writer,
        write_posts,
    )
    from danbooru_pipeline.posts.tags import TagIds, tag_lists
else:
    __getattr__ = names_of(
        __name__,
        {
            "arrow_columns": "require_columns require_values",
            "arrow_rows": "as_json type_batch",
            "completed": "complete_rows",
            "dialect_2017": "encode_2017 pool_categories pools_with_categories",
            "dialect_2021": "encode_2021 encode_2021_complete encode_record to_2021_dialect",
            "lines": "LineTyper Typed json_objects",
            "post": "MD5 Fetch Post post_of read_posts",
            "record": "RejectedRow parse_api_record parse_record parse_timestamp",
            "schema": "DICTIONARY_COLUMNS POST_SCHEMA REFRESHED_SCHEMA TIMESTAMP CompleteRow PostRow conform "
            "posts_table posts_writer write_posts",
            "tags": "TagIds tag_lists",
        },
    )

__all__ = [
    "DICTIONARY_COLUMNS",
    "MD5",
    "POST_SCHEMA",
    "REFRESHED_SCHEMA",
    "TIMESTAMP",
    "CompleteRow",
    "Fetch",
    "LineTyper",
    "Post",
    "PostRow",
    "RejectedRow",
    "TagIds",
    "Typed",
    "as_json",
    "complete_rows",
    "conform",
    "encode_2017",
    "encode_2021",
    "encode_2021_complete",
    "encode_record",
    "json_objects",
    "parse_api_record",
    "parse_record",
    "parse_timestamp",
    "pool_categories",
    "pools_with_categories",
    "post_of",
    "posts_table",
    "posts_writer",
    "read_posts",
    "require_columns",
    "require_values",
    "tag_lists",
    "to_2021_dialect",
    "type_batch",
    "write_posts",
]

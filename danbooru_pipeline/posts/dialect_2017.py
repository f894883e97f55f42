"""The dialect of Danbooru2017 to 2020: tags as a list of objects, pools and favourites in the post, no nulls.

Integers are strings; a missing integer is ``"0"`` and a missing time is 1970. Pools are their ids followed by their
categories. A line that came in this dialect is written with the same bytes.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.fast_json import decode, encode
from danbooru_pipeline.io.parquet import one_chunk
from danbooru_pipeline.posts.json_text import (
    ObjectLines,
    escaped,
    integer_lists,
    joined_lists,
    with_markup_escaped,
    with_raw,
)
from danbooru_pipeline.posts.record import INTEGER
from danbooru_pipeline.posts.schema import POST_SCHEMA

COLUMNS_2017: Final = (
    *("id", "created_at", "uploader_id", "score", "source", "md5", "last_commented_at", "rating", "image_width"),
    *("image_height", "is_note_locked", "file_ext", "last_noted_at", "is_rating_locked", "parent_id", "has_children"),
    *("approver_id", "file_size", "is_status_locked", "up_score", "down_score", "is_pending", "is_flagged"),
    *("is_deleted", "updated_at", "is_banned", "pixiv_id"),
)


def encode_2017(table: pa.Table, *, pools: pa.Array | None = None) -> bytes:
    """Rows of `POST_SCHEMA` as lines.

    Args:
        table: the rows; those without `tags` get an empty list (`tag_lists` fills the column).
        pools: JSON array of the pools of each row; replaces the column and the pools in `extra`.
    """
    # Made here: before its first scalar Arrow imports pandas, which loading the definitions must not take.
    epoch = pa.scalar(0, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    objects = ObjectLines()
    for name in COLUMNS_2017:
        column = one_chunk(table[name])
        kind = POST_SCHEMA.field(name).type
        if pa.types.is_integer(kind):
            objects.integer(name, column.fill_null(0))
        elif pa.types.is_timestamp(kind):
            objects.instant(name, column.fill_null(epoch))
        elif pa.types.is_boolean(kind):
            objects.boolean(name, column.fill_null(fill_value=False))
        else:
            objects.text(name, column.fill_null(""))
    objects.json("tags", _tag_lists(one_chunk(table["tags"])))
    objects.json("pools", pools if pools is not None else pool_lists(table))
    objects.json("favs", integer_lists(one_chunk(table["favs"])))
    return with_raw(with_markup_escaped(objects.lines()), one_chunk(table["raw"]), dialect_2017=True)


def _tag_lists(tags: pa.Array) -> pa.Array:
    items = tags.flatten()
    ids, categories = (items.field(name).fill_null(0).cast(pa.string()) for name in ("id", "category"))
    names = escaped(items.field("name"))
    objects = pc.binary_join_element_wise('{"id":"', ids, '","name":"', names, '","category":"', categories, '"}', "")
    return joined_lists(tags, objects)


def pool_lists(table: pa.Table) -> pa.Array:
    """The pools of each row as a JSON array, with their categories where the source gives them."""
    numbers = integer_lists(one_chunk(table["pools"]))
    extra = one_chunk(table["extra"])
    if extra.null_count == len(extra):
        return numbers
    mixed = pa.array(map(_mixed_pools, extra.to_pylist()), pa.string())
    return pc.coalesce(mixed, numbers)


def pool_categories(lines: Iterable[bytes]) -> dict[int, str]:
    """Id -> category of the pools in lines of their table; of a pool without one it is empty."""
    found: dict[int, str] = {}
    for line in lines:
        record = decode(line)
        if isinstance(record, dict) and INTEGER.fullmatch(str(record.get("id"))):
            category = record.get("category")
            found[int(record["id"])] = category if isinstance(category, str) else ""
    return found


def pools_with_categories(table: pa.Table, categories: Mapping[int, str]) -> pa.Array:
    """The same, and where the source gives no pools, those of the table of pools with their categories."""
    pools = one_chunk(table["pools"])
    if not categories or not len(pools.flatten()):
        return pool_lists(table)
    texts = [
        [f'"{pool}"' for pool in row] + [encode(c).decode() for pool in row if (c := categories.get(pool))]
        for row in pools.fill_null([]).to_pylist()
    ]
    made = pa.array(texts, pa.list_(pa.string()))
    given = pc.match_substring(one_chunk(table["extra"]), '"pools":').fill_null(fill_value=False)
    return pc.if_else(given, pool_lists(table), joined_lists(made, made.flatten()))


def _mixed_pools(extra: str | None) -> str | None:
    pools = decode(extra).get("pools") if extra is not None else None
    return encode(pools).decode() if isinstance(pools, list) else None

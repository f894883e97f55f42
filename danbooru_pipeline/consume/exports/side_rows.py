"""Which rows of a release's side tables belong to an export of some of its posts, and which table refers to which."""

import re
from collections.abc import Mapping
from typing import Final

from danbooru_pipeline.consume.exports.used_tags import open_side_table
from danbooru_pipeline.consume.windows import ChosenRows
from danbooru_pipeline.io.odd_columns import number_sql, numbers_sql, text_sql

_OF_CHOSEN: Final = "{post_id} IN (SELECT id FROM chosen)"
_OF_USED_TAG: Final = "IN (SELECT name FROM used_tags)"

#: Side table -> the SQL condition on its rows, with its columns in braces. Tables that are about neither posts nor tags
#: (the forum) are not here.
CONDITIONS: Final[dict[str, str]] = {
    "pools": "{id} IN (SELECT pool_id FROM chosen_pools)",
    "notes": _OF_CHOSEN,
    "artist_commentaries": _OF_CHOSEN,
    "comments": _OF_CHOSEN,
    "favorites": _OF_CHOSEN,
    "tag_aliases": f"{{consequent_name}} {_OF_USED_TAG}",
    "tag_implications": f"{{antecedent_name}} {_OF_USED_TAG} AND {{consequent_name}} {_OF_USED_TAG}",
    "artists": f"{{name}} {_OF_USED_TAG}",
    "artist_urls": "{artist_id} IN (SELECT id FROM chosen_artists)",
    "wiki_pages": f"{{title}} {_OF_USED_TAG}",
}
#: Columns by which rows are joined: numbers, and names of tags.
_NUMBERS: Final = ("id", "post_id", "artist_id")
_NAMES: Final = ("antecedent_name", "consequent_name", "name", "title")
#: Side table -> column -> the table whose `id` it has.
REFERENCES: Final[dict[str, dict[str, str]]] = {
    **{name: {"post_id": "posts"} for name in ("notes", "artist_commentaries", "comments", "favorites")},
    "artist_urls": {"artist_id": "artists"},
}


def open_side_tables(rows: ChosenRows) -> dict[str, dict[str, str]]:
    """Open the side tables that the release has, as views ``side_NAME``; the pools and the artists of chosen posts.

    `used_tags` must have been counted. Returns the columns of each table with their types.
    """
    found: dict[str, dict[str, str]] = {}
    for name in CONDITIONS:
        columns = open_side_table(rows, name)
        needed = set(re.findall(r"{(\w+)}", CONDITIONS[name])) | {"id"} | ({"post_ids"} if name == "pools" else set())
        if needed <= columns.keys() and (name != "artist_urls" or "artists" in found):
            found[name] = columns
            _choose(rows, name, columns)
    return found


def _choose(rows: ChosenRows, name: str, columns: Mapping[str, str]) -> None:
    """Make the table of the ids by which other tables refer to this one, if any do."""
    number = number_sql("id", columns["id"])
    if name == "artists":
        rows.run(f"CREATE TABLE chosen_artists AS SELECT {number} AS id FROM ({side_rows(name, columns)})")
    if name == "pools":
        ids = numbers_sql("post_ids", columns["post_ids"])
        rows.run(
            "CREATE TABLE chosen_pools AS SELECT DISTINCT ON (pool_id, position) pool_id, post_id, position FROM "
            "(SELECT pool_id, unnest(post_ids) AS post_id, generate_subscripts(post_ids, 1) AS position FROM "
            f"(SELECT {number} AS pool_id, {ids} AS post_ids FROM side_pools)) "
            "WHERE pool_id IS NOT NULL AND post_id IN (SELECT id FROM chosen) ORDER BY pool_id, position, post_id"
        )


def side_rows(name: str, columns: Mapping[str, str], *, chosen: str = "*") -> str:
    """The SQL of the rows of a side table that belong to the chosen posts.

    A row whose number or name is none, as a source may have it, belongs to no post.

    Args:
        name: of the table.
        columns: with their types.
        chosen: what is wanted of each row.
    """
    numbers = {each: number_sql(each, columns[each]) for each in _NUMBERS if each in columns}
    names = {each: text_sql(each) for each in _NAMES if each in columns}
    return f"SELECT {chosen} FROM side_{name} WHERE {CONDITIONS[name].format(**numbers, **names)} ORDER BY id"

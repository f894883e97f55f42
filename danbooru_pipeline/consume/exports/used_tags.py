"""The tags of the chosen posts, counted among them, with their ids and categories; side tables beside them.

A tag that the release's table of tags does not have (it was renamed or deleted meanwhile) gets a negative id, so no id
of the site is ever taken for another tag's.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from danbooru_pipeline.consume.windows import ChosenRows, Window
from danbooru_pipeline.io.odd_columns import mark_sql, number_sql, text_sql
from danbooru_pipeline.io.sql import view
from danbooru_pipeline.posts.schema import CATEGORIES
from danbooru_pipeline.release.tables.image_rows import release_shards

#: Category name -> its number.
CATEGORY_NUMBERS: Final = {name: number for number, name in CATEGORIES.items()}


@dataclass(frozen=True, slots=True)
class UsedTag:
    """A tag of the chosen posts."""

    id: int
    name: str
    category: int
    posts: int
    is_deprecated: bool


def open_side_table(rows: ChosenRows, name: str) -> dict[str, str]:
    """Make a side table a view of its own name with ``side_`` before it.

    Returns the type of each of its columns, as DuckDB names it; none if the table is not there.

    Args:
        rows: of the release.
        name: from our own list.
    """
    if not release_shards(rows.release, f"parquet/{name}"):
        return {}
    view(rows.run("SELECT 1"), f"side_{name}", rows.release, f"parquet/{name}-*.parquet")
    return {row["column_name"]: row["column_type"] for row in rows.dicts(f"DESCRIBE side_{name}")}


def _known_tags(rows: ChosenRows) -> str:
    """The SQL of the tags that the release's table knows: every name once, and no id of two names."""
    columns = open_side_table(rows, "tags")
    if not {"id", "name"} <= columns.keys():
        return "SELECT NULL::BIGINT AS id, NULL::VARCHAR AS name, NULL::BOOLEAN AS deprecated WHERE false"
    number, deprecated = number_sql("id", columns["id"]), mark_sql("is_deprecated")
    return (
        "SELECT CASE WHEN id > 0 AND row_number() OVER (PARTITION BY id ORDER BY name) = 1 THEN id END AS id, "
        f"name, deprecated FROM (SELECT min({number}) AS id, {text_sql('name')} AS name, "
        f"bool_or({deprecated if 'is_deprecated' in columns else 'false'}) AS deprecated FROM side_tags GROUP BY 2)"
    )


def more_of_tags(rows: ChosenRows, *, known: Collection[str]) -> tuple[list[str], str]:
    """Columns that the release's table of tags has beyond those that are known, and the SQL that joins them as `t`."""
    columns = open_side_table(rows, "tags")
    more = [name for name in columns if name not in known]
    if not more or not {"id", "name"} <= columns.keys():
        return [], ""
    number = number_sql("id", columns["id"])
    return more, (
        f"LEFT JOIN (SELECT DISTINCT ON ({number}, {text_sql('name')}) {number} AS tag_id, {text_sql('name')} AS tag, "
        "* FROM side_tags ORDER BY ALL) t ON t.tag_id = u.id AND t.tag = u.name"
    )


def count_used_tags(rows: ChosenRows) -> None:
    """Make the table ``used_tags`` of these rows: id, name, category, posts, is_deprecated."""
    by_category = " UNION ALL ".join(
        f"SELECT unnest(string_split(tag_string_{name}, ' ')) AS name, {number} AS category FROM posts "
        "WHERE id IN (SELECT id FROM chosen)"
        for name, number in CATEGORY_NUMBERS.items()
    )
    rows.run(
        f"""
        CREATE TABLE used_tags AS
        WITH counted AS (
            SELECT name, count(*) AS posts FROM (
                SELECT unnest(list_distinct(string_split(tag_string, ' '))) AS name FROM posts
                WHERE id IN (SELECT id FROM chosen)
            ) WHERE name <> '' GROUP BY name
        ), placed AS (SELECT name, min(category) AS category FROM ({by_category}) GROUP BY name),
        known AS ({_known_tags(rows)})
        SELECT coalesce(known.id, -row_number() OVER (PARTITION BY known.id IS NULL ORDER BY counted.name)) AS id,
            counted.name, coalesce(placed.category, 0) AS category, counted.posts,
            coalesce(known.deprecated, false) AS is_deprecated
        FROM counted LEFT JOIN placed USING (name) LEFT JOIN known USING (name)
        """
    )


def post_tag_pairs(window: Window) -> str:
    """The SQL of the post and tag ids of a window, in the order of both."""
    within = f"id BETWEEN {window.first} AND {window.last} AND id IN (SELECT id FROM chosen)"
    names = "unnest(list_distinct(string_split(tag_string, ' ')))"
    return (
        f"SELECT p.id AS post_id, t.id AS tag_id FROM (SELECT id, {names} AS name FROM posts WHERE {within}) p "
        "JOIN used_tags t ON p.name = t.name ORDER BY p.id, t.id"
    )


def used_tags(rows: ChosenRows, *, order: str = "posts DESC, name") -> Iterator[UsedTag]:
    """The tags that `count_used_tags` counted, those of most posts first."""
    query = f"SELECT id, name, category, posts, is_deprecated FROM used_tags ORDER BY {order}"
    return (UsedTag(**row) for row in rows.dicts(query))

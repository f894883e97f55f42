"""Which rows of a release's side tables belong to an export of some of its posts, and which table refers to which."""

from typing import Final

from danbooru_pipeline.consume.exports.used_tags import open_side_table
from danbooru_pipeline.consume.windows import ChosenRows

_OF_CHOSEN: Final = "post_id IN (SELECT id FROM chosen)"
_OF_USED_TAG: Final = "IN (SELECT name FROM used_tags)"

#: Side table -> the SQL condition on its rows. Tables that are about neither posts nor tags (the forum) are not here.
CONDITIONS: Final[dict[str, str]] = {
    "pools": "id IN (SELECT pool_id FROM chosen_pools)",
    "notes": _OF_CHOSEN,
    "artist_commentaries": _OF_CHOSEN,
    "comments": _OF_CHOSEN,
    "favorites": _OF_CHOSEN,
    "tag_aliases": f"consequent_name {_OF_USED_TAG}",
    "tag_implications": f"antecedent_name {_OF_USED_TAG} AND consequent_name {_OF_USED_TAG}",
    "artists": f"name {_OF_USED_TAG}",
    "artist_urls": f"artist_id IN (SELECT id FROM side_artists WHERE name {_OF_USED_TAG})",
    "wiki_pages": f"title {_OF_USED_TAG}",
}
#: Columns that a table must have to be of use here.
_NEEDED: Final[dict[str, str]] = {
    "pools": "post_ids",
    **dict.fromkeys(("notes", "artist_commentaries", "comments", "favorites"), "post_id"),
    **dict.fromkeys(("tag_aliases", "tag_implications"), "consequent_name"),
    "artists": "name",
    "artist_urls": "artist_id",
    "wiki_pages": "title",
}
#: Side table -> column -> the table whose `id` it has.
REFERENCES: Final[dict[str, dict[str, str]]] = {
    **{name: {"post_id": "posts"} for name in ("notes", "artist_commentaries", "comments", "favorites")},
    "artist_urls": {"artist_id": "artists"},
}


def open_side_tables(rows: ChosenRows) -> list[str]:
    """Open the side tables that the release has, as views ``side_NAME``, and the pools of the chosen posts.

    `used_tags` must have been counted. Returns their names.
    """
    names = []
    for name in CONDITIONS:
        columns = open_side_table(rows, name)
        if _NEEDED[name] not in columns or "id" not in columns:
            continue
        if name == "artist_urls" and "artists" not in names:
            continue
        names.append(name)
    if "pools" in names:
        rows.run(
            "CREATE TABLE chosen_pools AS SELECT pool_id, post_id, position FROM (SELECT id AS pool_id, "
            "unnest(post_ids) AS post_id, generate_subscripts(post_ids, 1) AS position FROM side_pools) "
            "WHERE post_id IN (SELECT id FROM chosen)"
        )
    return names


def side_rows(name: str, *, columns: str = "*") -> str:
    """The SQL of the rows of a side table that belong to the chosen posts."""
    return f"SELECT {columns} FROM side_{name} WHERE {CONDITIONS[name]} ORDER BY id"

"""``metadata.yml`` of a database for datasette: titles, terms, and how its tables are best shown."""

from typing import Any, Final

import msgspec

from danbooru_pipeline.release.release_json import Release

#: Table -> what datasette shows it with.
_TABLES: Final[dict[str, dict[str, Any]]] = {
    "posts": {
        "description": "One row per post, with the columns of the site; path, width and height are those of its file.",
        "sort_desc": "id",
        "facets": ["rating", "file_ext"],
        "size": 50,
    },
    "files": {"description": "What became of the file of each post, and why.", "facets": ["status", "reason"]},
    "tags": {
        "description": "Tags with the site's ids; post_count is counted among these posts. Negative ids: tags that the "
        "site's table of tags does not have.",
        "label_column": "name",
        "sort_desc": "post_count",
        "facets": ["category"],
    },
    "post_tags": {"description": "Which post has which tag."},
    "pools": {"label_column": "name", "description": "Pools that have at least one of these posts."},
    "pool_posts": {"description": "Posts of the pools, in their order; only posts of this database."},
    "artist_commentaries": {"label_column": "original_title"},
    "artists": {"label_column": "name"},
    "wiki_pages": {"label_column": "title"},
}


def datasette_metadata(about: Release, name: str) -> str:
    """The text of the file; JSON, which is YAML, so no value can be misread.

    Args:
        about: the release.
        name: of the database's file, by which datasette calls it.
    """
    text = {
        "title": f"{about.name} {about.version}",
        "description": "Posts, tags and files of a release of a booru.",
        "license": "Works belong to their artists; see NOTICE.md of the release",
        "source": f"{about.name} {about.version}",
        "databases": {name.rpartition(".")[0] or name: {"tables": _TABLES}},
    }
    if url := about.options.get("url"):
        text["source_url"] = f"{url}/{about.name}/"
    return msgspec.json.format(msgspec.json.encode(text)).decode() + "\n"

"""The SQLite of a release: tables and columns as in the metadata, so whoever knows the site knows the database.

Keys and foreign keys are declared, so datasette links the tables; names and commentaries have a full-text index; views
answer what is asked most often.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import pyarrow as pa

from danbooru_pipeline.consume.exports.side_rows import REFERENCES
from danbooru_pipeline.posts.schema import CATEGORIES

#: Table -> columns of its full-text index, and the column that names a row.
FULL_TEXT: Final[dict[str, tuple[str, ...]]] = {
    "tags": ("name",),
    "artist_commentaries": ("original_title", "original_description", "translated_title", "translated_description"),
    "pools": ("name", "description"),
    "wiki_pages": ("title", "body"),
}
#: Columns that `post_tags`, `pool_posts` and the like answer better than text in a column would.
LISTS: Final = frozenset({"tags", "pools", "favs"})
_CATEGORY: Final = " ".join(f"WHEN {number} THEN '{name}'" for number, name in CATEGORIES.items())
TABLES: Final = """
CREATE TABLE tags (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, category INTEGER, post_count INTEGER{more});
CREATE TABLE post_tags (
    post_id INTEGER NOT NULL REFERENCES posts (id), tag_id INTEGER NOT NULL REFERENCES tags (id),
    PRIMARY KEY (post_id, tag_id)
) WITHOUT ROWID;
"""
INDEXES: Final = """
CREATE INDEX post_tags_by_tag ON post_tags (tag_id, post_id);
CREATE INDEX tags_by_count ON tags (post_count DESC);
CREATE INDEX posts_by_rating ON posts (rating, score);
CREATE INDEX posts_by_md5 ON posts (md5);
CREATE INDEX posts_by_parent ON posts (parent_id) WHERE parent_id IS NOT NULL;
"""
VIEWS: Final = f"""
CREATE VIEW post_files AS
    SELECT p.id, f.path, f.px512_path, f.status, f.reason, p.rating, p.score, p.tag_string, f.width, f.height
    FROM posts p JOIN files f ON f.id = p.id;
CREATE VIEW post_tag_names AS
    SELECT pt.post_id, t.name AS tag, CASE t.category {_CATEGORY} END AS category
    FROM post_tags pt JOIN tags t ON t.id = pt.tag_id;
CREATE VIEW top_tags AS
    SELECT id, name, CASE category {_CATEGORY} END AS category, post_count FROM tags ORDER BY post_count DESC;
CREATE VIEW missing_files AS SELECT id, status, reason FROM files WHERE path IS NULL;
"""


def sql_type(kind: pa.DataType) -> str:
    """The type of a column of SQLite."""
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "INTEGER"
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_binary(kind):
        return "BLOB"
    return "REAL" if pa.types.is_floating(kind) else "TEXT"


def pool_posts(keyed: Collection[str]) -> str:
    """The statement that makes the table of the posts of pools."""
    link = " REFERENCES pools (id)" if "pools" in keyed else ""
    return (
        f"CREATE TABLE pool_posts (pool_id INTEGER NOT NULL{link}, position INTEGER, "
        "post_id INTEGER NOT NULL REFERENCES posts (id), PRIMARY KEY (pool_id, position)) WITHOUT ROWID;"
    )


def create_table(
    name: str, schema: pa.Schema, *, references: dict[str, str] | None = None, keyed: Collection[str] | None = None
) -> str:
    """The statement that makes a table of an Arrow schema.

    Args:
        name: of the table.
        schema: its columns.
        references: column -> the table whose `id` it has, beside those that are known.
        keyed: tables whose `id` is their key; all of them by default.
    """
    links = REFERENCES.get(name, {}) | (references or {})
    links = {column: table for column, table in links.items() if keyed is None or table in keyed}
    columns = [
        f"{quoted(field.name)} {sql_type(field.type)}"
        + (" PRIMARY KEY" if field.name == "id" and (keyed is None or name in keyed) else "")
        + (f" REFERENCES {links[field.name]} (id)" if field.name in links else "")
        for field in schema
    ]
    return f"CREATE TABLE {quoted(name)} ({', '.join(columns)})"


def full_text(name: str, columns: Iterable[str], *, keyed: bool) -> str:
    """The statements that index the text of a table, as datasette finds it; by its `id` if that is its key."""
    wanted = [column for column in FULL_TEXT[name] if column in set(columns)]
    listed = ", ".join(map(quoted, wanted))
    row = "id" if keyed else "rowid"
    return (
        f'CREATE VIRTUAL TABLE {name}_fts USING fts5 ({listed}, content="{name}", content_rowid="{row}", '
        "tokenize=\"unicode61 separators '_'\");"
        f"INSERT INTO {name}_fts ({name}_fts) VALUES ('rebuild');"
    )


def insert(name: str, columns: Sequence[str]) -> str:
    """The statement that adds a row."""
    return f"INSERT INTO {quoted(name)} VALUES ({', '.join('?' * len(columns))})"


def quoted(name: str) -> str:
    """A name that came from a file, as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def plain(value: Any) -> Any:
    """A value as SQLite takes it: times as ISO text in UTC, lists as words."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    if hasattr(value, "isoformat"):
        return value.isoformat(sep=" ").removesuffix("+00:00")
    return str(value) if isinstance(value, dict) else value

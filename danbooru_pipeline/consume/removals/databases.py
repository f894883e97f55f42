"""Databases of an export without some posts: a copy is changed, packed, and renamed.

Packing matters: a deleted row stays in the file until then.

Counts of tags are left as they are: they say how often a tag was given, and name no post.
"""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import duckdb

from danbooru_pipeline.consume.exports.sqlite_schema import quoted
from danbooru_pipeline.consume.removals.gone import Gone
from danbooru_pipeline.io.atomic import commit_part, fsync_file, part_path, remove_parts_of

#: Tables whose `id` is that of a post; in others `post_id` is.
_OF_POSTS: Final = frozenset({"posts", "files", "post"})
#: The posts of a pool, without those that are gone.
_LISTED: Final = "list_filter({posts}, lambda id : coalesce(TRY_CAST(id AS BIGINT) NOT IN ({ids}), true))"
#: The same where the column became text, since a source has a pool whose posts are no list; texts without them stay.
_LISTED_AS_TEXT: Final = "TRY_CAST(post_ids AS VARCHAR[])"


def md5s_only_of(path: Path, ids: frozenset[int]) -> frozenset[str]:
    """MD5s that a database of DeepDanbooru has for these posts and for no other one."""
    with _opened(path) as database:
        columns = {row[1] for row in database.execute("PRAGMA table_info(posts)")}
        if not columns >= {"id", "md5"}:
            return frozenset()
        mine: set[str] = set()
        others: set[str] = set()
        for id_, md5 in database.execute("SELECT id, md5 FROM posts"):
            (mine if id_ in ids else others).add(md5)
    return frozenset(mine - others)


def sqlite_without(path: Path, gone: Gone, target: Path | None) -> int:
    """A SQLite database without the rows of these posts."""
    with _opened(path) as database:
        count = sum(_count(database, table, column, gone) for table, column in _sqlite_columns(database))
    if not count or target is None:
        return count
    remove_parts_of(target)
    part = part_path(target)
    shutil.copyfile(path, part)
    with contextlib.closing(sqlite3.connect(part)) as database:
        database.execute("PRAGMA secure_delete = ON")
        for table, column in _sqlite_columns(database):
            keys = ((id_,) for id_ in gone.ids)
            database.executemany(f"DELETE FROM {quoted(table)} WHERE {quoted(column)} = ?", keys)
        for name in _full_text(database):
            database.execute(f"INSERT INTO {quoted(name)} ({quoted(name)}) VALUES ('rebuild')")
        if "about" in _tables(database):
            database.execute("UPDATE about SET value = (SELECT count(*) FROM posts) WHERE name = 'posts'")
        database.commit()
        database.executescript("ANALYZE; VACUUM;")
    fsync_file(part)
    commit_part(part, target)
    return count


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        yield database


def _tables(database: sqlite3.Connection) -> list[str]:
    rows = database.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' AND "
        "name NOT LIKE 'sqlite_%' ORDER BY name"
    )
    return [row[0] for row in rows]


def _full_text(database: sqlite3.Connection) -> list[str]:
    return [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL%fts5%'")]


def _sqlite_columns(database: sqlite3.Connection) -> list[tuple[str, str]]:
    """Table and column of all that names posts; what refers to posts comes first."""
    found = []
    for table in _tables(database):
        names = {row[1] for row in database.execute(f"PRAGMA table_info({quoted(table)})")}
        if column := _column_of(table, names):
            found.append((table, column))
    return sorted(found, key=lambda each: each[1] == "id")


def _column_of(table: str, names: set[str]) -> str | None:
    if "post_id" in names:
        return "post_id"
    return "id" if table in _OF_POSTS and "id" in names else None


def _count(database: sqlite3.Connection, table: str, column: str, gone: Gone) -> int:
    query = f"SELECT count(*) FROM {quoted(table)} WHERE {quoted(column)} = ?"
    return sum(database.execute(query, (id_,)).fetchone()[0] for id_ in gone.ids)


def duckdb_without(path: Path, gone: Gone, target: Path | None) -> int:
    """A DuckDB database without the rows of these posts: DuckDB keeps what is deleted, so its tables are copied."""
    ids = ", ".join(map(str, sorted(gone.ids)))
    with duckdb.connect(":memory:") as session:
        session.execute(f"ATTACH '{_literal(path)}' AS old (READ_ONLY)")
        conditions = _duckdb_conditions(session, ids)
        count = sum(_rows(session, table, condition) for table, condition in conditions.items() if condition)
        if not count or target is None:
            return count
        remove_parts_of(target)
        part = part_path(target)
        session.execute(f"ATTACH '{_literal(part)}' AS new")
        for table, condition in conditions.items():
            kept = f" WHERE NOT coalesce({condition}, false)" if condition else ""
            columns = _pools_without(session, ids) if table == "pools" else "*"
            session.execute(f"CREATE TABLE new.{quoted(table)} AS SELECT {columns} FROM old.{quoted(table)}{kept}")
        session.execute("DETACH new")
    fsync_file(part)
    commit_part(part, target)
    return count


def _pools_without(session: duckdb.DuckDBPyConnection, ids: str) -> str:
    """The SQL of the columns of pools, without these posts in their lists."""
    kinds = {name: kind for name, kind, *_ in session.execute("DESCRIBE old.pools").fetchall()}
    kind = kinds.get("post_ids", "")
    if kind.endswith("[]"):
        return f"* REPLACE ({_LISTED.format(posts='post_ids', ids=ids)} AS post_ids)"
    if kind != "VARCHAR":
        return "*"
    kept = _LISTED.format(posts=_LISTED_AS_TEXT, ids=ids)
    changed = f"len({kept}) < len({_LISTED_AS_TEXT})"
    return f"* REPLACE (CASE WHEN {changed} THEN to_json({kept})::VARCHAR ELSE post_ids END AS post_ids)"


def _literal(path: Path) -> str:
    return str(path).replace("'", "''")


def _duckdb_conditions(session: duckdb.DuckDBPyConnection, ids: str) -> dict[str, str | None]:
    """Table -> the condition on rows that are gone; None where it names no post."""
    rows = session.execute(
        "SELECT table_name, list(column_name) FROM duckdb_columns() WHERE database_name = 'old' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    columns = {table: _column_of(table, set(names)) for table, names in rows}
    return {table: column and f"TRY_CAST({quoted(column)} AS BIGINT) IN ({ids})" for table, column in columns.items()}


def _rows(session: duckdb.DuckDBPyConnection, table: str, condition: str) -> int:
    found = session.execute(f"SELECT count(*) FROM old.{quoted(table)} WHERE {condition}").fetchone()
    return int(found[0]) if found else 0

"""Other ways to answer the searches of `search`: DuckDB, and SQLite by a join and by FTS5.

Each is asked for the newest 100 posts, as `limit:100` asks; SQLite also for the number of all posts that are found,
which the index gives in any case and DuckDB counts in the same pass.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow.parquet as pq

#: The tags that posts have, and tags that they do not have.
Query: TypeAlias = tuple[list[str], list[str]]
#: Posts of an answer.
_NEWEST = 100
_POSTS = "PRAGMA cache_size=-500000; CREATE TABLE posts(id INTEGER PRIMARY KEY, rating TEXT);"
_PAIRS = "CREATE TABLE post_tags(tag TEXT, id INT, PRIMARY KEY(tag, id)) WITHOUT ROWID;"
_WORDS = (
    "CREATE VIRTUAL TABLE words USING fts5"
    "(tags, content='', detail='none', tokenize=\"unicode61 remove_diacritics 0 tokenchars '_'\");"
)


@dataclass(frozen=True, slots=True)
class Made:
    """What a file of an engine took: CPU seconds and bytes."""

    seconds: float
    size: int


def make_file(folder: Path, engine: str) -> Made:
    """Write the tables of an engine, whose file is kept."""
    path, began = file_of(folder, engine), time.process_time()
    database = sqlite3.connect(path)
    database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_POSTS}")
    posts = folder / "parquet" / "posts-*.parquet"
    if engine == "join":
        database.executescript(_PAIRS)
        database.executemany("INSERT INTO post_tags VALUES(?, ?)", _sorted_pairs(posts, spill=folder))
    else:
        database.executescript(_WORDS)
        for rows in _rows(folder, "tag_string"):
            database.executemany("INSERT INTO words(rowid, tags) VALUES(?, ?)", rows)
    for rows in _rows(folder, "rating"):
        database.executemany("INSERT INTO posts VALUES(?, ?)", rows)
    database.commit()
    database.close()
    return Made(time.process_time() - began, path.stat().st_size)


def file_of(folder: Path, engine: str) -> Path:
    """The file of an engine that has one."""
    return folder / f"{engine}.sqlite"


def _rows(folder: Path, column: str) -> Iterator[Iterator[tuple[Any, Any]]]:
    for file in sorted(folder.glob("parquet/posts-*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(100_000, columns=["id", column]):
            yield zip(*(values.to_pylist() for values in batch.columns), strict=True)


def _sorted_pairs(posts: Path, *, spill: Path) -> Iterator[tuple[str, int]]:
    """Pairs of a tag and a post in the order of their table, which is filled fastest so."""
    config = {"threads": 1, "memory_limit": "3GB", "temp_directory": str(spill / "duckdb")}
    with duckdb.connect(config=config) as connection:
        split = f"SELECT unnest(string_split(tag_string, ' ')) AS tag, id FROM '{posts}'"
        found = connection.execute(f"SELECT tag, id FROM ({split}) ORDER BY tag, id")
        while rows := found.fetchmany(100_000):
            yield from rows


def duck(folder: Path, query: Query) -> Callable[[], int]:
    """The query by DuckDB, as a scan of the tag strings."""
    wanted, excluded = query
    where = f"list_has_all(string_split(tag_string, ' '), {wanted}) AND rating IN ('g', 's')"
    where += f" AND NOT list_has_any(string_split(tag_string, ' '), {excluded})" if excluded else ""
    posts = folder / "parquet" / "posts-*.parquet"
    sql = f"SELECT count(*) OVER (), id FROM '{posts}' WHERE {where} ORDER BY id DESC LIMIT {_NEWEST}"
    connection = duckdb.connect(config={"threads": 1})
    return lambda: connection.execute(sql).fetchall()[0][0]


def joined(folder: Path, query: Query) -> Callable[[], int]:
    """The query as a join."""
    wanted, excluded = query
    sql = "FROM posts WHERE rating IN ('g', 's')"
    sql += "".join(f" AND id IN (SELECT id FROM post_tags WHERE tag = '{tag}')" for tag in wanted)
    sql += "".join(f" AND id NOT IN (SELECT id FROM post_tags WHERE tag = '{tag}')" for tag in excluded)
    return _asked(folder, "join", f"SELECT id {sql} ORDER BY id DESC LIMIT {_NEWEST}")


def joined_and_counted(folder: Path, query: Query) -> Callable[[], int]:
    """The number of all posts by a join that starts at the tags."""
    wanted, excluded = query
    sql = f"SELECT count(*) FROM (SELECT id FROM post_tags WHERE tag = '{wanted[0]}'"
    sql += "".join(f" INTERSECT SELECT id FROM post_tags WHERE tag = '{tag}'" for tag in wanted[1:])
    sql += "".join(f" EXCEPT SELECT id FROM post_tags WHERE tag = '{tag}'" for tag in excluded)
    return _asked(folder, "join", f"{sql}) JOIN posts USING (id) WHERE rating IN ('g', 's')")


def full_text(folder: Path, query: Query) -> Callable[[], int]:
    """The query by FTS5."""
    return _asked(folder, "fts5", f"SELECT posts.id {_matching(query)} ORDER BY words.rowid DESC LIMIT {_NEWEST}")


def full_text_and_counted(folder: Path, query: Query) -> Callable[[], int]:
    """The number of all posts by FTS5."""
    return _asked(folder, "fts5", f"SELECT count(*) {_matching(query)}")


def _matching(query: Query) -> str:
    wanted, excluded = query
    match = " AND ".join(f'"{tag}"' for tag in wanted) + "".join(f' NOT "{tag}"' for tag in excluded)
    tables = "FROM words JOIN posts ON posts.id = words.rowid"
    return f"{tables} WHERE words MATCH '{match}' AND rating IN ('g', 's')"


def _asked(folder: Path, engine: str, sql: str) -> Callable[[], int]:
    database = sqlite3.connect(file_of(folder, engine))
    return lambda: database.execute(sql).fetchall()[0][0]


#: Name -> what asks it; the counting ones apart, since they answer another question.
ENGINES: dict[str, Callable[[Path, Query], Callable[[], int]]] = {
    "DuckDB": duck,
    "SQLite join": joined,
    "join, count": joined_and_counted,
    "FTS5": full_text,
    "FTS5, count": full_text_and_counted,
}
#: The files that some of them need.
FILES = {"SQLite join": "join", "join, count": "join", "FTS5": "fts5", "FTS5, count": "fts5"}

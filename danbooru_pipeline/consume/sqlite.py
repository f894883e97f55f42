"""SQLite: posts, tags and which post has which tag, indexed both ways; pools and notes when the release has them.

Tables and columns are named as in the metadata, so whoever knows the site knows the database.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from danbooru_pipeline.consume.select import Chosen, Selection, select
from danbooru_pipeline.io.parquet import read_batches
from danbooru_pipeline.release.tables.image_rows import release_shards

CATEGORIES = {"general": 0, "artist": 1, "copyright": 3, "character": 4, "meta": 5}

_SCHEMA = """
CREATE TABLE posts (
    id INTEGER PRIMARY KEY, path TEXT, sha256 TEXT, file_ext TEXT, rating TEXT, score INTEGER, is_deleted INTEGER,
    width INTEGER, height INTEGER, tag_string TEXT
);
CREATE TABLE tags (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, category INTEGER, post_count INTEGER);
CREATE TABLE post_tags (post_id INTEGER, tag_id INTEGER, PRIMARY KEY (tag_id, post_id)) WITHOUT ROWID;
"""
_INDEXES = """
CREATE INDEX post_tags_by_post ON post_tags (post_id, tag_id);
CREATE INDEX tags_by_count ON tags (post_count DESC);
CREATE INDEX posts_by_rating ON posts (rating, score);
UPDATE tags SET post_count = (SELECT count(*) FROM post_tags WHERE tag_id = tags.id);
"""
_SIDE = {
    "pools": ("id", "name", "category", "description", "post_ids"),
    "notes": ("id", "post_id", "x", "y", "width", "height", "body"),
}


def write(release: Path, target: Path, selection: Selection) -> int:
    """Write the database. Returns the number of posts in it."""
    tags = _Tags()
    posts = 0
    with contextlib.closing(sqlite3.connect(target)) as database:
        database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _SCHEMA)
        for chunk in _chunks(select(release, selection, threads=os.cpu_count() or 1)):
            posts += len(chunk)
            database.executemany("INSERT INTO posts VALUES (?,?,?,?,?,?,?,?,?,?)", [_row(post) for post in chunk])
            pairs = [(post.id, tag) for post in chunk for tag in tags.of(post)]
            database.executemany("INSERT OR IGNORE INTO post_tags (post_id, tag_id) VALUES (?,?)", pairs)
        database.executemany("INSERT INTO tags (id, name, category) VALUES (?,?,?)", tags.rows())
        database.executescript(_INDEXES)
        for table, columns in _SIDE.items():
            _write_side(database, release, table, columns)
        database.commit()
        database.executescript("ANALYZE; PRAGMA synchronous = FULL;")
    return posts


def _chunks(posts: Iterable[Chosen], size: int = 20_000) -> Iterator[list[Chosen]]:
    held: list[Chosen] = []
    for post in posts:
        held.append(post)
        if len(held) == size:
            yield held
            held = []
    yield held


def _row(post: Chosen) -> tuple[Any, ...]:
    facts = (post.id, post.path, post.sha256, post.file_ext, post.rating, post.score, post.is_deleted)
    return (*facts, post.width, post.height, post.tag_string)


class _Tags:
    """Assigns numbers to tags in the order in which they are first seen."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._categories: dict[str, int] = {}

    def of(self, post: Chosen) -> Iterator[int]:
        """Numbers of a post's tags."""
        for category, number in CATEGORIES.items():
            for name in getattr(post, f"tag_string_{category}").split():
                self._categories.setdefault(name, number)
        for name in dict.fromkeys(post.tag_string.split()):
            yield self._ids.setdefault(name, len(self._ids) + 1)

    def rows(self) -> Iterator[tuple[int, str, int]]:
        """Id, name and category of all tags so far."""
        return ((id_, name, self._categories.get(name, 0)) for name, id_ in self._ids.items())


def _write_side(database: sqlite3.Connection, release: Path, table: str, columns: tuple[str, ...]) -> None:
    files = release_shards(release, f"parquet/{table}")
    if not files:
        return
    database.execute(f"CREATE TABLE {table} ({', '.join(columns)}, PRIMARY KEY (id))")
    for path in files:
        for batch in read_batches(path):
            rows = [tuple(_plain(row.get(name)) for name in columns) for row in batch.to_pylist()]
            database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", rows)


def _plain(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value

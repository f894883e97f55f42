"""DeepDanbooru's project folder: ``images/ab/MD5.ext`` beside a database of posts, and ``tags.txt``.

Its loader finds a file by the MD5 in the database. That MD5 is of the file as shipped: the one in the metadata is of
the file before optimisation, and two posts may share it. Only files that the loader can read (jpg, png) are exported.
"""

import contextlib
import hashlib
import os
import sqlite3
from collections import Counter
from pathlib import Path

from danbooru_pipeline.consume.select import Chosen, Selection, select
from danbooru_pipeline.io.atomic import link_or_copy

#: A tag of fewer posts cannot be learned. The loader's own default is of this order.
MIN_POSTS = 2
_READABLE = frozenset({"jpg", "jpeg", "png"})
_SCHEMA = """
CREATE TABLE posts (
    id INTEGER PRIMARY KEY, md5 TEXT, file_ext TEXT, tag_string TEXT, tag_count_general INTEGER, rating TEXT,
    score INTEGER, is_deleted INTEGER
);
"""


def write(release: Path, target: Path, selection: Selection) -> int:
    """Write the folder. Returns the number of posts in it."""
    tags: Counter[str] = Counter()
    posts = 0
    target.mkdir()
    with contextlib.closing(sqlite3.connect(target / "danbooru.sqlite")) as database:
        database.executescript(_SCHEMA)
        for post in select(release, selection, held=True, threads=os.cpu_count() or 1):
            ext = post.path.rpartition(".")[2]
            if ext not in _READABLE:
                continue
            md5 = _link(release / post.path, target / "images", ext)
            database.execute("INSERT INTO posts VALUES (?,?,?,?,?,?,?,?)", _row(post, md5, ext))
            tags.update(post.tag_string_general.split())
            tags.update(post.tag_string_character.split())
            posts += 1
        database.commit()
    chosen = sorted(tag for tag, count in tags.items() if count >= MIN_POSTS)
    (target / "tags.txt").write_text("".join(f"{tag}\n" for tag in chosen))
    return posts


def _row(post: Chosen, md5: str, ext: str) -> tuple[object, ...]:
    general = len(post.tag_string_general.split())
    return (post.id, md5, ext, post.tag_string, general, post.rating, post.score, int(post.is_deleted))


def _link(source: Path, images: Path, ext: str) -> str:
    with source.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    place = images / md5[:2] / f"{md5}.{ext}"
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():  # two posts may share a file
        link_or_copy(source, place)
    return md5

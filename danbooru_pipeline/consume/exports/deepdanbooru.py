"""DeepDanbooru's project folder: ``images/ab/MD5.ext`` beside a database of posts, and ``tags.txt``.

Its loader finds a file by the MD5 in the database. That MD5 is of the file as shipped: the one in the metadata is of
the file before optimisation, and two posts may share it. Only files that the loader can read (jpg, png) are exported.
``tags.txt`` is what its own ``download-tags`` writes: general and character tags in natural order, then ``rating:…``,
which its ``make-training-database`` adds to the posts.
"""

import contextlib
import re
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from danbooru_pipeline.consume.exports.frame import Form, Job
from danbooru_pipeline.consume.select import Chosen
from danbooru_pipeline.io.md5 import md5_of
from danbooru_pipeline.years import RATINGS

_READABLE: Final = frozenset({"jpg", "jpeg", "png"})
#: The tool leaves these out, since an account without payment does not see their posts.
_GOLD_ONLY: Final = frozenset({"loli", "shota", "toddlercon"})
_CATEGORIES: Final = ("general", "character")
_SCHEMA: Final = """
CREATE TABLE posts (
    id INTEGER PRIMARY KEY, md5 TEXT, file_ext TEXT, tag_string TEXT, tag_count_general INTEGER, rating TEXT,
    score INTEGER, is_deleted INTEGER
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of `deepdanbooru`: the cut-offs of ``download-tags``, with its defaults.

    Attributes:
        tag_limit: most tags of a category.
        min_posts: fewest posts of a tag, among those that are exported.
        rating_tags: whether ``tags.txt`` ends with ``rating:general`` and so on.
    """

    tag_limit: int = 10_000
    min_posts: int = 500
    rating_tags: bool = True


def write(job: Job) -> None:
    """Write the folder."""
    tags = {category: Counter[str]() for category in _CATEGORIES}
    with contextlib.closing(sqlite3.connect(job.target / "danbooru.sqlite")) as database:
        database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _SCHEMA)
        for post in job.posts(only=_READABLE):
            ext = post.path.rpartition(".")[2]
            md5 = _place(job, post, ext)
            database.execute("INSERT INTO posts VALUES (?,?,?,?,?,?,?,?)", _row(post, md5, ext))
            for category in _CATEGORIES:
                tags[category].update(getattr(post, f"tag_string_{category}").split())
        database.commit()
    _write_tags(job, tags)


def _write_tags(job: Job, tags: dict[str, Counter[str]]) -> None:
    options: Options = job.options
    names: list[str] = []
    sections = []
    for category in _CATEGORIES:
        common = [tag for tag, count in tags[category].most_common() if count >= options.min_posts]
        chosen = sorted([tag for tag in common if tag not in _GOLD_ONLY][: options.tag_limit], key=_natural)
        if chosen:
            sections.append({"name": category.capitalize(), "start_index": len(names)})
            _write_lines(job.target / f"tags-{category}.txt", chosen)
        names += chosen
    sections.append({"name": "System", "start_index": len(names)})
    ratings = [f"rating:{name}" for name in RATINGS.values()] if options.rating_tags else []
    _write_lines(job.target / "tags.txt", [*names, *ratings])
    (job.target / "categories.json").write_bytes(msgspec.json.encode(sections))
    job.notes.append(
        f"`tags.txt` has {len(names):,} tags of at least {options.min_posts} posts, and {len(ratings)} of ratings."
    )


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _natural(tag: str) -> list[tuple[bool, int, str]]:
    """Numbers in a tag by their value, as the tool sorts: ``2girls`` before ``10girls``."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part.lower()) for part in re.split(r"(\d+)", tag)]


def _row(post: Chosen, md5: str, ext: str) -> tuple[object, ...]:
    general = len(post.tag_string_general.split())
    return (post.id, md5, ext, post.tag_string, general, post.rating, post.score, int(post.is_deleted))


def _place(job: Job, post: Chosen, ext: str) -> str:
    md5 = md5_of(job.release / post.path)
    place = job.target / "images" / md5[:2] / f"{md5}.{ext}"
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():  # two posts may share a file
        job.place(post, place)
    return md5


FORM = Form(write=write, options=Options)

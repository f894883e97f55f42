"""HakuBooru's data: the SQLite that its peewee models open, and ``images/data-1123.tar`` with the files of bucket 0123.

Its tables have other numbers than the site: categories and ratings are places in its own lists. Its first versions look
for the tars of a bucket under its number and that plus 1000, the one of PyPI only above 1000.
"""

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from danbooru_pipeline.consume.exports.frame import Form, Job
from danbooru_pipeline.consume.exports.used_tags import CATEGORY_NUMBERS, count_used_tags, post_tag_pairs, used_tags
from danbooru_pipeline.consume.exports.webdataset import posts_by_bucket
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.release.tables.webdataset import ShardImage, write_tar
from danbooru_pipeline.years import cutoff

#: Its places of categories and ratings.
_TYPES: Final = ("general", "artist", "character", "copyright", "meta")
_RATINGS: Final = {"g": 0, "s": 1, "q": 2, "e": 3}
_COLUMNS: Final = (
    *("id", "created_at", "uploader_id", "source", "md5", "parent_id", "has_children", "is_deleted", "is_banned"),
    *("pixiv_id", "has_active_children", "bit_flags", "has_large", "has_visible_children", "image_width"),
    *("image_height", "file_size", "file_ext", "rating", "score", "up_score", "down_score", "fav_count", "file_url"),
    *("large_file_url", "preview_file_url", "updated_at"),
)
_TIMES: Final = ("created_at", "updated_at")
_TEXTS: Final = frozenset({*_TIMES, "source", "md5", "file_ext", "file_url", "large_file_url", "preview_file_url"})
_MAY_BE_NULL: Final = frozenset({"md5", "parent_id", "pixiv_id", "file_url", "large_file_url", "preview_file_url"})
_POST: Final = ", ".join(
    f'"{name}" {"VARCHAR(255)" if name in _TEXTS else "INTEGER"}{"" if name in _MAY_BE_NULL else " NOT NULL"}'
    for name in _COLUMNS[1:]
)
_SCHEMA: Final = f"""
CREATE TABLE "post" ("id" INTEGER NOT NULL PRIMARY KEY, {_POST});
CREATE TABLE "tag" ("id" INTEGER NOT NULL PRIMARY KEY, "name" VARCHAR(255) NOT NULL, "type" INTEGER NOT NULL,
    "popularity" INTEGER NOT NULL);
CREATE TABLE "posttagrelation" ("id" INTEGER NOT NULL PRIMARY KEY,
    "post_id" INTEGER NOT NULL REFERENCES "post" ("id"), "tag_id" INTEGER NOT NULL REFERENCES "tag" ("id"));
CREATE TABLE "localpost" ("id" INTEGER NOT NULL PRIMARY KEY, "filepath" VARCHAR(255), "latentpath" VARCHAR(255),
    "post_id" INTEGER NOT NULL REFERENCES "post" ("id"));
"""
_INDEXES: Final = """
CREATE UNIQUE INDEX "tag_name" ON "tag" ("name");
CREATE INDEX "posttagrelation_post_id" ON "posttagrelation" ("post_id");
CREATE INDEX "posttagrelation_tag_id" ON "posttagrelation" ("tag_id");
CREATE INDEX "localpost_post_id" ON "localpost" ("post_id");
"""
DATABASE: Final = "danbooru.db"
#: Number of the tar of bucket 0000: the one that every version looks for.
_FIRST_TAR: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of `hakubooru`.

    Attributes:
        images: whether the tars are written; the database alone serves its other sources.
    """

    images: bool = True


def write(job: Job) -> None:
    """Write the database and the tars."""
    with contextlib.closing(sqlite3.connect(job.target / DATABASE)) as database:
        database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _SCHEMA)
        _write_tags(job, database)
        _write_posts(job, database)
        database.executescript(_INDEXES)
        database.commit()
    if not job.options.images:
        job.written = job.chosen.posts
        return
    mtime = int(cutoff(job.about.year).timestamp())
    (job.target / "images").mkdir()
    for bucket, posts in posts_by_bucket(job):
        write_tar(job.target / f"images/data-{_FIRST_TAR + BUCKETS.index(bucket)}.tar", _files(job, posts), mtime=mtime)


def _files(job: Job, posts: Any) -> Any:
    for post in posts:
        if job.has_file(post):
            yield ShardImage(name=post.path.rpartition("/")[2], path=job.release / post.path)
            job.count(post.size)


def _write_tags(job: Job, database: sqlite3.Connection) -> None:
    count_used_tags(job.chosen.rows)
    place = {CATEGORY_NUMBERS[name]: number for number, name in enumerate(_TYPES)}
    rows = ((tag.id, tag.name, place[tag.category], tag.posts) for tag in used_tags(job.chosen.rows))
    database.executemany('INSERT INTO "tag" VALUES (?,?,?,?)', rows)


def _write_posts(job: Job, database: sqlite3.Connection) -> None:
    rows = job.chosen.rows
    # Until 2022 there was one safe rating, which its list calls general.
    ratings = _RATINGS if "g" in job.about.sfw_ratings else _RATINGS | {"s": 0}
    columns = ", ".join(f"p.{name}" for name in _COLUMNS)
    for window, query in rows.windowed(columns):
        posts = (_values(row, ratings) for row in rows.dicts(query))
        database.executemany(f'INSERT INTO "post" VALUES ({",".join("?" * len(_COLUMNS))})', posts)
        cursor = rows.run(post_tag_pairs(window))
        while batch := cursor.fetchmany(20_000):
            database.executemany('INSERT INTO "posttagrelation" ("post_id", "tag_id") VALUES (?,?)', batch)


def _values(row: dict[str, Any], ratings: dict[str, int]) -> list[Any]:
    row |= {name: (row[name] or row["created_at"]).isoformat(sep=" ") for name in _TIMES}
    row["rating"] = ratings.get(row["rating"], _RATINGS["e"])  # an unknown rating must not pass for a safe one
    values = []
    for name in _COLUMNS:
        value = row[name]
        if value is None and name not in _MAY_BE_NULL:
            value = "" if name in _TEXTS else 0
        values.append(value)
    return values


FORM = Form(write=write, options=Options, size=lambda posts, size, o: posts * 1_600 + (size if o.images else 0))

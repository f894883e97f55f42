"""The post: one Arrow schema, and the dialects that parse into it.

A record that has no usable id or creation time cannot be placed in a release; it is rejected with a reason and counted.
Everything else is kept: a column that is unknown, or whose value has an unexpected type, goes to `extra` as JSON, so
drift of the source is visible and nothing is lost. No network, no clock.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.layout import EXTENSIONS

TIMESTAMP = pa.timestamp("us", tz="UTC")

#: Columns in the order in which the site writes them (JSON API, 2022 to today). `extra` is ours.
POST_SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("created_at", TIMESTAMP, nullable=False),
        ("uploader_id", pa.int64()),
        ("score", pa.int64()),
        ("source", pa.string()),
        ("md5", pa.string()),
        ("last_comment_bumped_at", TIMESTAMP),
        ("rating", pa.string()),
        ("image_width", pa.int64()),
        ("image_height", pa.int64()),
        ("tag_string", pa.string()),
        ("fav_count", pa.int64()),
        ("file_ext", pa.string()),
        ("last_noted_at", TIMESTAMP),
        ("parent_id", pa.int64()),
        ("has_children", pa.bool_()),
        ("approver_id", pa.int64()),
        ("tag_count_general", pa.int64()),
        ("tag_count_artist", pa.int64()),
        ("tag_count_character", pa.int64()),
        ("tag_count_copyright", pa.int64()),
        ("file_size", pa.int64()),
        ("up_score", pa.int64()),
        ("down_score", pa.int64()),
        ("is_pending", pa.bool_()),
        ("is_flagged", pa.bool_()),
        ("is_deleted", pa.bool_()),
        ("tag_count", pa.int64()),
        ("updated_at", TIMESTAMP),
        ("is_banned", pa.bool_()),
        ("pixiv_id", pa.int64()),
        ("last_commented_at", TIMESTAMP),
        ("has_active_children", pa.bool_()),
        ("bit_flags", pa.int64()),
        ("tag_count_meta", pa.int64()),
        ("has_large", pa.bool_()),
        ("has_visible_children", pa.bool_()),
        ("tag_string_general", pa.string()),
        ("tag_string_character", pa.string()),
        ("tag_string_copyright", pa.string()),
        ("tag_string_artist", pa.string()),
        ("tag_string_meta", pa.string()),
        ("file_url", pa.string()),
        ("large_file_url", pa.string()),
        ("preview_file_url", pa.string()),
        ("extra", pa.string()),
    ],
    metadata={"danbooru_pipeline.schema": "1"},
)

#: Posts that were asked for again since the sweep; expunged ones are as they were when last seen.
REFRESHED_SCHEMA = POST_SCHEMA.append(pa.field("is_expunged", pa.bool_(), nullable=False))

#: Few distinct values, so a dictionary is small; on the others it only costs time.
DICTIONARY_COLUMNS = ["rating", "file_ext"]

INTEGER = re.compile(r"-?[0-9]{1,19}")
MD5 = re.compile(r"[0-9a-f]{32}")
MAX_FILE_BYTES = 2**40
INT64_MAX = 2**63 - 1

PostRow = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A record that cannot be placed in a release, and why."""

    reason: str
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Post:
    """What the image chain needs to know of a post.

    Attributes:
        is_expunged: the source had it in the sweep, and does not know it any more.
        replaced: its file is another one than in the sweep.
    """

    id: int
    md5: str | None
    ext: str | None
    file_size: int | None
    rating: str | None
    file_url: str | None
    is_banned: bool
    tags: str
    is_expunged: bool = False
    replaced: bool = False

    @property
    def visible(self) -> bool:
        """Whether the source shows us the file: hidden posts come without MD5 and file address."""
        return self.md5 is not None and self.file_url is not None

    @property
    def names_a_file(self) -> bool:
        """Whether MD5, extension and size are of the kind that a path and a check can be made from."""
        return (
            self.md5 is not None
            and MD5.fullmatch(self.md5) is not None
            and self.ext in EXTENSIONS
            and (self.file_size is None or 0 < self.file_size <= MAX_FILE_BYTES)
        )


#: The columns a `Post` is made from, so that a bucket does not read the rest.
POST_COLUMNS = ["id", "md5", "file_ext", "file_size", "rating", "file_url", "is_banned", "tag_string"]


def _to_int(value: object) -> int:
    if isinstance(value, str) and INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("not an integer")
    number = value
    if not -INT64_MAX <= number <= INT64_MAX:
        raise ValueError("out of range")
    return number


def _to_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not a boolean")
    return value


def _to_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a string")
    return value


def parse_timestamp(value: object) -> datetime:
    """An instant from the API's ISO form with an offset, or from the mirror's ``YYYY-MM-DD HH:MM:SS.ffffff UTC``.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, str):
        raise ValueError("not a timestamp")
    instant = datetime.fromisoformat(value.removesuffix(" UTC") + ("+00:00" if value.endswith(" UTC") else ""))
    if instant.tzinfo is None:
        raise ValueError("a timestamp without its offset")
    return instant.astimezone(UTC)


def _converter(kind: pa.DataType) -> Any:
    if pa.types.is_integer(kind):
        return _to_int
    if pa.types.is_boolean(kind):
        return _to_bool
    if pa.types.is_timestamp(kind):
        return parse_timestamp
    return _to_text


_CONVERTERS = {f.name: _converter(f.type) for f in POST_SCHEMA if f.name != "extra"}


def parse_api_record(record: Mapping[str, Any]) -> PostRow | RejectedRow:
    """One object of ``/posts.json`` as a row of `POST_SCHEMA`."""
    row: PostRow = {}
    extra: dict[str, Any] = {}
    for name, value in record.items():
        convert = _CONVERTERS.get(name)
        if convert is None:
            extra[name] = value
        elif value is not None:
            try:
                row[name] = convert(value)
            except (ValueError, OverflowError):
                extra[name] = value
    post_id = row.get("id")
    if post_id is None or post_id <= 0:
        return RejectedRow("no usable id", record)
    if "created_at" not in row:
        return RejectedRow("no usable created_at", record)
    row["extra"] = msgspec.json.encode(extra).decode() if extra else None
    return row


#: Of these the archives until 2020 write "0" for none; of times, 1970.
_ZERO_IS_NONE = ("parent_id", "approver_id", "pixiv_id")
_EPOCH = "1970-01-01 00:00:00 UTC"
_CATEGORY_NAMES = {"0": "general", "1": "artist", "3": "copyright", "4": "character", "5": "meta"}


def parse_record(record: Mapping[str, Any]) -> PostRow | RejectedRow:
    """One record of any dialect as a row of `POST_SCHEMA`; those until 2020 hold their tags as a list."""
    return parse_api_record(_from_2017(record) if isinstance(record.get("tags"), list) else record)


def _from_2017(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of 2017 to 2020 with the columns of today. Its `tags`, `pools` and `favs` stay, and go to `extra`."""
    plain = {
        name: None if (name in _ZERO_IS_NONE and value == "0") or value == _EPOCH else value
        for name, value in record.items()
    }
    names: dict[str, str] = {}  # a tag may be there twice
    for tag in record["tags"]:
        if isinstance(tag, Mapping) and isinstance(tag.get("name"), str):
            names[tag["name"]] = str(tag.get("category"))
    plain["tag_string"] = " ".join(names)
    plain["tag_count"] = len(names)
    for category, title in _CATEGORY_NAMES.items():
        mine = [name for name, its in names.items() if its == category]
        plain[f"tag_string_{title}"] = " ".join(mine)
        plain[f"tag_count_{title}"] = len(mine)
    return plain


def posts_table(rows: Iterable[PostRow]) -> pa.Table:
    """Rows as an Arrow table of `POST_SCHEMA`, sorted by id."""
    return pa.Table.from_pylist(sorted(rows, key=lambda row: row["id"]), schema=POST_SCHEMA)


def posts_writer(file: Any) -> pq.ParquetWriter:
    """A Parquet writer of posts into a binary file (zstd 3: a third less than snappy for 0.2 CPU s in 100,000 rows)."""
    return pq.ParquetWriter(
        file, POST_SCHEMA, compression="zstd", compression_level=3, use_dictionary=DICTIONARY_COLUMNS
    )


def write_posts(table: pa.Table, file: Any) -> None:
    """Write a table of posts as Parquet into a binary file."""
    with posts_writer(file) as writer:
        writer.write_table(table)


def read_posts(path: Path, *, refreshed: Path | None = None) -> list[Post]:
    """The posts of one bucket, by id, with what the image chain needs.

    Args:
        path: the bucket's slice of the sweep; no posts when it is not there.
        refreshed: what was learned of some of them since, if anything was.
    """
    posts = _read_columns(path, POST_COLUMNS) if path.exists() else []
    if refreshed is None or not refreshed.exists():
        return posts
    news = {post.id: post for post in _read_columns(refreshed, [*POST_COLUMNS, "is_expunged"])}
    return [_with_news(post, news[post.id]) if post.id in news else post for post in posts]


def _with_news(old: Post, new: Post) -> Post:
    return replace(new, replaced=new.visible and (old.md5, old.ext) != (new.md5, new.ext))


def _read_columns(path: Path, names: list[str]) -> list[Post]:
    # Not read_table: for a file this small its dataset machinery costs more than the reading.
    columns = pq.ParquetFile(path).read(columns=names).to_pydict()
    return [
        Post(
            id=id_,
            md5=md5,
            ext=ext,
            file_size=size,
            rating=rating,
            file_url=url,
            is_banned=bool(banned),
            tags=tags or "",
            is_expunged=bool(more and more[0]),
        )
        for id_, md5, ext, size, rating, url, banned, tags, *more in zip(
            *(columns[name] for name in names), strict=True
        )
    ]

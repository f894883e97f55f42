"""A row of a list of changes, and which rows follow from what two releases hold of a post. Pure.

`changes` makes the lists with SQL; `verify` makes the rows of single posts again with this.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

import pyarrow as pa


class Change(StrEnum):
    """What can change."""

    POST_ADDED = "post_added"
    POST_REMOVED = "post_removed"
    RATING_CHANGED = "rating_changed"
    METADATA_CHANGED = "metadata_changed"
    FILE_ADDED = "file_added"
    FILE_REMOVED = "file_removed"
    FILE_REPLACED = "file_replaced"


CHANGES_SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        ("path", pa.string()),
        ("old_path", pa.string()),
        ("old_sha256", pa.string()),
        ("new_sha256", pa.string()),
        ("old_rating", pa.string()),
        ("new_rating", pa.string()),
    ],
    metadata={"danbooru_pipeline.schema": "1"},
)

#: The files of one list of changes.
KINDS: Final = ("parquet", "md", "files.txt", "remove.txt")


class Row(NamedTuple):
    """A row, in the order of `CHANGES_SCHEMA`."""

    id: int
    kind: str
    path: str | None = None
    old_path: str | None = None
    old_sha256: str | None = None
    new_sha256: str | None = None
    old_rating: str | None = None
    new_rating: str | None = None


class FileRow(NamedTuple):
    """What the manifest of a release says of a post, as far as it counts for changes."""

    rating: str | None
    path: str | None
    sha256: str | None
    px512_path: str | None
    px512_sha256: str | None


def rows_between(id_: int, old: FileRow | None, new: FileRow | None, *, is_gone: bool) -> Iterator[Row]:
    """What changed of a post from one manifest to another; `is_gone` if nothing may be said but its id and paths."""
    if old is None and new is not None:
        yield Row(id_, Change.POST_ADDED, new_rating=new.rating)
    elif new is None and old is not None:
        yield Row(id_, Change.POST_REMOVED, old_rating=None if is_gone else old.rating)
    elif old is not None and new is not None and old.rating != new.rating:
        yield Row(id_, Change.RATING_CHANGED, old_rating=old.rating, new_rating=new.rating)
    was, now = ((None,) * 5 if row is None else row for row in (old, new))
    for (old_path, old_sha256), (path, sha256) in ((was[1:3], now[1:3]), (was[3:5], now[3:5])):
        if path is not None and old_path is None:
            yield Row(id_, Change.FILE_ADDED, path, new_sha256=sha256)
        elif path is None and old_path is not None:
            yield Row(id_, Change.FILE_REMOVED, old_path, old_path, None if is_gone else old_sha256)
        elif path is not None and (path, sha256) != (old_path, old_sha256):
            yield Row(id_, Change.FILE_REPLACED, path, old_path, old_sha256, sha256)

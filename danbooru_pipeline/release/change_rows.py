"""A row of a list of changes, and which rows follow from what two releases hold of a post. Pure.

`changes` makes the lists with SQL; `verify` makes the rows of single posts again with this.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import pyarrow as pa

from danbooru_pipeline.layout import is_path_of
from danbooru_pipeline.release.checksums import TREES


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


#: Columns of a post that count as a change of its metadata. Scores, counters and times change all the time.
TELLING: Final = (
    *("md5", "file_ext", "source", "parent_id", "pixiv_id", "is_deleted", "is_banned", "is_flagged"),
    *("tag_string_general", "tag_string_artist", "tag_string_copyright", "tag_string_character", "tag_string_meta"),
)


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


class Columns(NamedTuple):
    """The columns of a kind of row beside its id and kind: those that it always has, and those that may be null."""

    always: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()


#: All others are null. Ratings may be unknown, and what a post was that was taken down is not told.
COLUMNS: Final[Mapping[str, Columns]] = {
    Change.POST_ADDED: Columns(may=frozenset({"new_rating"})),
    Change.POST_REMOVED: Columns(may=frozenset({"old_rating"})),
    Change.RATING_CHANGED: Columns(may=frozenset({"old_rating", "new_rating"})),
    Change.METADATA_CHANGED: Columns(),
    Change.FILE_ADDED: Columns(always=frozenset({"path", "new_sha256"})),
    Change.FILE_REMOVED: Columns(always=frozenset({"path", "old_path"}), may=frozenset({"old_sha256"})),
    Change.FILE_REPLACED: Columns(always=frozenset({"path", "old_path", "old_sha256", "new_sha256"})),
}
_FIRST: Final = Row._fields.index("path")
#: Which of them may be set together, as true and false in their order: millions of rows are looked at.
_SHAPES: Final = {
    kind: frozenset(
        itertools.product(*((name in known.always, name in known.always | known.may) for name in Row._fields[_FIRST:]))
    )
    for kind, known in COLUMNS.items()
}
#: What else can happen to a post that comes or goes.
_BESIDE: Final = {Change.POST_ADDED: Change.FILE_ADDED, Change.POST_REMOVED: Change.FILE_REMOVED}


def path_to_fetch(kind: str, path: str | None) -> str | None:
    """The file that a row tells mirrors to fetch."""
    return path if kind in {Change.FILE_ADDED, Change.FILE_REPLACED} else None


def path_to_remove(kind: str, path: str | None, old_path: str | None) -> str | None:
    """The file that a row tells mirrors to remove."""
    return old_path if kind == Change.FILE_REMOVED or (kind == Change.FILE_REPLACED and path != old_path) else None


def is_path_in_a_tree(id_: int, path: str) -> bool:
    """Whether a file of a post may have a path."""
    return any(is_path_of(id_, path, tree=tree.name) for tree in TREES)


def misfits(rows: Sequence[Row]) -> Iterator[str]:
    """What no version writes about one post, whatever two releases hold of it."""
    if len(rows) > 1:
        if list(rows) != sorted(rows, key=lambda row: (row.kind, row.path or "")):
            yield "is not sorted by kind and path"
        kinds = {row.kind for row in rows}
        for kind, other in _BESIDE.items():
            if kind in kinds and not kinds <= {kind, other}:
                yield f"{kind} and {min(kinds - {kind, other})} exclude each other"
    for row in rows:
        if row.kind not in COLUMNS:
            continue  # another check says so
        if tuple(value is not None for value in row[_FIRST:]) not in _SHAPES[row.kind]:
            yield from _wrong_columns(row)
        for path in {row.path, row.old_path} - {None}:
            if not is_path_in_a_tree(row.id, path or ""):
                yield f"{row.kind} names {path}, which is none of its files"


def _wrong_columns(row: Row) -> Iterator[str]:
    known = COLUMNS[row.kind]
    held = {name for name in Row._fields[_FIRST:] if getattr(row, name) is not None}
    yield from (f"{row.kind} has {name}" for name in sorted(held - known.always - known.may))
    yield from (f"{row.kind} has no {name}" for name in sorted(known.always - held))


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

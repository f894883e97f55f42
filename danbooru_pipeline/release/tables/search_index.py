"""The index of a release's posts for searches: which tables it is made from, and how they are read.

It follows from the tables of the release alone, so the same release gets the same index; see `search.index`.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa

from danbooru_pipeline.io.bounded_parquet import read_untrusted, schema_of
from danbooru_pipeline.io.untrusted import names_in
from danbooru_pipeline.release.tables.tag_totals import TABLE as TAG_COUNTS
from danbooru_pipeline.release_paths import CORRECTED, SHARD
from danbooru_pipeline.search.index import write_index
from danbooru_pipeline.search.postings import Read

#: Few, since a post has some thirty tags.
_ROWS: Final = 20_000
_MANIFEST: Final = "files"
_POSTS: Final = "posts"
#: Where the tables of a release are.
_FOLDERS: Final = ("manifest", "parquet")


def write_search_index(folder: Path, *, target: Path | None = None) -> int:
    """Write the index of a tree whose tables are written, into it or into another folder. Returns its names."""
    read, into = reader(folder), target or folder
    return write_index(into, read, tables_of(folder), categories=categories_of(read), spill=into)


def reader(folder: Path, *, corrected: bool = False) -> Read:
    """What reads the tables of a release, some rows at a time, within limits. A missing table is empty.

    With `corrected`, its posts are those that people corrected.
    """
    return partial(_rows, folder, corrected)


def _rows(folder: Path, corrected: bool, table: str, columns: Sequence[str]) -> Iterator[pa.Table]:  # noqa: FBT001 - `partial` gives it
    parts = (CORRECTED,) if corrected and table == _POSTS else _FOLDERS
    for name in shards_of(folder, parts).get(table, ()):
        held = set(schema_of(folder, name).names)
        yield from read_untrusted(folder, name, columns=[column for column in columns if column in held], rows=_ROWS)


def tables_of(folder: Path) -> list[str]:
    """Names of the tables that a release has, sorted."""
    return sorted(shards_of(folder))


def shards_of(folder: Path, parts: Sequence[str] = _FOLDERS) -> dict[str, list[str]]:
    """Table -> paths of its files in some folders, in the order of its rows, relative to the release.

    One that is a link or no file is among them, so that who reads it fails, and does not take the table to be shorter.
    """
    found: dict[str, list[str]] = {}
    for part in parts:
        for name in names_in(folder, part):
            match = SHARD.fullmatch(name)
            if match and (match[1] == _MANIFEST) == (part == "manifest"):
                found.setdefault(match[1], []).append(f"{part}/{name}")
    return found


def categories_of(read: Read) -> dict[str, str]:
    """Tag -> its category; of several the one that most posts give it."""
    found: dict[str, str] = {}
    for table in read(TAG_COUNTS, ("name", "category")):  # the most frequent come first
        for name, category in zip(table["name"].to_pylist(), table["category"].to_pylist(), strict=True):
            found.setdefault(name, category)
    return found

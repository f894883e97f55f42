"""Verification of the JSON lines of the release's year: they say what ``parquet/posts-*`` says, post by post.

Posts are written as lines again and compared a block at a time: the bytes must be those, since readers subscript keys.
Of a release of before 0.3 the values decide where the bytes differ: it may have the same post in another form.
"""

import itertools
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Self

import pyarrow as pa

from danbooru_pipeline.io.parquet import BATCH_ROWS, Side, differences
from danbooru_pipeline.io.typed_json import parse
from danbooru_pipeline.io.untrusted import opened, plain_names
from danbooru_pipeline.posts.dialect_2017 import encode_2017, pool_categories, pools_with_categories
from danbooru_pipeline.posts.dialect_2021 import encode_2021_complete
from danbooru_pipeline.posts.schema import SITE_COLUMNS, conform
from danbooru_pipeline.release.verify.findings import Findings, Kind
from danbooru_pipeline.release.verify.parquet import batches, schema_of
from danbooru_pipeline.release.verify.verification import Verification, is_of_before_0_3
from danbooru_pipeline.release_paths import metadata_path

_LONGEST_LINE = 64 * 2**20
_ROWS = 4_000
_POSTS = re.compile(r"(?P<table>posts|\d{4})\d{12}\.json")
#: Values of keys that a post has none for, in the dialect of 2021.
_EMPTY = ("", "0", False)
_LISTS = ("tags", "pools", "favs")


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How a dialect is written, and which columns that takes."""

    encode: Callable[[pa.Table], bytes]
    columns: tuple[str, ...]


_DIALECT_2021 = _Dialect(encode_2021_complete, (*SITE_COLUMNS, "extra", "raw"))


def _dialect_2017(run: Verification, year: str) -> _Dialect:
    """That of the years until 2020, in which pools have the categories of the side table, too."""
    name = metadata_path(int(year), "pools", 0)
    categories: dict[int, str] = {}
    if run.has(name):
        with opened(run.folder, name) as data:
            categories = pool_categories(iter(lambda: data.readline(_LONGEST_LINE), b""))

    def encode(table: pa.Table) -> bytes:
        return encode_2017(table, pools=pools_with_categories(table, categories))

    return _Dialect(encode, (*SITE_COLUMNS, *_LISTS, "extra", "raw"))


def check_lines(run: Verification, year: str, posts: Sequence[str]) -> None:
    """Compare the lines of a year with its posts. Without posts, only see that the lines can be read."""
    for folder in _folders(year):
        for name in plain_names(run.folder, folder):
            if name.endswith(".json"):
                with run.reading(Kind.METADATA_UNREADABLE, f"{folder}/{name}"):
                    _check_end(run, f"{folder}/{name}")
    for table, paths in _files(run, year).items():
        where = _where(year, table)
        with run.reading(Kind.METADATA_UNREADABLE, where):
            dialect = _DIALECT_2021 if table == "posts" else _dialect_2017(run, year)
            _Comparison(run, dialect, where).of(posts, paths)


def check_ids(run: Verification, year: str, manifest: Sequence[str]) -> None:
    """Compare the ids of lines with those of the manifest, since the posts, which would do, disagree with it."""
    said = {
        Side.LEFT_ONLY: "is in the JSON lines, but not in the manifest",
        Side.RIGHT_ONLY: "is in the manifest, but not in the JSON lines",
    }
    for table, paths in _files(run, year).items():
        where = _where(year, table)
        with run.reading(Kind.METADATA_UNREADABLE, where):
            silent = _Comparison(replace(run, found=Findings()), _DIALECT_2021, where)
            rows = (table for name in manifest for table in batches(run, name, columns=["id"]))
            for difference in differences(_id_tables(silent.lines(paths)), rows):
                if difference.side in said:
                    run.add(Kind.METADATA_DIFFERS, str(difference.id), said[difference.side])


def _id_tables(lines: Iterator["_Line"]) -> Iterator[pa.Table]:
    # An id beyond int64 cannot be in the manifest either; 0 is never the id of a post.
    ids = (line.id if abs(line.id) < 2**63 else 0 for line in lines)
    while some := list(itertools.islice(ids, BATCH_ROWS)):
        yield pa.table({"id": pa.array(some, pa.int64())})


def _files(run: Verification, year: str) -> dict[str, list[str]]:
    """Files of a year's posts in each dialect, in order; that of 2021 is always among them."""
    files: dict[str, list[str]] = {"posts": []}
    for folder in _folders(year):
        for name in plain_names(run.folder, folder):
            if match := _POSTS.fullmatch(name):
                files.setdefault(match["table"], []).append(f"{folder}/{name}")
    return files


def _where(year: str, table: str) -> str:
    """The files of a table for people."""
    return f"metadata/{year}{'' if table == 'posts' else '*'}/{table}*.json"


def _folders(year: str) -> tuple[str, str]:
    """Where the lines of a year are; older releases had both dialects in the first."""
    return f"metadata/{year}", f"metadata/{year}-old"


def _check_end(run: Verification, name: str) -> None:
    with opened(run.folder, name) as data:
        size = data.seek(0, os.SEEK_END)
        data.seek(max(0, size - 1))
        if data.read(1) not in {b"\n", b""}:
            run.add(Kind.METADATA_TRUNCATED, name, "its last line is truncated")


@dataclass(frozen=True, slots=True)
class _Line:
    id: int
    text: bytes


class _Comparison:
    """Compares the posts of a table with lines in one dialect."""

    def __init__(self, run: Verification, dialect: _Dialect, where: str) -> None:
        self._run = run
        self._dialect = dialect
        self._where = where
        self._is_old = is_of_before_0_3(run.release)
        self._exact = True  # whether the table has all that a line may say

    def of(self, posts: Sequence[str], paths: Sequence[str]) -> None:
        """Compare some files of posts with some files of lines."""
        if not posts:
            for _ in self.lines(paths):
                pass
            return
        held = [name for name in schema_of(self._run, posts[0]).names if name in self._dialect.columns]
        self._exact = {"extra", "raw"} <= set(held)
        tables = (conform(table) for name in posts for table in batches(self._run, name, columns=held, rows=_ROWS))
        same = 0  # bytes of lines that are as they should be
        with _Joined(self._run, paths) as lines:
            for table in tables:
                expected = self._dialect.encode(table)
                if lines.read(len(expected)) != expected:
                    break
                same += len(expected)
            else:
                if not lines.read(1):
                    return
                table = None
        self._one_by_one(self._rest(table, tables), self.lines(paths, skip=same))

    def _rest(self, table: pa.Table | None, tables: Iterator[pa.Table]) -> Iterator[_Line]:
        while table is not None:
            texts = self._dialect.encode(table).split(b"\n")[:-1]
            yield from map(_Line, table["id"].to_pylist(), texts)
            table = next(tables, None)

    def lines(self, paths: Sequence[str], *, skip: int = 0) -> Iterator[_Line]:
        """Lines with their ids, from a place on; those that cannot be read are findings."""
        for path in paths:
            with opened(self._run.folder, path) as data:
                size = os.fstat(data.fileno()).st_size
                data.seek(min(skip, size))
                skip = max(0, skip - size)
                while text := data.readline(_LONGEST_LINE):
                    line = self._line(path, text.rstrip(b"\n"))
                    if line is not None:
                        yield line

    def _line(self, path: str, text: bytes) -> _Line | None:
        try:
            return _Line(int(parse(text)["id"]), text)
        except (ValueError, KeyError, TypeError) as error:
            said = f"{error}" if isinstance(error, ValueError) else "has no id"
            self._run.add(Kind.METADATA_UNREADABLE, path, f"a line cannot be read: {said}: {text[:80]!r}")
            return None

    def _one_by_one(self, expected: Iterator[_Line], found: Iterator[_Line]) -> None:
        last = 0
        wanted, line = next(expected, None), next(found, None)
        while wanted is not None or line is not None:
            if line is not None and line.id <= last:
                said = "occurs twice" if line.id == last else "is out of order"
                self._say(line.id, f"{said} in the JSON lines")
                line = next(found, None)
            elif line is None or (wanted is not None and wanted.id < line.id):
                assert wanted is not None
                self._say(wanted.id, "is in the posts, but not in the JSON lines")
                wanted = next(expected, None)
            elif wanted is None or line.id < wanted.id:
                self._say(line.id, "is in the JSON lines, but not in the posts")
                last, line = line.id, next(found, None)
            else:
                if line.text != wanted.text:
                    self._compare(wanted, line)
                last, wanted, line = line.id, next(expected, None), next(found, None)

    def _compare(self, wanted: _Line, line: _Line) -> None:
        ours, theirs = parse(wanted.text), parse(line.text)
        differing = self._of_before_0_3(ours, theirs) if self._is_old else self._differing(ours, theirs)
        if differing:
            self._say(line.id, f"has another {', '.join(differing[:5])} in the JSON lines than in the posts")
        elif not self._is_old and (list(ours) != list(theirs) or not _has_fractions(ours)):
            self._say(line.id, "is written in another form than the posts are")

    def _differing(self, ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
        """Keys that one of two lines lacks, or has with another value or in another form: 0 is not false."""
        ours, theirs = ({key: json.dumps(value) for key, value in values.items()} for values in (ours, theirs))
        return sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))

    def _of_before_0_3(self, ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
        """Keys with another value, by what earlier versions wrote."""
        for values in (ours, theirs):
            pools = values.get("pools")
            if isinstance(pools, list):  # their categories are in no table of posts
                values["pools"] = [pool for pool in pools if str(pool).isdigit()]
        keys = ours.keys() | theirs.keys() if self._exact else set(SITE_COLUMNS) & (ours.keys() | theirs.keys())
        # 0.2 left a key out where readers take it for granted and now find a value that stands for none.
        none = {key for key in keys - theirs.keys() if ours[key] in _EMPTY}
        if "updated_at" not in theirs and ours.get("updated_at") == ours.get("created_at"):
            none.add("updated_at")
        return sorted(key for key in keys - none if ours.get(key) != theirs.get(key))

    def _say(self, post_id: int, said: str) -> None:
        self._run.add(Kind.METADATA_DIFFERS, str(post_id), f"{said} ({self._where})")


def _has_fractions(value: Any) -> bool:
    """Whether there is a number with a fraction in a value: encoders differ in how they write one."""
    if isinstance(value, dict):
        return any(map(_has_fractions, value.values()))
    return any(map(_has_fractions, value)) if isinstance(value, list) else isinstance(value, float)


class _Joined:
    """Files one after the other, read as one."""

    def __init__(self, run: Verification, paths: Sequence[str]) -> None:
        self._run = run
        self._left = list(paths)
        self._opened: Any = None
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.__exit__(None, None, None)
            self._opened = self._file = None

    def read(self, count: int) -> bytes:
        """So many bytes, or fewer at the end of the last file."""
        parts = []
        while count and (self._file is not None or self._left):
            if self._file is None:
                self._opened = opened(self._run.folder, self._left.pop(0))
                self._file = self._opened.__enter__()
            part = self._file.read(count)
            if not part:
                self._close()
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

"""What the search for duplicates reads of a release: columns of its posts and its manifest, as arrays.

Both tables are sorted by id and have the same ids, so the position of a row means the same post in both. Each column is
read when it is needed and no earlier, since all of them together would not fit into the memory that the search may use.
"""

from binascii import unhexlify
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import read_batches
from danbooru_pipeline.posts.json_text import one_chunk
from danbooru_pipeline.release.tables.duplicates.rules import Words

Numbers: TypeAlias = npt.NDArray[np.int64]
#: Columns -> the rows of a table with these columns, some at a time.
Read: TypeAlias = Callable[[Sequence[str]], Iterable[pa.Table]]
#: In place of the id of a parent.
NOBODY: Final = 0
_HASH: Final = pa.binary(32)
#: From this EXIF orientation on, width and height are those of the picture turned by a quarter.
_FIRST_SIDEWAYS: Final = 5


@dataclass(frozen=True, slots=True)
class Tables:
    """How a release's posts and its manifest are read, each from its first row to its last."""

    posts: Read
    manifest: Read

    @classmethod
    def of(cls, posts: Sequence[Path], manifest: Sequence[Path]) -> Self:
        """Tables in files that are trusted."""
        return cls(*(partial(_read_files, files) for files in (posts, manifest)))

    def ids(self) -> Numbers:
        """The ids of all posts, ascending."""
        return _numbers(self.manifest, "id")

    def parents(self) -> Numbers:
        """The id of each post's parent, or `NOBODY`."""
        return _numbers(self.posts, "parent_id")

    def sources(self) -> tuple[Numbers, Numbers]:
        """Rows of posts from pixiv, and the number of the work of each."""
        works = _numbers(self.posts, "pixiv_id")
        rows = np.flatnonzero(works)
        return rows, works[rows]

    def families(self) -> tuple[Numbers, Numbers]:
        """Rows, and the parent of the family of each: a parent is in its own family, and perhaps in its parent's."""
        ids, parents = self.ids(), self.parents()
        children, is_parent = np.flatnonzero(parents), np.isin(ids, parents)
        rows = np.concatenate([children, np.flatnonzero(is_parent)])
        return rows, np.concatenate([parents[children], ids[is_parent]])

    def artists(self) -> tuple[Numbers, Numbers]:
        """Rows, and the number of an artist of each, from 1 on: as many times as it has artists."""
        rows, names, before = [np.empty(0, np.int64)], [], 0
        for table in self.posts(["tag_string_artist"]):
            lists = pc.split_pattern(one_chunk(table["tag_string_artist"].cast(pa.string())), " ")
            row, name = pc.list_parent_indices(lists), pc.list_flatten(lists)
            is_named = pc.not_equal(name, "")
            rows.append(before + row.filter(is_named).to_numpy())
            names.append(name.filter(is_named).dictionary_encode())
            before += table.num_rows
        codes = pa.chunked_array(names, pa.dictionary(pa.int32(), pa.string())).unify_dictionaries()
        del names
        numbers = [np.empty(0, np.int32), *(chunk.indices.to_numpy() for chunk in codes.chunks)]
        return np.concatenate(rows), np.concatenate(numbers).astype(np.int64) + 1

    def hashes(self, column: str) -> tuple[Numbers, Words]:
        """The rows that have a perceptual hash, and their hashes."""
        found = _Found(len(self.ids()), words=4)
        for before, values in _columns(self.manifest, column):
            held = one_chunk(values.cast(_HASH))
            known = held.drop_null()
            data = np.frombuffer(known.buffers()[1] or b"", "<u8") if len(known) else np.empty(0, "<u8")
            found.add(before, held, data[4 * known.offset : 4 * (known.offset + len(known))])
        return found.rows, found.words

    def pixel_hashes(self) -> tuple[Numbers, Words]:
        """The rows of files that have a pixel hash, and their hashes: 128 bits, followed by as many zeros."""
        found = _Found(len(self.ids()), words=2)
        for before, values in _columns(self.manifest, "pixel_hash"):
            held = one_chunk(values.cast(pa.string()))
            found.add(before, held, _from_hex(held.drop_null()))
        return found.rows, np.concatenate([found.words, np.zeros_like(found.words)])

    def sides(self) -> npt.NDArray[np.int32]:
        """Width and height of each post's picture as it is shown, 2 × posts; 1 where they are not known."""
        sides = [np.empty((2, 0), np.int32)]
        for table in self.manifest(["width", "height", "orientation"]):
            width, height, turn = (_filled(table[name], 1) for name in ("width", "height", "orientation"))
            stored = np.maximum(np.stack([width, height]), 1)
            sides.append(np.where(turn >= _FIRST_SIDEWAYS, stored[::-1], stored).astype(np.int32))
        return np.concatenate(sides, axis=1)


class _Found:
    """Rows that have a hash, and their hashes, in arrays of their final size: they are never in memory twice."""

    def __init__(self, posts: int, *, words: int) -> None:
        self._rows, self._words = np.empty(posts, np.int64), np.empty((words, posts), np.uint64)
        self._count = 0

    def add(self, before: int, held: Any, data: npt.NDArray[Any]) -> None:
        """Take the next values of a column, and the words of those that are not null."""
        rows = before + np.flatnonzero(held.is_valid().to_numpy(zero_copy_only=False))
        end = self._count + len(rows)
        self._rows[self._count : end] = rows
        self._words[:, self._count : end] = data.reshape(len(rows), -1).T if len(rows) else 0
        self._count = end

    @property
    def rows(self) -> Numbers:
        return self._rows[: self._count]

    @property
    def words(self) -> Words:
        return self._words[:, : self._count]


def _read_files(files: Sequence[Path], columns: Sequence[str]) -> Iterator[pa.Table]:
    for path in files:
        yield from read_batches(path, columns=columns)


def _columns(read: Read, column: str) -> Iterator[tuple[int, Any]]:
    """How many rows come before, and the next values of a column; none of a column that an earlier version lacks."""
    before = 0
    for table in read([column]):
        if table.num_columns:
            yield before, table[column]
        before += table.num_rows
    # Arrow keeps freed memory for its next table; the arrays of a search need it more.
    pa.default_memory_pool().release_unused()


def _numbers(read: Read, column: str) -> Numbers:
    return np.concatenate([np.empty(0, np.int64), *(_filled(values, 0) for _, values in _columns(read, column))])


def _from_hex(texts: Any) -> npt.NDArray[Any]:
    """The bytes that texts stand for, as words."""
    if not len(texts):
        return np.empty(0, "<u8")
    _, offsets, data = texts.buffers()
    first, last = np.frombuffer(offsets, np.int32)[[texts.offset, texts.offset + len(texts)]]
    return np.frombuffer(unhexlify(memoryview(data)[first:last]), "<u8")


def _filled(values: Any, default: int) -> Numbers:
    numbers: Numbers = pc.fill_null(values.cast(pa.int64()), default).to_numpy()
    return numbers.copy()  # a view would hold on to what was read beside it

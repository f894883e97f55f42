"""What the search for duplicates reads of a release: columns of its posts and its manifest, as arrays.

Both tables are sorted by id and have the same ids, so the position of a row means the same post in both. Each column is
read when it is needed and no earlier, and only of the rows that are: what is held for each of ten million posts counts.
"""

from binascii import unhexlify
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.memory import give_back
from danbooru_pipeline.io.parquet import one_chunk, read_batches
from danbooru_pipeline.release.tables.duplicates.hamming import MEMBER_BITS, Members, Numbers
from danbooru_pipeline.release.tables.duplicates.rules import Flags, Words, is_plain

#: Columns -> the rows of a table with these columns, some at a time.
Read: TypeAlias = Callable[[Sequence[str]], Iterable[pa.Table]]
#: In place of the id of a parent.
NOBODY: Final = 0
#: The columns of the manifest that pictures are compared by.
DHASH: Final = "px512_dhash"
PHASH: Final = "px512_phash"
PIXEL_HASH: Final = "pixel_hash"
_ARTISTS: Final = "tag_string_artist"
_BINARY: Final = pa.binary(32)
#: So many groups have numbers that fit beside a row's.
_GROUPS: Final = 2 ** (63 - MEMBER_BITS)
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

    def sources(self) -> Members:
        """Posts from pixiv, grouped by work."""
        return _grouped(*_known(self.posts, "pixiv_id"))

    def families(self) -> Members:
        """Posts, grouped by parent: a parent is in its own family, and perhaps in its parent's."""
        ids, (children, parents) = self.ids(), _known(self.posts, "parent_id")
        places = np.minimum(np.searchsorted(ids, parents), len(ids) - 1)
        rows = np.unique(places[ids[places] == parents])
        return _grouped(np.concatenate([children, rows]), np.concatenate([parents, ids[rows]]))

    def artists(self, rows: Numbers, *, largest: int) -> Members:
        """Places of posts among some rows, grouped by artist: as often as each has artists.

        Artists of one of these posts, or of more than `largest`, are left out. Posts are read twice, so that nothing is
        held for them: they may be most of all.
        """
        names, counts = pa.array([], pa.string()), np.zeros(0, np.int64)
        for _, codes in self._artists_of(rows):
            names, numbers = _numbered(codes.dictionary, names)
            counts = np.concatenate([counts, np.zeros(len(names) - len(counts), np.int64)])
            counts[numbers] += np.bincount(codes.indices.to_numpy(), minlength=len(numbers))
        is_compared = (counts > 1) & (counts <= largest)
        members, end = np.empty(counts[is_compared].sum(), np.int64), 0
        for places, codes in self._artists_of(rows):
            numbers = pc.index_in(codes.dictionary, value_set=names).to_numpy().astype(np.int64)
            group = numbers[codes.indices.to_numpy()]
            part = (group << MEMBER_BITS | places)[is_compared[group]]
            members[end : end + len(part)] = part
            end += len(part)
        return members

    def _artists_of(self, rows: Numbers) -> Iterator[tuple[Numbers, pa.DictionaryArray]]:
        """Places of posts among some rows, and an artist of each; some posts at a time."""
        for before, table in _batches(self.posts, [_ARTISTS]):
            first, last = np.searchsorted(rows, [before, before + table.num_rows])
            texts = one_chunk(table[_ARTISTS].cast(pa.string())).take(pa.array(rows[first:last] - before))
            lists = pc.split_pattern(texts, " ")
            place, name = pc.list_parent_indices(lists), pc.list_flatten(lists)
            is_named = pc.not_equal(name, "")
            yield first + place.filter(is_named).to_numpy(), name.filter(is_named).dictionary_encode()

    def rows_with_content(self) -> Numbers:
        """The rows of pictures with enough in them for their perceptual hashes to mean something."""
        found = [np.empty(0, np.int64)]
        for before, table in _batches(self.manifest, [DHASH, PHASH]):
            is_known = pc.and_(*(pc.is_valid(table[name]) for name in (DHASH, PHASH)))
            dhash, phash = (_words(table[name].filter(is_known)).T for name in (DHASH, PHASH))
            found.append(before + np.flatnonzero(is_known)[~is_plain(dhash, phash)])
        return np.concatenate(found)

    def rows_with(self, column: str) -> Numbers:
        """The rows that have a value."""
        batches = _batches(self.manifest, [column])
        rows = (before + np.flatnonzero(pc.is_valid(table[column])) for before, table in batches)
        return np.concatenate([np.empty(0, np.int64), *rows])

    def hashes(self, column: str, rows: Numbers) -> tuple[Words, Flags]:
        """The hashes of rows, which ascend, and which of them have one. Zeros follow the 128 bits of a pixel hash."""
        words, is_known = np.zeros((4, len(rows)), np.uint64), np.zeros(len(rows), bool)
        for before, table in _batches(self.manifest, [column]):
            first, last = np.searchsorted(rows, [before, before + table.num_rows])
            values = table[column].take(pa.array(rows[first:last] - before))
            known = np.asarray(pc.is_valid(values))
            found = _words(values.drop_null())
            is_known[first:last] = known
            words[: found.shape[1], first:last][:, known] = found.T
        return words, is_known

    def sides(self) -> npt.NDArray[np.int32]:
        """Width and height of each post's picture as it is shown, 2 × posts; 1 where they are not known."""
        sides = [np.empty((2, 0), np.int32)]
        for table in self.manifest(["width", "height", "orientation"]):
            width, height, turn = (_filled(table[name], 1) for name in ("width", "height", "orientation"))
            stored = np.maximum(np.stack([width, height]), 1)
            sides.append(np.where(turn >= _FIRST_SIDEWAYS, stored[::-1], stored).astype(np.int32))
        return np.concatenate(sides, axis=1)


def _read_files(files: Sequence[Path], columns: Sequence[str]) -> Iterator[pa.Table]:
    for path in files:
        yield from read_batches(path, columns=columns)


def _batches(read: Read, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
    """How many rows come before, and the next ones; none where an earlier version lacks a column."""
    before = 0
    for table in read(columns):
        if table.num_columns == len(columns):
            yield before, table
        before += table.num_rows
    give_back()


def _numbered(names: pa.Array, known: pa.Array) -> tuple[pa.Array, Numbers]:
    """Known names with those that are new behind them, and the place there of each name."""
    places = pc.index_in(names, value_set=known)
    is_new = pc.is_null(places)
    numbers = pc.fill_null(places, 0).to_numpy().astype(np.int64)
    new = names.filter(is_new)
    numbers[np.asarray(is_new)] = len(known) + np.arange(len(new))
    return pa.concat_arrays([known, new]), numbers


def _numbers(read: Read, column: str) -> Numbers:
    found = (_filled(table[column], 0) for _, table in _batches(read, [column]))
    return np.concatenate([np.empty(0, np.int64), *found])


def _known(read: Read, column: str) -> tuple[Numbers, Numbers]:
    """The rows in which a column has a number other than 0, and these numbers."""
    found = [np.empty((2, 0), np.int64)]
    for before, table in _batches(read, [column]):
        values = _filled(table[column], 0)
        rows = np.flatnonzero(values)
        found.append(np.stack([before + rows, values[rows]]))
    rows, numbers = np.concatenate(found, axis=1)
    return rows, numbers


def _grouped(rows: Numbers, groups: Numbers) -> Members:
    """Members of groups, whose numbers are ids; only of ids that no site has yet is the place among them needed."""
    if len(groups) and not 0 <= groups.min() <= groups.max() < _GROUPS:
        groups = np.unique(groups, return_inverse=True)[1]
    members: Members = groups << MEMBER_BITS
    members |= rows
    return members


def _words(hashes: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Hashes, none of them null: hashes × words; two words of a text of 32 hexadecimal digits, else four."""
    if pa.types.is_string(hashes.type) or pa.types.is_large_string(hashes.type):
        return _from_hex(one_chunk(hashes.cast(pa.string()))).reshape(-1, 2)
    held = one_chunk(hashes.cast(_BINARY))
    data = np.frombuffer(held.buffers()[1] or b"", "<u8") if len(held) else np.empty(0, "<u8")
    return data[4 * held.offset : 4 * (held.offset + len(held))].reshape(-1, 4)


def _from_hex(texts: pa.Array) -> npt.NDArray[np.uint64]:
    """The bytes that texts stand for, as words."""
    if not len(texts):
        return np.empty(0, "<u8")
    _, offsets, data = texts.buffers()
    first, last = np.frombuffer(offsets, np.int32)[[texts.offset, texts.offset + len(texts)]]
    return np.frombuffer(unhexlify(memoryview(data)[first:last]), "<u8")


def _filled(values: pa.ChunkedArray, default: int) -> Numbers:
    numbers: Numbers = pc.fill_null(values.cast(pa.int64()), default).to_numpy()
    return numbers.copy()  # a view would hold on to what was read beside it

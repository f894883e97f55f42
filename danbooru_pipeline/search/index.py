"""The index of a release: a file of roaring bitmaps of ids, and a table that says where each begins and what it is of.

``bitmaps.roar`` has bitmaps in the portable format (https://github.com/RoaringBitmap/RoaringFormatSpec), one after the
other. ``names.parquet`` has a row for each: field, value, category of a tag, number of posts, first byte, bytes; sorted
by field and value, as bytes. A reader fetches the bytes of the bitmaps that a search names, and nothing else.
"""

import mmap
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyroaring import BitMap

from danbooru_pipeline.io.atomic import atomic_file
from danbooru_pipeline.io.parquet import write_parquet
from danbooru_pipeline.release_paths import INDEX_BITMAPS, INDEX_NAMES
from danbooru_pipeline.search.postings import EVERYTHING, MAX_ID, Ids, Postings, Read, read_postings

NAMES_SCHEMA: Final = pa.schema(
    [
        pa.field("field", pa.string(), nullable=False),
        pa.field("value", pa.string(), nullable=False),
        pa.field("category", pa.string()),
        pa.field("posts", pa.int64(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ],
    metadata={"danbooru_pipeline.index": "1"},
)
#: Small, so that a reader of a range of names reads little.
_GROUP_ROWS: Final = 4_000
#: Names after which what was read of the pairs is forgotten.
_NAMES_BETWEEN: Final = 1_000
#: Pairs of a value and a post that are held before they are spilled: 8 bytes each, and as many to sort them.
_SPILL_PAIRS: Final = 2_000_000


@dataclass(slots=True)
class _Run:
    """Postings of some posts on disk, sorted by value; `starts` has one more entry than `values`."""

    values: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    ids: npt.NDArray[np.uint32]

    def forget(self) -> None:
        """Take the pages that were read out of this process's memory; the system keeps them as long as it has room."""
        mapped: Any = self.ids.base
        if isinstance(mapped, mmap.mmap):  # an empty run is of no file
            mapped.madvise(mmap.MADV_DONTNEED)


@dataclass(slots=True)
class _Spill:
    """Numbers the values, and writes postings to a file without a name when there are enough of them."""

    file: IO[bytes]
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    spilled: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = field(default_factory=list)
    _values: list[npt.NDArray[np.int64]] = field(default_factory=list)
    _counts: list[npt.NDArray[np.int64]] = field(default_factory=list)
    _ids: list[Ids] = field(default_factory=list)
    _held: int = 0

    def add(self, postings: Postings) -> None:
        numbers = self.numbers
        keys = [numbers.setdefault((postings.field, value), len(numbers)) for value in postings.values]
        self._values.append(np.array(keys, np.int64))
        self._counts.append(np.diff(postings.starts))
        self._ids.append(postings.ids)
        self._held += len(postings.ids)
        if self._held >= _SPILL_PAIRS:
            self.spill()

    def spill(self) -> None:
        """Write what is held, sorted by value; ids of a value stay in the order in which they came."""
        if not self._ids:
            return
        values, counts, ids = np.concatenate(self._values), np.concatenate(self._counts), np.concatenate(self._ids)
        begins = np.cumsum(counts) - counts
        order = np.argsort(values, kind="stable")
        lengths = counts[order]
        ends = np.cumsum(lengths)
        # The ids of each piece, piece by piece in the new order.
        places = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths) + np.repeat(begins[order], lengths)
        self.file.write(ids[places].tobytes())
        first = np.flatnonzero(np.diff(values[order], prepend=-1))
        starts = np.append((ends - lengths)[first], ends[-1])
        self.spilled.append((values[order][first], starts))
        self._values, self._counts, self._ids, self._held = [], [], [], 0

    def runs(self) -> list[_Run]:
        """All that was added, in files that are mapped into memory."""
        self.spill()
        self.file.flush()
        found, begin = [], 0
        for values, starts in self.spilled:
            size = int(starts[-1])
            ids = np.memmap(self.file, np.uint32, "r", offset=4 * begin, shape=(size,)) if size else np.empty(0, "u4")
            found.append(_Run(values, starts, ids))
            begin += size
        return found


def write_index(
    folder: Path, read: Read, tables: Sequence[str], *, categories: Mapping[str, str], spill: Path | None = None
) -> int:
    """Write the index of a release. The same tables give the same bytes. Returns how many names it has.

    Args:
        folder: gets the folder ``index``.
        read: gives the rows of a table.
        tables: that the release has.
        categories: tag -> the name of its category.
        spill: where unfinished postings go; the system's temporary folder by default.
    """
    rows: list[tuple[str, str, str | None, int, int, int]] = []
    with atomic_file(folder / INDEX_BITMAPS) as file:
        for (name, value), bitmap in bitmaps(read, tables, spill=spill):
            data = bitmap.serialize()
            begin = rows[-1][4] + rows[-1][5] if rows else 0
            category = categories.get(value) if name == "tag" else None
            rows.append((name, value, category, len(bitmap), begin, len(data)))
            file.write(data)
    columns = list(zip(*rows, strict=True)) or [()] * len(NAMES_SCHEMA)
    arrays = [pa.array(column, each.type) for column, each in zip(columns, NAMES_SCHEMA, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=NAMES_SCHEMA)
    parts = (table.slice(start, _GROUP_ROWS) for start in range(0, max(1, table.num_rows), _GROUP_ROWS))
    write_parquet(folder / INDEX_NAMES, parts, schema=NAMES_SCHEMA, dictionary=("field", "category"))
    return len(rows)


def bitmaps(
    read: Read, tables: Sequence[str], *, spill: Path | None = None
) -> Iterator[tuple[tuple[str, str], BitMap]]:
    """All fields and values in order, with the posts of each."""
    with tempfile.TemporaryFile(prefix=".index-", dir=spill) as file:
        held = _Spill(file)
        for postings in read_postings(read, tables):
            held.add(postings)
        runs = held.runs()
        # A text's bytes sort as its characters do, so no encoding is needed here.
        order = sorted(held.numbers.items())
        ranks = np.empty(len(order), np.int64)
        ranks[[number for _, number in order]] = np.arange(len(order))
        pieces = _Pieces(runs, ranks)
        everything = _united(pieces[ranks[held.numbers[EVERYTHING]]]) if EVERYTHING in held.numbers else BitMap()
        for rank, (key, _) in enumerate(order):
            if rank % _NAMES_BETWEEN == 0:
                for run in runs:
                    run.forget()
            # A side table may speak of posts that the release does not have.
            bitmap = _united(pieces[rank]) & everything
            bitmap.run_optimize()
            yield key, bitmap
        del pieces, runs


def _united(pieces: Sequence[tuple[_Run, int]]) -> BitMap:
    bitmap = BitMap()
    for run, place in pieces:
        bitmap |= BitMap(np.ascontiguousarray(run.ids[run.starts[place] : run.starts[place + 1]]))
    return bitmap


class _Pieces:
    """The pieces of each rank: which run has it, and where."""

    def __init__(self, runs: Sequence[_Run], ranks: npt.NDArray[np.int64]) -> None:
        self._runs = runs
        of_rank = np.concatenate([ranks[run.values] for run in runs]) if runs else np.empty(0, np.int64)
        none = [np.empty(0, np.int32)]
        number = np.concatenate(none + [np.full(len(run.values), n, np.int32) for n, run in enumerate(runs)])
        place = np.concatenate(none + [np.arange(len(run.values), dtype=np.int32) for run in runs])
        order = np.argsort(of_rank, kind="stable")
        self._number, self._place = number[order].astype(np.int32), place[order].astype(np.int32)
        self._starts = np.searchsorted(of_rank[order], np.arange(len(ranks) + 1))

    def __getitem__(self, rank: int) -> list[tuple[_Run, int]]:
        part = slice(self._starts[rank], self._starts[rank + 1])
        return [
            (self._runs[number], place)
            for number, place in zip(self._number[part].tolist(), self._place[part].tolist(), strict=True)
        ]


def read_bitmap(file: BinaryIO, *, offset: int, size: int) -> BitMap:
    """One bitmap of the file.

    Raises:
        ValueError: there is none of this size at this place.
    """
    file.seek(offset)
    data = file.read(size)
    if len(data) != size:
        raise ValueError(f"{INDEX_BITMAPS} is cut off")
    bitmap: BitMap = BitMap.deserialize(data)
    return bitmap


def ids_in(names: pa.Table, bitmaps: BinaryIO, ids: Collection[int]) -> set[int]:
    """Those of some ids that any bitmap has.

    Raises:
        ValueError: the file of bitmaps is damaged.
    """
    wanted = BitMap(id_ for id_ in ids if 0 < id_ <= MAX_ID)
    found = BitMap()
    for offset, size in zip(names["offset"].to_pylist(), names["bytes"].to_pylist(), strict=True):
        found |= wanted & read_bitmap(bitmaps, offset=offset, size=size)
    return set(found)

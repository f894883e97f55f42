"""The index of a release: a file of roaring bitmaps of ids, and a table that says where each begins and what it is of.

``bitmaps.roar`` has bitmaps in the portable format (https://github.com/RoaringBitmap/RoaringFormatSpec), one after the
other; in that of 64 bits if an id needs it. ``names.parquet`` has a row for each: field, value, category of a tag,
number of posts, first byte, bytes; sorted by field and value, as bytes. Its metadata says which of both it is.
A reader fetches the bytes of the bitmaps that a search names, and nothing else.
"""

import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyroaring import BitMap

from danbooru_pipeline.io.atomic import atomic_file
from danbooru_pipeline.io.parquet import write_parquet
from danbooru_pipeline.release_paths import INDEX_BITMAPS, INDEX_NAMES
from danbooru_pipeline.search.bitmaps import NARROW, WIDE, Ids, Kind, bitmap_of, largest_id
from danbooru_pipeline.search.postings import EVERYTHING, Postings, Read, kind_of_posts, read_postings

_VERSION: Final = b"danbooru_pipeline.index"
NAMES_SCHEMA: Final = pa.schema(
    [
        pa.field("field", pa.string(), nullable=False),
        pa.field("value", pa.string(), nullable=False),
        pa.field("category", pa.string()),
        pa.field("posts", pa.int64(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ],
    metadata={_VERSION: b"1"},
)
#: What the metadata of the table says of its bitmaps.
_KINDS: Final[Mapping[bytes, Kind]] = {b"1": NARROW, b"2": WIDE}
#: Small, so that a reader of a range of names reads little.
_GROUP_ROWS: Final = 4_000
#: Pairs of a value and a post that are held before they are spilled: 8 bytes each, and as many to sort them.
_SPILL_PAIRS: Final = 2_000_000
#: Pairs that are read back at a time, if a value does not have more.
_BLOCK_PAIRS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Run:
    """Postings of some posts on disk, sorted by value.

    Attributes:
        values: numbers of the values, in the order of their texts.
        counts: how many posts each has here.
        begin: where its ids are in the file, counted in ids.
    """

    values: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    begin: int


@dataclass(slots=True)
class _Spill:
    """Numbers the values, and writes postings to a file without a name when there are enough of them."""

    file: IO[bytes]
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    runs: list[_Run] = field(default_factory=list)
    _values: list[npt.NDArray[np.int64]] = field(default_factory=list)
    _counts: list[npt.NDArray[np.int64]] = field(default_factory=list)
    _ids: list[Ids] = field(default_factory=list)
    _held: int = 0
    _written: int = 0

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
        """Write what is held, sorted by the texts of values; ids of a value stay in the order in which they came."""
        if not self._ids:
            return
        values, counts, ids = np.concatenate(self._values), np.concatenate(self._counts), np.concatenate(self._ids)
        names = list(self.numbers)
        held = np.unique(values)
        in_order = np.array(sorted(held.tolist(), key=names.__getitem__), np.int64)
        places = np.empty(len(names), np.int64)
        places[in_order] = np.arange(len(in_order))
        self.file.write(_gathered(ids, counts, places[values]).tobytes())
        per_value = np.bincount(places[values], counts, len(in_order)).astype(np.int32)
        self.runs.append(_Run(in_order.astype(np.int32), per_value, self._written))
        self._written += len(ids)
        self._values, self._counts, self._ids, self._held = [], [], [], 0

    def finish(self) -> None:
        """Write the rest, so that all can be read back."""
        self.spill()
        self.file.flush()


def _gathered(ids: Ids, lengths: npt.NDArray[Any], keys: npt.NDArray[Any]) -> Ids:
    """The ids of pieces that lie one after the other, in the order of the pieces' keys; equal keys keep theirs."""
    order = np.argsort(keys, kind="stable")
    begins, sorted_lengths = np.cumsum(lengths) - lengths, lengths[order]
    ends = np.cumsum(sorted_lengths)
    places = np.arange(len(ids)) + np.repeat(begins[order] - (ends - sorted_lengths), sorted_lengths)
    found: Ids = ids[places]
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
    kind = kind_of_posts(read)
    with atomic_file(folder / INDEX_BITMAPS) as file:
        for (name, value), bitmap in bitmaps(read, tables, kind=kind, spill=spill):
            data = bitmap.serialize()
            begin = rows[-1][4] + rows[-1][5] if rows else 0
            category = categories.get(value) if name == "tag" else None
            rows.append((name, value, category, len(bitmap), begin, len(data)))
            file.write(data)
    columns = list(zip(*rows, strict=True)) or [()] * len(NAMES_SCHEMA)
    arrays = [pa.array(column, each.type) for column, each in zip(columns, NAMES_SCHEMA, strict=True)]
    schema = _schema_for(kind)
    table = pa.Table.from_arrays(arrays, schema=schema)
    parts = (table.slice(start, _GROUP_ROWS) for start in range(0, max(1, table.num_rows), _GROUP_ROWS))
    write_parquet(folder / INDEX_NAMES, parts, schema=schema, dictionary=("field", "category"))
    return len(rows)


def kind_of(schema: pa.Schema) -> Kind:
    """The bitmaps that a table of names is of.

    Raises:
        ValueError: a later version made it.
    """
    version = (schema.metadata or {}).get(_VERSION, b"1")
    if version not in _KINDS:
        known = version.decode(errors="replace")[:20]
        raise ValueError(
            f"{INDEX_NAMES} was written by a later version, as index version {known}; install that version"
        )
    return _KINDS[version]


def _schema_for(kind: Kind) -> pa.Schema:
    version = next(version for version, each in _KINDS.items() if each is kind)
    return NAMES_SCHEMA.with_metadata({_VERSION: version})


def bitmaps(
    read: Read, tables: Sequence[str], *, kind: Kind = NARROW, spill: Path | None = None
) -> Iterator[tuple[tuple[str, str], BitMap]]:
    """All fields and values in order, with the posts of each."""
    with tempfile.TemporaryFile(prefix=".index-", dir=spill) as file:
        held = _Spill(file)
        for postings in read_postings(read, tables, kind=kind):
            held.add(postings)
        held.finish()
        # A text's bytes sort as its characters do, so no encoding is needed here.
        keys = sorted(held.numbers)
        reader = _Reader.of(held, keys, kind)
        # A side table may speak of posts that the release does not have.
        everything = reader.united(keys.index(EVERYTHING)) if EVERYTHING in held.numbers else kind()
        for rank, posts in reader.all():
            bitmap = posts & everything
            bitmap.run_optimize()
            yield keys[rank], bitmap


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads back what was spilled, value by value in order.

    Attributes:
        ranks: of the values of each run among all values, ascending.
        totals: how many posts each value has.
        kind: of the bitmaps.
    """

    file: IO[bytes]
    runs: Sequence[_Run]
    ranks: Sequence[npt.NDArray[np.int32]]
    totals: npt.NDArray[np.int64]
    kind: Kind

    @classmethod
    def of(cls, held: _Spill, keys: Sequence[tuple[str, str]], kind: Kind) -> Self:
        """Of all that was spilled; `keys` are its values in order."""
        rank_of = np.empty(len(keys), np.int32)
        rank_of[[held.numbers[key] for key in keys]] = np.arange(len(keys), dtype=np.int32)
        ranks = [rank_of[run.values] for run in held.runs]
        totals = np.zeros(len(keys), np.int64)
        for run, places in zip(held.runs, ranks, strict=True):
            totals[places] += run.counts
        return cls(held.file, held.runs, ranks, totals, kind)

    def all(self) -> Iterator[tuple[int, BitMap]]:
        """The posts of each value, a block of values at a time."""
        ends = np.cumsum(self.totals)
        first = 0
        while first < len(ends):
            before = int(ends[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + _BLOCK_PAIRS, side="right")))
            if last == first + 1:
                yield first, self.united(first)
            else:
                yield from self._block(first, last)
            first = last

    def united(self, rank: int) -> BitMap:
        """The posts of one value, which may be all there are."""
        bitmap = self.kind()
        for _, _, ids in self._parts(rank, rank + 1):
            bitmap |= bitmap_of(ids, self.kind)
        return bitmap

    def _block(self, first: int, last: int) -> Iterator[tuple[int, BitMap]]:
        parts = list(self._parts(first, last))
        ranks, counts, ids = (np.concatenate(column) for column in zip(*parts, strict=True))
        ids = _gathered(ids, counts, ranks)
        end = 0
        for rank in range(first, last):
            begin, end = end, end + int(self.totals[rank])
            yield rank, bitmap_of(ids[begin:end], self.kind)

    def _parts(self, first: int, last: int) -> Iterator[tuple[Any, Any, Ids]]:
        """Of each run that has some of these values: ranks, how many posts each has there, and their ids."""
        kind = np.dtype(np.uint32 if self.kind is NARROW else np.int64)
        size = kind.itemsize
        for run, ranks in zip(self.runs, self.ranks, strict=True):
            low, high = np.searchsorted(ranks, [first, last]).tolist()
            if low < high:
                counts = run.counts[low:high]
                offset = run.begin + int(run.counts[:low].sum())
                data = os.pread(self.file.fileno(), size * int(counts.sum()), size * offset)
                yield ranks[low:high], counts, np.frombuffer(data, kind)


def read_bitmap(file: BinaryIO, *, offset: int, size: int, kind: Kind = NARROW) -> BitMap:
    """One bitmap of the file.

    Raises:
        ValueError: there is none of this size at this place.
    """
    file.seek(offset)
    data = file.read(size)
    if size <= 0 or len(data) != size:
        raise ValueError(f"{INDEX_BITMAPS} is cut off, or {INDEX_NAMES} names what is not in it")
    return kind.deserialize(data)


def ids_in(names: pa.Table, bitmaps: BinaryIO, ids: Collection[int]) -> set[int]:
    """Those of some ids that any bitmap has.

    Raises:
        ValueError: the file of bitmaps is damaged.
    """
    kind = kind_of(names.schema)
    wanted = kind(id_ for id_ in ids if 0 < id_ <= largest_id(kind))
    found = kind()
    for offset, size in zip(names["offset"].to_pylist(), names["bytes"].to_pylist(), strict=True):
        found |= wanted & read_bitmap(bitmaps, offset=offset, size=size, kind=kind)
    return set(found)

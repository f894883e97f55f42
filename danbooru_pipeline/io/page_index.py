"""The page indexes of a Parquet file: where each page of a column lies, which rows it has, and between which values.

Readers that select rows go by them alone, and Arrow neither uses nor shows them. An index may lie about the values of a
page, or lead to another one, so it is held against the pages.

Source: PageIndex.md and parquet.thrift of Apache Parquet.
"""

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.compact_thrift import read_struct

_END_BYTES: Final = 8  # the length of the footer, and `PAR1`
#: Of a footer, and of an index.
_MOST_BYTES: Final = 2**26
#: Of the head of a page, which may tell its smallest and largest value, too.
_HEAD_BYTES: Final = 2**16
_NUMBERS: Final[dict[str, str]] = {"BOOLEAN": "<?", "FLOAT": "<f", "DOUBLE": "<d"}


@dataclass(frozen=True, slots=True)
class Page:
    """What an index says of a page.

    Attributes:
        first, end: rows of the row group.
        values: how many the page itself has, those that are null or stand for an empty list included.
        smallest, largest: of its values, as they are stored; None where the index does not say.
        is_null: whether it is said to have no value.
    """

    first: int
    end: int
    values: int
    smallest: bytes | None
    largest: bytes | None
    is_null: bool

    def denies(self, column: pa.Array, physical_type: str) -> bool:
        """Whether values of the page are outside of what the index says."""
        found = pc.min_max(_as_stored(column)).as_py()
        if found["min"] is None:
            return False
        if self.is_null:
            return True
        if self.smallest is None or self.largest is None:
            return False
        read = _reader_of(physical_type, column.type)
        return bool(found["min"] < read(self.smallest) or found["max"] > read(self.largest))


def read_pages(file: BinaryIO) -> list[list[list[Page]]]:
    """The pages of each column in each row group; none for a column without an index.

    Raises:
        ValueError: an index does not lead to the pages of its column, or there is what no release has.
    """
    try:
        return [[_pages(file, chunk, rows=group[3]) for chunk in group[1]] for group in _footer(file)[4]]
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"its footer or a page index of it lacks something ({error!r})") from error


def _footer(file: BinaryIO) -> dict[int, Any]:
    size = file.seek(0, os.SEEK_END)
    end = _read(file, size - _END_BYTES, _END_BYTES)
    length = int.from_bytes(end[:4], "little")
    if length > min(size - _END_BYTES, _MOST_BYTES):
        raise ValueError("its footer is larger than any table's")
    return read_struct(_read(file, size - _END_BYTES - length, length))[0]


def _pages(file: BinaryIO, chunk: dict[int, Any], *, rows: int) -> list[Page]:
    about = chunk[3]
    if 1 in chunk:
        raise ValueError("a column of it lies in another file, and no release has one")
    if 14 in about:
        raise ValueError("it has a Bloom filter, and no release has one")
    if 4 not in chunk and 6 not in chunk:
        return []
    where = read_struct(_read(file, chunk[4], chunk[5]))[0][1]
    values = list(_page_values(file, about, where))
    firsts = [each[3] for each in where]
    ends = [*firsts[1:], rows]
    if firsts[0] or any(first >= end for first, end in zip(firsts, ends, strict=True)):
        raise ValueError("a page index of it names other rows than there are")
    said = read_struct(_read(file, chunk[6], chunk[7]))[0] if 6 in chunk else {}
    nulls, smallest, largest = ([*said[field]] if said else [None] * len(where) for field in (1, 2, 3))
    return [
        Page(first, end, count, low, high, is_null=null == 1)
        for first, end, count, null, low, high in zip(firsts, ends, values, nulls, smallest, largest, strict=True)
    ]


def _page_values(file: BinaryIO, about: dict[int, Any], where: Sequence[dict[int, Any]]) -> Iterator[int]:
    """How many values each page has by its own head, if the index names all pages of the column and nothing else."""
    place = about[9]
    for each in where:
        head, size = read_struct(_read(file, place, _HEAD_BYTES))
        if each[1] != place or each[2] != size + head[3] or not head.keys() & {5, 8}:
            raise ValueError("a page index of it leads to something else than the pages of its column")
        place += each[2]
        yield head[5][1] if 5 in head else head[8][1]
    if place != min(about.get(11) or about[9], about[9]) + about[7]:
        raise ValueError("a page index of it leaves out pages of its column")


def _read(file: BinaryIO, place: int, count: int) -> bytes:
    if place < 0 or not 0 <= count <= _MOST_BYTES:
        raise ValueError("it names a place that no file has")
    file.seek(place)
    return file.read(count)


def _as_stored(column: pa.Array) -> pa.Array:
    """The column in a type whose values compare as those that are stored: texts by their bytes, times as numbers."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary())
    return column


def _reader_of(physical_type: str, kind: pa.DataType) -> Callable[[bytes], Any]:
    if physical_type in {"INT32", "INT64"}:
        return lambda data: int.from_bytes(data, "little", signed=not pa.types.is_unsigned_integer(kind))
    if (form := _NUMBERS.get(physical_type)) is not None:
        return lambda data: struct.unpack(form, data)[0]
    return bytes

"""Where an evaluation gets its bitmaps from: the index of a release, or a scan of its tables where it has none."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from danbooru_pipeline.search.bitmaps import Kind, bitmap_of
from danbooru_pipeline.search.index import read_bitmap
from danbooru_pipeline.search.postings import EVERYTHING, Read, kind_of_posts, read_postings

#: A field and a value of it.
Key: TypeAlias = tuple[str, str]
#: A field and two values -> at least those rows of the table of names that are between them, both included, sorted; of
#: no other field.
Names: TypeAlias = Callable[[str, str, str], pa.Table]
#: Behind every text that a tag begins with.
_LAST: Final = "\U0010ffff"


class Catalog(Protocol):
    """Names of a release, and the posts of each.

    Attributes:
        kind: of its bitmaps.
    """

    kind: Kind

    def posts(self, field: str, value: str) -> BitMap | None:
        """The posts that have a value; None when no post has it."""

    def counts(self, field: str) -> pa.Table:
        """The values of a field with `value` and `posts`, sorted by value."""

    def matching(self, field: str, pattern: str) -> list[str]:
        """Values of a field that a pattern with ``*`` matches."""


def pattern_mask(values: pa.Array | pa.ChunkedArray, pattern: str, *, ignore_case: bool = False) -> pa.Array:
    """Which texts a pattern matches as a whole. The time grows with the texts alone, whatever the pattern is."""
    escaped = ".*".join("".join(f"\\x{{{ord(letter):x}}}" for letter in part) for part in _parts(pattern))
    return pc.match_substring_regex(values, f"(?s)^{escaped}$", ignore_case=ignore_case)


def _parts(pattern: str) -> list[str]:
    """What stands between the asterisks; several in a row are one."""
    parts = pattern.split("*")
    return [part for n, part in enumerate(parts) if part or n in {0, len(parts) - 1}]


@dataclass(slots=True)
class IndexCatalog:
    """The index of a release, of which only what is asked for is read.

    Attributes:
        names: gives rows of its table of names.
        bitmaps: its file of bitmaps.
        kind: of these.
    """

    names: Names
    bitmaps: BinaryIO
    kind: Kind
    bytes_read: int = 0

    def posts(self, field: str, value: str) -> BitMap | None:
        """The posts that have a value; None when no post has it."""
        part = self.names(field, value, value)
        place = pc.index(part["value"], value).as_py()
        if place < 0:
            return None
        row = part.slice(place, 1).to_pylist()[0]
        self.bytes_read += row["bytes"]
        return read_bitmap(self.bitmaps, offset=row["offset"], size=row["bytes"], kind=self.kind)

    def counts(self, field: str) -> pa.Table:
        """The values of a field, sorted, and how many posts each has."""
        return self.names(field, "", _LAST)

    def matching(self, field: str, pattern: str) -> list[str]:
        """Values of a field that a pattern matches."""
        start = pattern.partition("*")[0]
        values = self.names(field, start, start + _LAST)["value"]
        return list(values.filter(pattern_mask(values, pattern)).to_pylist())


#: Fields with so many values that a scan keeps only those that it is asked for.
_LARGE: Final = frozenset({"tag", "pool"})


class ScannedCatalog:
    """The same from one scan over the tables of a release, for the names that a search needs.

    Args:
        read: gives the rows of a table.
        tables: that the release has.
        keys: that will be asked for.
        patterns: of tags that will be asked for.
    """

    def __init__(self, read: Read, tables: Sequence[str], *, keys: Iterable[Key], patterns: Iterable[str]) -> None:
        self._keys, self._patterns = frozenset(keys), frozenset(patterns)
        self._found: dict[Key, BitMap] = {}
        self._counts: dict[str, int] = {}
        self.kind = kind_of_posts(read)
        for postings in read_postings(read, tables, kind=self.kind, wanted=self._wanted):
            for value, ids in postings:
                bitmap = bitmap_of(ids, self.kind)
                held = self._found.setdefault((postings.field, value), bitmap)
                if held is not bitmap:
                    held |= bitmap
        everything = self._found.get(EVERYTHING, self.kind())
        for bitmap in self._found.values():
            bitmap &= everything  # noqa: PLW2901 - in place

    def _wanted(self, field: str, values: pa.Array) -> npt.NDArray[np.bool_] | None:
        if field not in _LARGE:
            return None
        wanted = pa.array([value for name, value in self._keys if name == field], pa.string())
        mask = pc.is_in(values, wanted)
        if field == "tag":
            self._names(values)
            for pattern in self._patterns:
                mask = pc.or_(mask, pattern_mask(values, pattern))
        found: npt.NDArray[np.bool_] = mask.to_numpy(zero_copy_only=False)
        return found

    def _names(self, values: pa.Array) -> None:
        """Count in how many parts of the release each tag is: enough to suggest one."""
        for value in values.to_pylist():
            self._counts[value] = self._counts.get(value, 0) + 1

    def posts(self, field: str, value: str) -> BitMap | None:
        """The posts that have a value; None when no post has it."""
        return self._found.get((field, value))

    def counts(self, field: str) -> pa.Table:
        """The values of a field, sorted, and how many posts each has."""
        if field == "tag":
            rows = sorted(self._counts.items())
        else:
            rows = sorted((value, len(ids)) for (name, value), ids in self._found.items() if name == field)
        values = pa.array([value for value, _ in rows], pa.string())
        return pa.table({"value": values, "posts": pa.array([posts for _, posts in rows], pa.int64())})

    def matching(self, field: str, pattern: str) -> list[str]:
        """Values of a field that a pattern matches."""
        values = self.counts(field)["value"]
        return list(values.filter(pattern_mask(values, pattern)).to_pylist())

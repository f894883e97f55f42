"""What the index has of each post: the values of its fields, taken from the tables of a release some rows at a time.

`FACETS` has all fields; the writer of the index and the scan of a release without one both read by it, so they agree.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.odd_columns import numbers
from danbooru_pipeline.io.parquet import one_chunk
from danbooru_pipeline.search.bitmaps import NARROW, Ids, Kind, checked_ids, kind_for, largest_id
from danbooru_pipeline.search.metatags import SIDES, STATUSES

#: Columns of a table of a release, which may lack them or be missing -> its rows, some at a time.
Read: TypeAlias = Callable[[str, Sequence[str]], Iterator[pa.Table]]
#: The name of a value; None for all values of a field.
Wanted: TypeAlias = Callable[[str, pa.Array], npt.NDArray[np.bool_] | None]

_SHORT: Final = 2**16
#: The field and value that all posts have, and those whose field only says that there is something.
EVERYTHING: Final = ("post", "all")
ANY: Final = "any"


@dataclass(frozen=True, slots=True)
class Postings:
    """The posts of some values of a field: those of ``values[n]`` are ``ids[starts[n]:starts[n + 1]]``."""

    field: str
    values: list[str]
    starts: npt.NDArray[np.int64]
    ids: Ids

    def __iter__(self) -> Iterator[tuple[str, Ids]]:
        return ((value, self.ids[self.starts[n] : self.starts[n + 1]]) for n, value in enumerate(self.values))


@dataclass(frozen=True, slots=True)
class Facet:
    """Fields that come from some columns of a table.

    Attributes:
        table: like ``posts``.
        columns: that are read.
        read: a table with them -> pairs of field and texts, one for each pair of a row and a value, with its row.
    """

    table: str
    columns: tuple[str, ...]
    read: Callable[[pa.Table], Iterator["Pairs"]]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Values of a field, and the id of the post that has each.

    Attributes:
        strays: ids may be of posts that are in no release, whatever their number; they are left out.
    """

    field: str
    values: pa.Array
    ids: pa.Array
    strays: bool = False


def facets(tables: Sequence[str]) -> tuple[Facet, ...]:
    """All facets of a release that has these tables."""
    return tuple(facet for facet in _FACETS if facet.table in tables)


def grouped(pairs: Pairs, wanted: Wanted | None = None, *, kind: Kind = NARROW) -> Postings:
    """Pairs by their value; only those values that are wanted.

    Raises:
        IdTooLarge: a post does not fit bitmaps of this kind.
    """
    encoded = pairs.values.dictionary_encode()
    names, codes = encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False)
    ids = pairs.ids.to_numpy(zero_copy_only=False)
    kept = None if wanted is None else wanted(pairs.field, names)
    if kept is not None:
        numbers = np.full(len(names), -1, np.int32)
        numbers[kept] = np.arange(int(kept.sum()), dtype=np.int32)
        codes = numbers[codes]
        ids, codes = ids[codes >= 0], codes[codes >= 0]
        names = names.filter(pa.array(kept))
    if pairs.strays:
        held = (ids > 0) & (ids <= largest_id(kind))
        ids, codes = ids[held], codes[held]
    counts = np.bincount(codes, minlength=len(names))
    # Numbers of two bytes are sorted by their digits, three times as fast.
    order = np.argsort(codes.astype(np.uint16) if len(names) <= _SHORT else codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    return Postings(pairs.field, names.to_pylist(), starts, checked_ids(ids[order], kind))


def kind_of_posts(read: Read) -> Kind:
    """The bitmaps that all posts of a release fit."""
    largest = (pc.max(table["id"].cast(pa.int64())).as_py() or 0 for table in read("posts", ("id",)))
    return kind_for(max(largest, default=0))


def read_postings(
    read: Read, tables: Sequence[str], *, kind: Kind = NARROW, wanted: Wanted | None = None
) -> Iterator[Postings]:
    """The postings of a release for bitmaps of a kind, some rows of its tables at a time; only of these values.

    Raises:
        As `grouped`.
    """
    for facet in facets(tables):
        for table in read(facet.table, facet.columns):
            for pairs in facet.read(table):
                if len(pairs.values):
                    yield grouped(pairs, wanted, kind=kind)


def words_of(column: pa.ChunkedArray | pa.Array, ids: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The words of texts, and the id for each of them. A word that a text has twice counts once, later."""
    words = pc.split_pattern(one_chunk(column).fill_null(""), " ")
    flat, rows = words.flatten(), pc.list_parent_indices(words)
    there = pc.not_equal(flat, "")
    return flat.filter(there), ids.take(rows.filter(there))


def _column(table: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    """A column; null where the table, of an older release perhaps, lacks it."""
    if name not in table.column_names:
        return pa.nulls(table.num_rows, kind)
    return one_chunk(table[name]).cast(kind)


def _ids(table: pa.Table, name: str = "id") -> pa.Array:
    return one_chunk(table[name]).cast(pa.int64())


def _texts(field: str, values: pa.Array, ids: pa.Array) -> Pairs:
    held = values.is_valid()
    return Pairs(field, values.filter(held), ids.filter(held))


def _marked(field: str, value: str, marks: pa.Array, ids: pa.Array) -> Pairs:
    found = ids.filter(marks.fill_null(False))  # noqa: FBT003 - Arrow's own
    return Pairs(field, pa.repeat(value, len(found)), found)


def _of_posts(table: pa.Table) -> Iterator[Pairs]:
    ids = _ids(table)
    yield Pairs(EVERYTHING[0], pa.repeat(EVERYTHING[1], len(ids)), ids)
    yield Pairs("tag", *words_of(_column(table, "tag_string", pa.string()), ids))
    yield _texts("rating", _column(table, "rating", pa.string()), ids)
    yield _texts("filetype", _column(table, "file_ext", pa.string()), ids)
    for name in STATUSES:
        yield _marked("status", name, _column(table, f"is_{name}", pa.bool_()), ids)
    yield _marked("children", ANY, _column(table, "has_children", pa.bool_()), ids)


def _of_pools(table: pa.Table) -> Iterator[Pairs]:
    ids = _ids(table)
    pools = _column(table, "pools", pa.list_(pa.int64()))
    held = ids.take(pc.list_parent_indices(pools))
    yield _texts("pool", pools.flatten().cast(pa.string()), held)
    yield _marked("pool", ANY, pc.greater(pc.list_value_length(pools), 0), ids)


def _of_files(table: pa.Table) -> Iterator[Pairs]:
    ids = _ids(table)
    yield _texts("file", _column(table, "status", pa.string()), ids)
    yield _texts("reason", _column(table, "reason", pa.string()), ids)
    flags = _column(table, "px512_flags", pa.list_(pa.string()))
    yield _texts("quality", flags.flatten(), ids.take(pc.list_parent_indices(flags)))
    path = _column(table, "path", pa.string())
    yield _marked("image", "original", path.is_valid(), ids)
    yield _marked("image", "512px", _column(table, "px512_path", pa.string()).is_valid(), ids)
    yield _texts("stored", pc.replace_substring_regex(path, r"^.*\.", ""), ids)


def _of_duplicates(table: pa.Table) -> Iterator[Pairs]:
    kinds = _column(table, "kind", pa.string())
    for side in ("a", "b"):
        yield _texts("duplicate", kinds, _ids(table, side))


def _of_side(name: str) -> Callable[[pa.Table], Iterator[Pairs]]:
    def read(table: pa.Table) -> Iterator[Pairs]:
        if "post_id" not in table.column_names:
            return
        ids = numbers(table["post_id"]).drop_null()
        yield Pairs("has", pa.repeat(name, len(ids)), ids, strays=True)

    return read


_STATUS_COLUMNS: Final = tuple(f"is_{name}" for name in STATUSES)
_FACETS: Final = (
    Facet("posts", ("id", "tag_string", "rating", "file_ext", *_STATUS_COLUMNS, "has_children"), _of_posts),
    Facet("posts", ("id", "pools"), _of_pools),
    Facet("files", ("id", "status", "reason", "px512_flags", "path", "px512_path"), _of_files),
    Facet("duplicates", ("a", "b", "kind"), _of_duplicates),
    *(Facet(table, ("post_id",), _of_side(name)) for name, table in SIDES.items()),
)
#: Field -> what it has, for the docs.
FIELDS: Final[Mapping[str, str]] = {
    "post": "`all`: every post of the release",
    "tag": "tags, as in `tag_string`",
    "rating": "`g`, `s`, `q`, `e`",
    "filetype": "extension at the site",
    "status": "`deleted`, `pending`, `flagged`, `banned`",
    "children": "`any`: has children",
    "pool": "numbers of pools; `any`",
    "file": "`status` of the manifest",
    "reason": "`reason` of the manifest",
    "quality": "`px512_flags` of the manifest",
    "image": "`original`, `512px`: the release has this file",
    "stored": "extension of the original in the release",
    "duplicate": "kinds of pairs that the post is in",
    "has": "`notes`, `commentary`, `comments`",
}

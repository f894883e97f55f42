"""Tags of posts, a whole table at once: lists from today's tag strings, and tag strings from the lists until 2020."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import one_chunk
from danbooru_pipeline.posts.json_text import lists_of
from danbooru_pipeline.posts.schema import CATEGORIES, TAG

_STRINGS: Final = {category: f"tag_string_{name}" for category, name in CATEGORIES.items()}


class TagIds:
    """Ids of tags by their names.

    Args:
        names: of all tags; an empty array when they are unknown.
        ids: of the same tags.
    """

    def __init__(self, names: pa.Array | None = None, ids: pa.Array | None = None) -> None:
        self._names = names if names is not None else pa.array([], pa.string())
        self._ids = ids if ids is not None else pa.array([], pa.int64())

    def of(self, names: pa.Array) -> pa.Array:
        """The ids of some names; null for an unknown name."""
        if not len(self._names):
            return pa.nulls(len(names), pa.int64())
        # Each distinct name is looked up once: a table of posts has some thousand of them, each many times.
        distinct = names.dictionary_encode()
        found = self._ids.take(pc.index_in(distinct.dictionary, value_set=self._names))
        return found.take(distinct.indices)


def tag_lists(table: pa.Table, ids: TagIds) -> pa.Array:
    """The column `tags` from the tag strings by category; sorted by name within each post, as the site has them."""
    names: list[pa.Array] = []
    categories: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    for category, column in _STRINGS.items():
        words = pc.split_pattern(one_chunk(table[column]).fill_null(""), " ")
        flat = words.flatten()
        row = _rows_of(words)
        there = pc.not_equal(flat, "")
        names.append(flat.filter(there))
        rows.append(row[there.to_numpy(zero_copy_only=False)])
        categories.append(np.full(len(rows[-1]), category, np.int8))
    of_row = np.concatenate(rows)
    every = pa.concat_arrays(names)
    order = pc.sort_indices(pa.table({"row": of_row, "name": every}), [("row", "ascending"), ("name", "ascending")])
    sorted_names = every.take(order)
    category_of = pa.array(np.concatenate(categories)[order.to_numpy()])
    items = pa.StructArray.from_arrays([ids.of(sorted_names), sorted_names, category_of], fields=list(TAG))
    return lists_of(pa.array(np.bincount(of_row, minlength=table.num_rows)), items)


def has_repeats(tags: pa.Array) -> np.ndarray:
    """Which rows list a tag twice. Only rows whose names do not ascend are compared name by name."""
    names = tags.flatten().field("name")
    row = _rows_of(tags)
    if len(names) < 2:
        return np.zeros(len(tags), bool)
    rises = pc.less(names[:-1], names[1:]).fill_null(fill_value=False).to_numpy(zero_copy_only=False)
    falls = np.unique(row[1:][~rises & (row[1:] == row[:-1])])
    found = np.zeros(len(tags), bool)
    for number in falls.tolist():
        its = [tag["name"] for tag in tags[number].as_py()]
        found[number] = len(set(its)) < len(its)
    return found


def tag_columns(tags: pa.Array) -> dict[str, pa.Array]:
    """`tag_string`, `tag_count` and both by category, from lists without repetitions."""
    items = tags.flatten()
    names, row = items.field("name"), _rows_of(tags)
    category = items.field("category").fill_null(-1).to_numpy()
    columns = _column("", names, row, rows=len(tags))
    for number, title in CATEGORIES.items():
        mine = category == number
        columns |= _column(f"_{title}", names.filter(pa.array(mine)), row[mine], rows=len(tags))
    return columns


def _column(suffix: str, names: pa.Array, row: np.ndarray, *, rows: int) -> dict[str, pa.Array]:
    counts = np.bincount(row, minlength=rows)
    joined = pc.binary_join(lists_of(pa.array(counts), names), " ")
    return {f"tag_string{suffix}": joined, f"tag_count{suffix}": pa.array(counts, pa.int64())}


def _rows_of(lists: pa.Array) -> np.ndarray:
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(lists)), lengths)


class TagCounter:
    """Counts the tags in ``tag_string``. A `tags` table cannot say this: it counts posts that are not in the release.

    Attributes:
        instances: how many tags all posts carry together.
    """

    def __init__(self) -> None:
        self._seen = pa.array([], pa.string())
        self.instances = 0

    @property
    def tags(self) -> int:
        """How many different tags there are."""
        return len(self._seen)

    def add(self, column: pa.ChunkedArray) -> None:
        """Count the tags of some posts."""
        for chunk in column.chunks:
            names = pc.split_pattern(chunk, " ").flatten()
            names = names.filter(pc.not_equal(names, ""))
            self.instances += len(names)
            self._seen = pc.unique(pa.concat_arrays([self._seen, pc.unique(names)]))

"""The posts of a release as sparse rows of tags: which column a tag has, and the rows some thousands at a time."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from danbooru_pipeline.curate.signals.rules import TagRules
from danbooru_pipeline.io.parquet import one_chunk
from danbooru_pipeline.search.postings import Read, words_of

#: Hold 94 % of all tag instances of the site.
MOST_TAGS: Final = 10_000
#: Posts of a block.
BLOCK_ROWS: Final = 20_000

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
#: scipy ships no types.
Sparse = Any


def values_at(matrix: Sparse, rows: npt.NDArray[Any], columns: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values of some cells, one for each pair; of no cells scipy gives a matrix, and no array."""
    return np.asarray(matrix[rows, columns]).ravel() if len(rows) else np.zeros(0, matrix.dtype)


@dataclass(frozen=True)
class Vocabulary:
    """The tags that a model knows, the most frequent first.

    Attributes:
        names: by column.
        counts: posts that have each.
        implied: columns × columns: which tags follow from each, closed transitively.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    implied: Sparse

    @classmethod
    def of(cls, counts: Counter[str], rules: TagRules, *, most: int = MOST_TAGS) -> Self:
        """The most frequent tags; those of equal counts by name."""
        chosen = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
        names = tuple(name for name, _ in chosen)
        column = {name: number for number, name in enumerate(names)}
        pairs = [
            (column[name], column[wide]) for name in names for wide in rules.implied.get(name, ()) if wide in column
        ]
        return cls(names, tuple(count for _, count in chosen), _square(pairs, len(names)))

    @cached_property
    def columns(self) -> dict[str, int]:
        """Name -> column."""
        return {name: number for number, name in enumerate(self.names)}

    def close(self, rows: Sparse) -> Sparse:
        """Rows with all that their tags imply."""
        if not self.implied.nnz:
            return rows
        closed = (rows + rows @ self.implied).tocsr()
        closed.data[:] = 1
        return closed


def _square(pairs: Sequence[tuple[int, int]], size: int) -> Sparse:
    rows, columns = ([pair[side] for pair in pairs] for side in (0, 1))
    return sp.csr_matrix((np.ones(len(pairs), np.float32), (rows, columns)), shape=(size, size))


@dataclass(frozen=True, slots=True)
class Block:
    """Some posts: their ids, and a sparse row of ones for each."""

    ids: Ids
    rows: Sparse


def count_tags(read: Read, rules: TagRules) -> Counter[str]:
    """How many posts have each tag, by canonical names."""
    found: Counter[str] = Counter()
    for table in read("posts", ("id", "tag_string")):
        words, _ = words_of(table["tag_string"], one_chunk(table["id"]))
        for row in words.value_counts().to_pylist():
            found[rules.canonical(row["values"])] += row["counts"]
    return found


def read_blocks(read: Read, vocabulary: Vocabulary, rules: TagRules) -> Iterator[Block]:
    """All posts of a release with at least one tag of the vocabulary or none, sorted by id, closed under the rules."""
    for table in read("posts", ("id", "tag_string")):
        ids = one_chunk(table["id"]).cast(pa.int64())
        words, of = words_of(table["tag_string"], pa.array(np.arange(len(ids), dtype=np.int64)))
        encoded = words.dictionary_encode()
        columns = np.array(
            [vocabulary.columns.get(rules.canonical(name), -1) for name in encoded.dictionary.to_pylist()], np.int64
        )
        column = columns[encoded.indices.to_numpy(zero_copy_only=False)] if len(columns) else columns
        known = column >= 0
        numbers = of.to_numpy(zero_copy_only=False)[known]
        yield Block(
            ids.to_numpy(), vocabulary.close(make_rows(numbers, column[known], len(ids), len(vocabulary.names)))
        )


def make_rows(rows: npt.ArrayLike, columns: npt.ArrayLike, count: int, width: int) -> Sparse:
    """A sparse matrix of ones; a cell that is named twice is one, too."""
    numbers = np.asarray(rows)
    made = sp.csr_matrix((np.ones(len(numbers), np.float32), (numbers, columns)), shape=(count, width))
    made.sum_duplicates()
    made.data[:] = 1
    return made


def hide_tags(rows: Sparse, vocabulary: Vocabulary, rng: np.random.Generator, *, share: float) -> Sparse:
    """Rows without a share of their tags, except those that the others imply: what a careless tagger would leave."""
    kept = rows.tocsr(copy=True)
    kept.data = (rng.random(kept.nnz) >= share).astype(np.float32)
    kept.eliminate_zeros()
    return vocabulary.close(kept)


def pieces(blocks: Iterable[Block], rows: int = BLOCK_ROWS) -> Iterator[Block]:
    """The same posts in smaller blocks."""
    for block in blocks:
        for start in range(0, len(block.ids), rows):
            yield Block(block.ids[start : start + rows], block.rows[start : start + rows])

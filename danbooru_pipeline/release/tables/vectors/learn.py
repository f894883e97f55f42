"""Learns vectors from the tags of posts: positive pointwise mutual information, and the strongest directions of it.

The most frequent tags are the *core*: how often two of them meet gives their vectors. A post is the sum of its tags'
vectors, each weighted by how rare the tag is; a rarer tag is the mean of its posts. Meta tags are left out: they tell
of the file and of its translation, not of what it shows.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.release.tables.tag_totals import TABLE as TAG_COUNTS
from danbooru_pipeline.release.tables.vectors.exact import (
    LARGEST,
    Bytes,
    Floats,
    lengths_of,
    log_steps,
    principal,
    unit_bytes,
)
from danbooru_pipeline.search.postings import Read, words_of

DIMENSIONS: Final = 64
#: Tags with fewer posts have no vector: a few posts say little, and there are hundreds of thousands of such tags.
FEWEST_POSTS: Final = 20
_CORE: Final = 2_048
_META: Final = "meta"
#: Posts from which it is learned which tags meet; of more, each n-th by its id. `verify` learns what was published
#: again, so whoever changes this, or a number above, gives the tables a version first.
_LEARNED_POSTS: Final = 250_000
#: Posts whose tags are multiplied at a time; each product is as large as the core, whatever it is of.
_PRODUCT_POSTS: Final = 50_000
#: Tags that are worked on together.
_SOME: Final = 16_384

#: scipy ships no types.
Sparse: TypeAlias = Any
Whole: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tags that get a vector, the most frequent first, and how many of all posts have each."""

    names: pa.Array
    categories: pa.Array
    posts: Whole
    all_posts: int

    @property
    def weights(self) -> Whole:
        """How much each tag tells of a post: the logarithm of how rare it is."""
        return log_steps(self.all_posts / np.maximum(self.posts, 1).astype(np.float64))


@dataclass(frozen=True, slots=True)
class Learned:
    """What is learned.

    Attributes:
        vocabulary: the tags that have vectors.
        weighted: their vectors in its order, in the lengths with which they count for a post; whole numbers.
        posts: ids of posts and their vectors, some at a time, in the order of ids.
    """

    vocabulary: Vocabulary
    weighted: npt.NDArray[np.int32]
    posts: Iterator[tuple[Whole, Bytes]]

    @property
    def tags(self) -> Bytes:
        """The vectors of the tags."""
        return unit_bytes(self.weighted)


def read_vocabulary(read: Read, *, all_posts: int) -> Vocabulary:
    """The tags that get a vector. A name in several categories is of the one that most posts give it."""
    held = [table for table in read(TAG_COUNTS, ("name", "category", "posts")) if table.num_rows]
    found: dict[str, tuple[str, int]] = {}
    for table in held:  # the most frequent come first
        often = table.filter(pc.greater_equal(table["posts"], FEWEST_POSTS))
        for name, category, posts in zip(*(column.to_pylist() for column in often.columns), strict=True):
            found.setdefault(name, (category, posts))
    kept = [(name, category, posts) for name, (category, posts) in found.items() if category != _META]
    names, categories, posts = zip(*kept, strict=True) if kept else ((), (), ())
    strings = (pa.array(names, pa.string()), pa.array(categories, pa.string()))
    return Vocabulary(*strings, np.array(posts, np.int64), all_posts)


class Learner:
    """Learns from the posts of a release, which are read once; which tags each has goes to a file.

    Args:
        read: gives the rows of the release's tables.
        file: empty, and of nobody else.
        all_posts: how many posts the release has.
    """

    def __init__(self, read: Read, file: IO[bytes], *, all_posts: int) -> None:
        self._vocabulary = read_vocabulary(read, all_posts=all_posts)
        self._file = file
        self._parts = 0
        self._core = min(_CORE, len(self._vocabulary.posts))
        self._met = np.zeros((self._core, self._core), np.int64)
        self._learned: list[Sparse] = []
        self._every = max(1, -(-all_posts // _LEARNED_POSTS))
        for table in read("posts", ("id", "tag_string")):
            self._add(table)
        self._multiply()

    def _add(self, table: pa.Table) -> None:
        ids = table["id"].to_numpy()
        words, rows = words_of(table["tag_string"].cast(pa.string()), pa.array(np.arange(len(ids))))
        codes = pc.index_in(words, self._vocabulary.names)
        known = codes.is_valid()
        # Sorted by hand: `np.unique` hashes, which takes ten times as long here (numpy 2.3).
        pairs = np.sort(rows.filter(known).to_numpy() << 32 | codes.filter(known).to_numpy())
        pairs = pairs[np.diff(pairs, prepend=-1) != 0]  # each tag once
        starts = np.searchsorted(pairs >> 32, np.arange(len(ids) + 1))
        for array in (ids, starts.astype(np.int32), pairs.astype(np.uint32).astype(np.int32)):
            np.save(self._file, array, allow_pickle=False)
        self._parts += 1
        self._learned.append(self._matrix(starts, pairs.astype(np.uint32))[ids % self._every == 0, : self._core])
        if sum(part.shape[0] for part in self._learned) >= _PRODUCT_POSTS:
            self._multiply()

    def _multiply(self) -> None:
        """Count in which of the posts that are held two tags meet."""
        from scipy.sparse import vstack  # noqa: PLC0415 - takes half a second, and few who load this learn

        if self._learned:
            learned = vstack(self._learned, format="csr", dtype=np.int32)
            self._met += (learned.T @ learned).toarray()
        self._learned = []

    def _matrix(self, starts: Any, codes: Any, values: Any = None) -> Sparse:
        size = len(self._vocabulary.posts)
        held = np.ones(len(codes), np.int32) if values is None else values
        from scipy.sparse import csr_matrix  # noqa: PLC0415 - as above

        return csr_matrix((held, codes.astype(np.int32), starts), shape=(len(starts) - 1, size))

    def _posts(self) -> Iterator[tuple[Whole, Sparse]]:
        """Ids, and the matrix of their tags, each with its weight; as floats, which processors multiply faster."""
        weights = self._vocabulary.weights.astype(np.float64)
        self._file.seek(0)
        for _ in range(self._parts):
            ids, starts, codes = (np.load(self._file, allow_pickle=False) for _ in range(3))
            yield ids, self._matrix(starts, codes, weights[codes])

    def learn(self) -> Learned:
        """Vectors of tags, and of posts as they are asked for."""
        tags = np.zeros((len(self._vocabulary.posts), DIMENSIONS), np.int32)
        tags[: self._core] = core_vectors(self._met)
        if len(tags) > self._core:
            self._add_rarer(tags)
        vectors = ((ids, unit_bytes(_product(matrix, tags))) for ids, matrix in self._posts())
        return Learned(self._vocabulary, tags, vectors)

    def _add_rarer(self, tags: npt.NDArray[np.int32]) -> None:
        """Put in the vectors of the other tags: of each the mean of its posts, less that of all posts.

        They are half as long as those of the core usually are, with which posts find their like best (measured).
        """
        core = tags[: self._core].astype(np.float64)
        sums = np.zeros((len(tags) - self._core, DIMENSIONS))
        counts, everything, all_posts = np.zeros(len(sums), np.int64), np.zeros(DIMENSIONS, np.int64), 0
        for ids, matrix in self._posts():
            posts = unit_bytes(matrix[:, : self._core] @ core).astype(np.float64)
            part, codes = _columns_in_use(matrix[:, self._core :])
            part.data[:] = 1
            sums[codes] += part.T @ posts  # whole numbers, so in whatever order
            counts[codes] += part.getnnz(axis=0)
            everything += posts.sum(axis=0).astype(np.int64)
            all_posts += len(ids)
        step = np.median(lengths_of(core)) / 2 / LARGEST
        for first in range(0, len(sums), _SOME):  # of all at once each of these arrays is 200 MB
            some = slice(first, first + _SOME)
            means = unit_bytes(sums[some].astype(np.int64) * all_posts - counts[some, None] * everything)
            tags[self._core :][some] = np.rint(means * step)


def _product(matrix: Sparse, tags: npt.NDArray[np.int32]) -> Floats:
    """The sum of the tags of each post. As floats, which are multiplied faster: those of all tags would be 200 MB."""
    used, codes = _columns_in_use(matrix)
    product: Floats = used @ tags[codes].astype(np.float64)
    return product


def _columns_in_use(matrix: Sparse) -> tuple[Sparse, Whole]:
    """A matrix of the columns that have a value, and which these are: some posts have few of all tags."""
    from scipy.sparse import csr_matrix  # noqa: PLC0415 - as above

    is_used = np.zeros(matrix.shape[1], bool)
    is_used[matrix.indices] = True
    places = np.cumsum(is_used) - 1
    used = np.flatnonzero(is_used)
    columns = places[matrix.indices].astype(np.int32)
    return csr_matrix((matrix.data, columns, matrix.indptr), shape=(matrix.shape[0], len(used))), used


def core_vectors(met: Whole) -> Whole:
    """Vectors of tags by how often each two of them meet in a post; longer for tags of which that says more."""
    counts = met.astype(np.float64)
    np.fill_diagonal(counts, 0)
    basis = principal(_information(counts), DIMENSIONS)
    # Of 14 bits: weighted by 10 bits more, some thousand tags of a post add up exactly.
    return np.rint(np.ldexp(basis, -6)).astype(np.int64)


def _information(counts: Floats) -> Floats:
    """Positive pointwise mutual information in whole steps, contexts smoothed by the power of 3/4 as in word2vec."""
    each = np.maximum(counts.sum(axis=1), 1)
    smoothed = np.sqrt(each * np.sqrt(each))
    total = math.fsum(smoothed.tolist())  # exact, in whatever order
    return log_steps(counts * total / (each[:, None] * smoothed[None, :])).astype(np.float64)

"""Finds the posts of a search: bitmaps of its names are joined, numbers are compared, and the rest is sorted and cut.

What costs least comes first, and what reads a column of the release looks at nothing once no post is left.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from danbooru_pipeline.search.bitmaps import Ids, Kind, bitmap_of, ids_of, largest_id
from danbooru_pipeline.search.catalog import Catalog, Key, pattern_mask
from danbooru_pipeline.search.errors import BadSearch, UnknownTag, shown
from danbooru_pipeline.search.names import Relations, close_names, leaves, pool_numbers, spellings
from danbooru_pipeline.search.nodes import (
    Among,
    And,
    Node,
    Not,
    Or,
    Pool,
    Present,
    Range,
    Search,
    Tag,
    Text,
    Wildcard,
    Within,
    describe,
)
from danbooru_pipeline.search.numbers import (
    mask_of,
    present,
    read_number,
    shuffled,
    sorted_by,
    within,
)
from danbooru_pipeline.search.postings import ANY, EVERYTHING, Read
from danbooru_pipeline.search.splits import split_of

_BUCKETS: Final = 1000
#: Numbers that follow from the id alone.
_OF_THE_ID: Final = frozenset({"id", "bucket"})


@dataclass(frozen=True, slots=True)
class Step:
    """One condition of a search: how many posts it left, and in which time."""

    text: str
    posts: int
    milliseconds: float
    depth: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        bitmap: the posts.
        ids: in the order of the search; the newest first without one.
        total: how many there are without a limit.
        is_ordered: whether the search has an order.
        notes: sentences about tags that no post has.
        steps: of the evaluation.
    """

    bitmap: BitMap
    ids: Ids
    total: int
    is_ordered: bool
    notes: tuple[str, ...]
    steps: tuple[Step, ...]


@dataclass(slots=True)
class Evaluation:
    """The posts of one release, in which searches find.

    Attributes:
        catalog: bitmaps by name.
        read: gives the rows of a table.
        relations: aliases and implications.
        label: of the release, for messages.
        cutoff: of the release, in microseconds since 1970; ages count from here.
    """

    catalog: Catalog
    read: Read
    relations: Relations
    label: str
    cutoff: int
    notes: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    _depth: int = 0

    @property
    def kind(self) -> Kind:
        """Of all bitmaps here."""
        return self.catalog.kind

    def find(self, search: Search) -> Found:
        """The posts that a search finds.

        Raises:
            UnknownTag: no post has a tag that posts must have.
        """
        self._check_names(search.root)
        everything = self.catalog.posts(*EVERYTHING) or self.kind()
        bitmap = self._of(search.root, everything)
        total, ids = len(bitmap), None
        if search.random is not None:
            bitmap = bitmap_of(shuffled(bitmap, search.seed)[: search.random], self.kind)
        order = search.order
        if order is None or order.field == "id":
            ids = ids_of(bitmap)
            ids = ids if order is not None and order.ascending else ids[::-1]
        elif order.field == "random":
            ids = shuffled(bitmap, search.seed)
        else:
            ids = sorted_by(order.field, bitmap, self.read, ascending=order.ascending)
        if search.limit is not None and search.limit < len(ids):
            ids = ids[: search.limit]
            bitmap = bitmap_of(ids, self.kind)
        return Found(bitmap, ids, total, order is not None, tuple(self.notes), tuple(self.steps))

    def _check_names(self, root: Node) -> None:
        """Say which names no post has; stop when posts must have one of them."""
        for leaf, required in leaves(root):
            if self._posts_of(leaf) is not None:
                continue
            what = _WHAT[type(leaf)]
            name = leaf.pattern if isinstance(leaf, Wildcard) else leaf.name
            close = close_names(name, self.catalog.counts("tag")) if isinstance(leaf, Tag) else []
            error = UnknownTag(f"no post of {self.label} {what} {shown(name)}", position=leaf.at, suggestions=close)
            if required:
                raise error
            self.notes.append(error.sentence)

    def _posts_of(self, leaf: Tag | Wildcard | Pool) -> BitMap | None:
        """The posts of a name; None when there is no such name."""
        if isinstance(leaf, Pool):
            return self._united("pool", pool_numbers(leaf.name, self.read))
        for names in self._meant(leaf):
            if (found := self._united("tag", names)) is not None:
                return found
        return None

    def _meant(self, leaf: Tag | Wildcard) -> Iterator[list[str]]:
        """What a tag or a pattern may be, the likeliest first; the posts of all names of the first that exists."""
        if isinstance(leaf, Tag):
            yield from self.relations.names(leaf.name)
        else:
            yield from (self.catalog.matching("tag", pattern) for pattern in spellings(leaf.pattern))

    def _united(self, name: str, values: Sequence[str]) -> BitMap | None:
        found = [posts for value in values if (posts := self.catalog.posts(name, value)) is not None]
        return self.kind.union(*found) if len(found) > 1 else found[0] if found else None

    def _of(self, node: Node, among: BitMap) -> BitMap:
        """Those of some posts that meet a condition."""
        begin = time.perf_counter()
        self._depth += 1
        place = len(self.steps)
        found = self._judge(node, among)
        self._depth -= 1
        spent = (time.perf_counter() - begin) * 1000
        self.steps.insert(place, Step(describe(node), len(found), spent, self._depth))
        return found

    def _judge(self, node: Node, among: BitMap) -> BitMap:
        if isinstance(node, And):
            for part in sorted(node.parts, key=_cost):
                among = self._of(part, among)
            return among
        if isinstance(node, Or):
            return self.kind.union(self.kind(), *(self._of(part, among) for part in node.parts))
        if isinstance(node, Not):
            return among - self._of(node.part, among)
        if not among:
            return self.kind()
        if isinstance(node, Tag | Wildcard | Pool):
            return among & (self._posts_of(node) or self.kind())
        return self._compare(node, among)

    def _compare(self, node: Among | Within | Present | Text, among: BitMap) -> BitMap:
        if isinstance(node, Within):
            return self._within(node, among)
        if isinstance(node, Text):
            return among & self._texts(node.field, lambda texts: pattern_mask(texts, node.pattern, ignore_case=True))
        if isinstance(node, Present):
            return among & self._present(node.field)
        if node.field == "split":
            return self.kind([id_ for id_ in among if split_of(id_) in node.values])
        if node.field == "md5":
            return among & self._texts("md5", lambda texts: pc.is_in(texts, pa.array(node.values)))
        return among & (self._united(node.field, node.values) or self.kind())

    def _present(self, name: str) -> BitMap:
        if name == "source":
            return self._texts("source", lambda texts: pc.not_equal(texts, ""))
        if name == "pool":
            return self.catalog.posts("pool", ANY) or self.kind()
        return present(name, self.read, self.kind)

    def _texts(self, column: str, mask_of_texts: Callable[[Any], Any]) -> BitMap:
        found = self.kind()
        for table in self.read("posts", ("id", column)):
            mask = mask_of_texts(table[column].cast(pa.string()))
            found |= bitmap_of(table["id"].filter(mask).to_numpy(), self.kind)
        return found

    def _within(self, node: Within, among: BitMap) -> BitMap:
        if node.field in _OF_THE_ID:
            ids = ids_of(among)
            mask = mask_of(pa.array(ids if node.field == "id" else ids % _BUCKETS).cast(pa.int64()), node.ranges)
            return bitmap_of(ids[mask.to_numpy(zero_copy_only=False)], self.kind)
        if node.field == "age":
            return among & within(
                "date", tuple(_dates_of(each, self.cutoff) for each in node.ranges), self.read, self.kind
            )
        if node.field == "child":
            return among & self._parents_of(node.ranges)
        return among & within(node.field, node.ranges, self.read, self.kind)

    def _parents_of(self, ranges: Sequence[Range]) -> BitMap:
        found = self.kind()
        for ids, parents in read_number("parent", self.read):
            wanted = parents.filter(mask_of(ids, ranges)).drop_null()
            # A parent may be a post that is in no release, whatever its number.
            inside = pc.and_(pc.greater(wanted, 0), pc.less_equal(wanted, largest_id(self.kind)))
            found |= bitmap_of(wanted.filter(inside).to_numpy(zero_copy_only=False), self.kind)
        return found


def _dates_of(each: Range, cutoff: int) -> Range:
    """The dates of a range of ages."""
    return Range(
        low=None if each.high is None else cutoff - each.high,
        high=None if each.low is None else cutoff - each.low,
        open_low=each.open_high,
        open_high=each.open_low,
    )


_WHAT: Final = {Tag: "has the tag", Wildcard: "has a tag like", Pool: "is in the pool"}
#: What needs a hash of each post, a column of texts, a column of numbers; bitmaps come before all of them.
_COSTS: Final = {"split": 4, "source": 3, "md5": 3, "id": 1, "bucket": 1, "pool": 0}


def _cost(node: Node) -> int:
    if isinstance(node, Not):
        return _cost(node.part)
    if isinstance(node, And | Or):
        return max(map(_cost, node.parts), default=0)
    if isinstance(node, Within | Present | Text):
        return _COSTS.get(node.field, 2)
    return _COSTS.get(node.field, 0) if isinstance(node, Among) else 0


def keys_of(search: Search, relations: Relations, read: Read) -> Iterator[Key]:
    """All names of tags and pools that a search may ask for; patterns apart."""
    for leaf, _ in leaves(search.root):
        if isinstance(leaf, Tag):
            yield from (("tag", name) for names in relations.names(leaf.name) for name in names)
        elif isinstance(leaf, Pool):
            yield from (("pool", number) for number in pool_numbers(leaf.name, read))
    yield "pool", ANY


def patterns_of(search: Search) -> list[str]:
    """All patterns of tags that a search asks for."""
    wildcards = (leaf for leaf, _ in leaves(search.root) if isinstance(leaf, Wildcard))
    return [pattern for leaf in wildcards for pattern in spellings(leaf.pattern)]


__all__ = ["BadSearch", "Evaluation", "Found", "Step", "keys_of", "patterns_of"]

"""Verification of the column `tags` of posts: by category it names the tags of the tag strings, with their ids.

Lines in the dialect of 2017 would say so, too, but most releases have none. A list of that time may name a tag twice.
"""

from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.odd_columns import numbers, texts
from danbooru_pipeline.io.parquet import no_rows, one_chunk
from danbooru_pipeline.posts.schema import CATEGORIES
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import batches, schema_of, tables_in, whole_table
from danbooru_pipeline.release.verify.verification import Verification

TAG_LISTS = "tags"
_STRINGS = {category: f"tag_string_{name}" for category, name in CATEGORIES.items()}
_TABLE: Final = "tags"
_WHERE: Final = "parquet/posts-*.parquet"
#: Sources whose posts may have lists of their own, with the ids of another day than those of the table.
_WITH_LISTS: Final = frozenset({"dump", "archive"})
_IDS: Final = pa.schema([("name", pa.string()), ("id", pa.int64())])
#: Pairs of name and id that are compared at once: so many that the table is rarely searched, and fit into memory.
_PAIRS: Final = 2_000_000
#: Names, and the row of each.
_Named: TypeAlias = tuple[pa.Array, pa.Array]


def check_tag_lists(run: Verification, posts: pa.Table) -> None:
    """Compare the lists of some posts with their strings; those of earlier versions may have none."""
    if TAG_LISTS in posts.column_names:
        for id_ in _wrong_ids(posts):
            run.add(Kind.POSTS_DIFFER, str(id_), "has other tags in its list than in its tag strings")


class TagIdChecks:
    """Checks the ids in the lists of posts, some at a time: each is that of its name in the table of tags, or null."""

    def __init__(self, run: Verification) -> None:
        """Read the table; nothing is checked where it cannot be read, or where lists may be the source's own."""
        self._run = run
        self._pairs: list[pa.Table] = []
        self._known: pa.Table | None = None
        sources = [] if run.release is None else [source.get("name") for source in run.release.sources]
        if sources and _WITH_LISTS.isdisjoint(sources):
            with run.reading(Kind.PARQUET_UNREADABLE, f"parquet/{_TABLE}-*.parquet"):
                self._known = _tag_ids(run)

    def add(self, posts: pa.Table) -> None:
        """Take the pairs of some posts."""
        if self._known is None or TAG_LISTS not in posts.column_names:
            return
        self._pairs.append(_distinct(one_chunk(posts[TAG_LISTS]).flatten()))
        if sum(pairs.num_rows for pairs in self._pairs) >= _PAIRS:
            self.finish()

    def finish(self) -> None:
        """Compare the pairs that were taken."""
        if self._known is None or not self._pairs:
            return
        pairs = pa.concat_tables(self._pairs)
        self._pairs.clear()
        known = self._known["id"].take(pc.index_in(pairs["name"], value_set=one_chunk(self._known["name"])))
        same = pc.or_(
            pc.fill_null(pc.equal(pairs["id"], known), fill_value=False),
            pc.and_(pc.is_null(pairs["id"]), pc.is_null(known)),
        )
        wrong = pa.table({"name": pairs["name"], "id": pairs["id"], "known": known}).filter(pc.invert(same))
        for row in wrong.group_by(wrong.column_names).aggregate([]).sort_by([("name", "ascending")]).to_pylist():
            listed, id_ = ("no id" if row[name] is None else f"the id {row[name]}" for name in ("id", "known"))
            said = f"lists give the tag {row['name']} {listed}, and the table of tags gives it {id_}"
            self._run.add(Kind.POSTS_DIFFER, _WHERE, said)


def _tag_ids(run: Verification) -> pa.Table | None:
    """Names and ids of the table of tags; no rows where a release has none, None where it must not be read."""
    names = whole_table(run, "parquet", _TABLE)
    if not names:
        return None if _TABLE in tables_in(run, "parquet") else no_rows(_IDS)
    if any(not {*_IDS.names} <= {*schema_of(run, name).names} for name in names):
        return None
    tables = (table for name in names for table in batches(run, name, columns=_IDS.names))
    named = (pa.table([texts(table["name"]), numbers(table["id"])], schema=_IDS).drop_null() for table in tables)
    return pa.concat_tables([no_rows(_IDS), *named])


def _distinct(items: pa.StructArray) -> pa.Table:
    """The pairs of name and id that some tags have. Names are compared once each, and then by their number."""
    names = items.field("name").dictionary_encode()
    found = pa.table({"name": names.indices, "id": items.field("id")}).group_by(["name", "id"]).aggregate([])
    return pa.table({"name": names.dictionary.take(one_chunk(found["name"])), "id": one_chunk(found["id"])}, _IDS)


def _wrong_ids(table: pa.Table) -> list[int]:
    listed = table.filter(pc.is_valid(table[TAG_LISTS]))
    tags = one_chunk(listed[TAG_LISTS])
    items, rows = tags.flatten(), pc.list_parent_indices(tags)
    categories, names = items.field("category"), items.field("name")
    wrong: set[int] = set()
    for category, column in _STRINGS.items():
        mine = pc.fill_null(pc.equal(categories, category), False)  # noqa: FBT003 - a value, not a switch
        wrong |= _differing((names.filter(mine), rows.filter(mine)), _words(one_chunk(listed[column])))
    ids: list[int] = listed["id"].take(pa.array(sorted(wrong), pa.int64())).to_pylist()
    return ids


def _words(strings: pa.Array) -> _Named:
    words = pc.split_pattern(strings, " ")
    names, rows = words.flatten(), pc.list_parent_indices(words)
    there = pc.not_equal(names, "")
    return names.filter(there), rows.filter(there)


def _differing(ours: _Named, theirs: _Named) -> set[int]:
    """The rows that do not name the same, in whatever order."""
    if _are_same(ours, theirs):
        return set()
    ours, theirs = _sorted(ours), _sorted(theirs)
    if _are_same(ours, theirs):
        return set()
    pairs = (set(zip(rows.to_pylist(), names.to_pylist(), strict=True)) for names, rows in (ours, theirs))
    return {row for row, _ in set.symmetric_difference(*pairs)}


def _are_same(ours: _Named, theirs: _Named) -> bool:
    return all(one.equals(other) for one, other in zip(ours, theirs, strict=True))


def _sorted(named: _Named) -> _Named:
    names, rows = named
    order = pc.sort_indices(pa.table({"row": rows, "name": names}), [("row", "ascending"), ("name", "ascending")])
    return names.take(order), rows.take(order)

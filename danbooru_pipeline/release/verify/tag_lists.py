"""Verification of the column `tags` of posts: by category it names the tags of the tag strings.

Lines in the dialect of 2017 would say so, too, but most releases have none. A list of that time may name a tag twice.
"""

from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.posts.json_text import one_chunk
from danbooru_pipeline.posts.schema import CATEGORIES
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.verification import Verification

TAG_LISTS = "tags"
_STRINGS = {category: f"tag_string_{name}" for category, name in CATEGORIES.items()}
#: Names, and the row of each.
_Named: TypeAlias = tuple[pa.Array, pa.Array]


def check_tag_lists(run: Verification, posts: pa.Table) -> None:
    """Compare the lists of some posts with their strings; those of earlier versions may have none."""
    if TAG_LISTS in posts.column_names:
        for id_ in _wrong_ids(posts):
            run.add(Kind.POSTS_DIFFER, str(id_), "has other tags in its list than in its tag strings")


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

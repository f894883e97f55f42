"""Tags as people type them: the release's own tag, its alias, those that imply it, or close ones if there is none."""

import difflib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.odd_columns import numbers, texts
from danbooru_pipeline.search.catalog import pattern_mask
from danbooru_pipeline.search.metatags import METATAGS
from danbooru_pipeline.search.nodes import And, Node, Not, Or, Pool, Tag, Wildcard
from danbooru_pipeline.search.postings import Read

#: Tags that are compared with a misspelt one: the most frequent of about its length.
_COMPARED: Final = 20_000
_RELATION: Final = ("antecedent_name", "consequent_name", "status")


def spellings(typed: str) -> list[str]:
    """The ways in which a tag or a pattern of tags may be meant, the likeliest first: as typed, NFC, lower case."""
    composed = unicodedata.normalize("NFC", typed)
    return list(dict.fromkeys([typed, composed, composed.lower()]))


@dataclass(slots=True)
class Relations:
    """Aliases and implications of a release, read when they are first needed; without these tables there are none.

    Attributes:
        read: gives the rows of a table.
        with_implications: whether a tag stands for those that imply it, too.
    """

    read: Read
    with_implications: bool = False
    _held: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def names(self, tag: str) -> list[list[str]]:
        """What a tag may be, the likeliest first; the posts of all names of the first that exists are meant."""
        plain = spellings(tag)
        aliases = [new for old, new in self.active("tag_aliases") if old == plain[-1]]
        return [self._implying(name) for name in dict.fromkeys([*plain, *aliases])]

    def _implying(self, name: str) -> list[str]:
        found = [name]
        if self.with_implications:
            by_wide: dict[str, list[str]] = {}
            for narrow, wide in self.active("tag_implications"):
                by_wide.setdefault(wide, []).append(narrow)
            for each in found:
                found += [narrow for narrow in by_wide.get(each, ()) if narrow not in found]
        return found

    def active(self, table: str) -> list[tuple[str, str]]:
        """The pairs of old name and new, or narrow tag and wide, that hold in a table of relations."""
        if table not in self._held:
            self._held[table] = [
                (narrow, wide)
                for rows in self.read(table, _RELATION)
                if set(_RELATION) <= set(rows.column_names)
                for narrow, wide, status in zip(*(texts(rows[name]).to_pylist() for name in _RELATION), strict=True)
                if status == "active" and narrow is not None and wide is not None
            ]
        return self._held[table]


def pool_numbers(name: str, read: Read) -> list[str]:
    """The numbers of the pools that a name, or a number, means."""
    if name.isdecimal():
        return [name]
    wanted = name.lower().replace(" ", "_")
    found: list[str] = []
    for table in read("pools", ("id", "name")):
        if {"id", "name"} <= set(table.column_names):
            names = pc.utf8_lower(pc.replace_substring(texts(table["name"]), " ", "_"))
            ids = numbers(table["id"]).filter(pattern_mask(names, wanted)).drop_null()
            found += ids.cast(pa.string()).to_pylist()
    return found


def leaves(node: Node, *, required: bool = True) -> Iterator[tuple[Tag | Wildcard | Pool, bool]]:
    """The tags, patterns and pools of a search, and whether posts must have each."""
    match node:
        case Tag() | Wildcard() | Pool():
            yield node, required
        case Not(part):
            yield from leaves(part, required=False)
        case And(parts):
            for part in parts:
                yield from leaves(part, required=required)
        case Or(parts):
            for part in parts:
                yield from leaves(part, required=False)
        case _:
            return


def close_names(name: str, counts: pa.Table) -> list[str]:
    """Tags that may have been meant, at most three."""
    prefix = name.partition(":")[0].lower()
    if ":" in name and (close := difflib.get_close_matches(prefix, METATAGS, n=2, cutoff=0.7)):
        return [f"{each}:" for each in close]
    lengths = pc.utf8_length(counts["value"])
    near = pc.less_equal(pc.abs(pc.subtract(lengths, len(name))), 3)
    names = _most_frequent(counts.filter(near), _COMPARED)
    words = sorted(name.lower().split("_"))
    found = [each for each in names if sorted(each.split("_")) == words]
    found += difflib.get_close_matches(name.lower()[:100], names, n=3, cutoff=0.75)
    if not found and len(name) > 2:
        found = _most_frequent(counts.filter(pattern_mask(counts["value"], f"*{name.lower()}*")), 3)
    return list(dict.fromkeys(found))[:3]


def _most_frequent(counts: pa.Table, most: int) -> list[str]:
    table = counts.select(["value", "posts"]).sort_by([("posts", "descending"), ("value", "ascending")])
    return list(table.slice(0, most)["value"].to_pylist())

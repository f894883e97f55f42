"""What the site's own relations say about the tags of a post: no model, no post other than the one in question.

Aliases lead to the tag that the site writes today, implications are closed transitively, and what forms a circle is
left out and named: of two tags that imply each other neither follows from the other.
"""

import graphlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from danbooru_pipeline.io.odd_columns import marks, texts
from danbooru_pipeline.search.names import Relations
from danbooru_pipeline.search.postings import Read

#: Tags that the site adds and removes by itself, from the file or from its record of it. Source: danbooru
#: app/models/post.rb and app/models/media_asset.rb.
SITE_ADDED: Final = frozenset(
    {
        "absurdres", "animated", "animated_gif", "animated_png", "bad_id", "bad_link", "exif_rotation", "flash",
        "highres", "huge_filesize", "incredibly_absurdres", "long_image", "lowres", "md5_mismatch",
        "non-repeating_animation", "sound", "tall_image", "ugoira", "video", "wide_image",
    }
)  # fmt: skip

_COUNTED: Final = ("girl", "boy", "other")
#: Tags of which a post can have one at most: how many there are of a kind.
COUNTS: Final = tuple(frozenset((f"1{kind}", *(f"{n}{kind}s" for n in range(2, 6)), f"6+{kind}s")) for kind in _COUNTED)
#: Pairs that exclude each other without being two counts of a kind.
_PAIRS: Final = frozenset(
    frozenset(pair)
    for pair in (
        *((f"1{kind}", f"multiple_{kind}s") for kind in _COUNTED),
        *(("solo", f"multiple_{kind}s") for kind in _COUNTED),
        *(("solo", f"{n}{kind}s") for kind in _COUNTED for n in ("2", "3", "4", "5", "6+")),
    )
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One tag that a rule asks for or against, and why, in words."""

    tag: str
    sign: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRules:
    """The relations of a release.

    Attributes:
        aliases: old name -> the one that the site writes.
        implied: tag -> all tags that follow from it, directly or not.
        deprecated: tags that nobody should add.
        circles: aliases and implications that were left out, since they lead back to where they begin.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    implied: Mapping[str, frozenset[str]] = field(default_factory=dict)
    deprecated: frozenset[str] = frozenset()
    circles: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(
        cls,
        aliases: Iterable[tuple[str, str]] = (),
        implications: Iterable[tuple[str, str]] = (),
        *,
        deprecated: Iterable[str] = (),
    ) -> Self:
        """Rules from active relations: old name and new, narrow tag and wide."""
        alias_graph, alias_circles = _without_circles(aliases)
        flat = {old: _end(alias_graph, old) for old in alias_graph}
        pairs = ((flat.get(a, a), flat.get(b, b)) for a, b in implications)
        graph, circles = _without_circles(pair for pair in pairs if pair[0] != pair[1])
        return cls(
            aliases=flat,
            implied=_closure(graph),
            deprecated=frozenset(deprecated),
            circles=(*alias_circles, *circles),
        )

    def canonical(self, tag: str) -> str:
        """The name that the site writes for a tag."""
        return self.aliases.get(tag, tag)

    def close(self, tags: Iterable[str]) -> set[str]:
        """Tags by their canonical names, with all that they imply."""
        names = {self.canonical(tag) for tag in tags}
        return names.union(*(self.implied.get(name, frozenset()) for name in names))

    def may_propose(self, tag: str) -> bool:
        """Whether a person may be asked to add a tag: not one that is deprecated, an alias, or the site's own."""
        return tag not in self.aliases and tag not in self.deprecated and tag not in SITE_ADDED

    def findings(self, tags: Iterable[str]) -> Iterator[Finding]:
        """What is missing, should be another name, or contradicts itself among the tags of one post."""
        held = set(tags)
        for tag in sorted(held):
            if tag in self.aliases:
                yield Finding(tag, "-", f"{tag} is an alias of {self.aliases[tag]}")
                if self.aliases[tag] not in held and self.may_propose(self.aliases[tag]):
                    yield Finding(self.aliases[tag], "+", f"{tag} is an alias of it")
            elif tag in self.deprecated:
                yield Finding(tag, "-", f"{tag} is deprecated")
        for tag in sorted(self.close(held) - {self.canonical(name) for name in held}):
            if self.may_propose(tag):
                narrow = min(name for name in held if tag in self.implied.get(self.canonical(name), ()))
                yield Finding(tag, "+", f"{narrow} implies it")
        yield from contradictions(held)


def contradictions(held: set[str]) -> Iterator[Finding]:
    """Counts that exclude each other: each of them is in question, since the rule cannot know which is wrong."""
    for kind in COUNTS:
        for tag in sorted(kind & held) if len(kind & held) > 1 else ():
            yield Finding(tag, "-", f"contradicts {', '.join(sorted((kind & held) - {tag}))}")
    for pair in sorted(map(sorted, _PAIRS)):
        if held.issuperset(pair):
            yield from (Finding(tag, "-", f"contradicts {other}") for tag, other in (pair, reversed(pair)))


def rules_of(read: Read) -> TagRules:
    """The rules of a release, from its tables of tags, aliases and implications; a missing table has none."""
    relations = Relations(read)
    deprecated = [
        name
        for table in read("tags", ("name", "is_deprecated"))
        if {"name", "is_deprecated"} <= set(table.column_names)
        for name in texts(table["name"]).filter(marks(table["is_deprecated"])).drop_null().to_pylist()
    ]
    return TagRules.of(relations.active("tag_aliases"), relations.active("tag_implications"), deprecated=deprecated)


def _without_circles(pairs: Iterable[tuple[str, str]]) -> tuple[dict[str, set[str]], list[tuple[str, ...]]]:
    """Pairs as a graph, and the circles whose arrows were left out of it."""
    graph: dict[str, set[str]] = {}
    for narrow, wide in pairs:
        graph.setdefault(narrow, set()).add(wide)
    circles: list[tuple[str, ...]] = []
    while True:
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            found = [str(name) for name in error.args[1]]
            circles.append(tuple(sorted(set(found))))
            # The sorter lists each tag before the one that it follows from.
            for wide, narrow in itertools.pairwise(found):
                graph[narrow].discard(wide)
        else:
            return graph, circles


def _end(graph: Mapping[str, set[str]], name: str) -> str:
    while graph.get(name):
        name = min(graph[name])
    return name


def _closure(graph: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for name in graphlib.TopologicalSorter(graph).static_order():  # what is implied comes first
        wide = graph.get(name, set())
        if wide:
            found[name] = frozenset(wide).union(*(found.get(each, frozenset()) for each in wide))
    return found

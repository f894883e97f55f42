"""Control posts: they prove that an account would be shown a post, so that one that is missing is expunged.

An account in safe mode is shown posts of one rating, another one no deleted posts. What such an account is not shown
looks as if it were expunged. So an answer must have a post of every kind that the sweep had.
"""

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.damage import damage_named
from danbooru_pipeline.io.parquet import read_batches
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts import CompleteRow
from danbooru_pipeline.years import RATINGS

#: Control posts of each kind in a question: one may be gone itself, or of another kind by now.
PER_KIND: Final = 2
#: Of each kind so many are known, since those that are asked about are no control posts.
_KNOWN_PER_KIND: Final = 50
DELETED: Final = "deleted"
#: What every post is: of a source without ratings, too, some post must be in the answer.
ANY: Final = "any"

#: Kind -> ids of posts of it.
Known = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Controls:
    """Posts that are asked about beside others.

    Attributes:
        kinds: of posts that the sweep had; an answer without one of them says nothing about posts that are missing.
        ids: of the control posts; one of them at least must be in the answer.
    """

    kinds: frozenset[str] = frozenset()
    ids: frozenset[int] = frozenset()

    def prove(
        self, found: Mapping[int, CompleteRow], *, shown: AbstractSet[int | None], asked: Collection[int]
    ) -> bool:
        """Whether posts that are not in an answer are expunged.

        Args:
            found: the posts of the answer that can be read.
            shown: the ids in the answer, None for a record without one; one that nobody asked about says that the site
                ignored the question.
            asked: the ids, without those of the control posts.
        """
        there = {kind for row in found.values() for kind in kinds_of(row)}
        return not self.ids.isdisjoint(shown) and self.kinds <= there and shown <= {*asked, *self.ids}


def kinds_of(row: CompleteRow) -> frozenset[str]:
    """What decides whether an account is shown a post."""
    rating = {row["rating"]} if row.get("rating") in RATINGS else set()
    return frozenset({ANY} | rating | ({DELETED} if row.get("is_deleted") else set()))


def note_kinds(known: Known, rows: Iterable[CompleteRow]) -> dict[str, tuple[int, ...]]:
    """The same with posts that were seen since: of each kind those with the highest ids."""
    found = {kind: set(ids) for kind, ids in known.items()}
    for row in rows:
        for kind in kinds_of(row):
            found.setdefault(kind, set()).add(row["id"])
    return {kind: tuple(sorted(ids)[-PER_KIND:]) for kind, ids in sorted(found.items())}


def choose_controls(*known: Known, asked: Collection[int]) -> Controls:
    """Control posts of every kind that is known, from the first place that has some.

    Args:
        known: places.
        asked: ids that are asked about, which are no control posts.
    """
    asked = set(asked)
    kinds = frozenset(kind for place in known for kind in place)
    chosen: set[int] = set()
    for kind in sorted(kinds - {ANY}) or sorted(kinds):
        ids = [id_ for place in known for id_ in place.get(kind, ()) if id_ not in asked]
        chosen.update(ids[:PER_KIND])
    return Controls(kinds, frozenset(chosen))


def known_kinds(path: Path) -> Known:
    """Posts of every kind in a table of posts; none where there is no such table.

    Raises:
        DamagedFile: it cannot be read.
    """
    if not path.exists():
        return MappingProxyType({})
    state = path.stat()
    return _known(path, state.st_mtime_ns, state.st_ino)


def controls_of(layout: Layout, year: int, bucket: str, *, asked: Collection[int]) -> Controls:
    """Control posts for questions about a bucket: of the bucket, since others have others, else of the whole year.

    Raises:
        DamagedFile: the posts cannot be read.
    """
    places = (known_kinds(layout.posts_bucket(year, bucket)), known_kinds(layout.posts(year)))
    return choose_controls(*places, asked=asked)


@lru_cache(maxsize=16)
def _known(path: Path, _changed: int, _inode: int) -> Known:
    found: dict[str, list[int]] = {}
    with damage_named(path):
        for table in read_batches(path, columns=("id", "rating", "is_deleted")):
            masks = {rating: pc.equal(table["rating"], rating) for rating in RATINGS}
            masks |= {DELETED: table["is_deleted"].cast(pa.bool_()), ANY: table["id"].is_valid()}
            for kind, mask in masks.items():
                ids = table["id"].filter(mask)
                if len(ids):
                    more = _KNOWN_PER_KIND - len(found.setdefault(kind, []))
                    found[kind] += ids.slice(0, more).to_pylist()
            if len(found) == len(masks) and all(len(ids) == _KNOWN_PER_KIND for ids in found.values()):
                break
    return MappingProxyType({kind: tuple(ids) for kind, ids in found.items()})

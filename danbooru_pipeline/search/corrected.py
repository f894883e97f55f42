"""The bitmaps of a release with what people decided about tags laid over them.

An index is of the posts as the site had them. Decisions are few, each adds one post to the bitmap of a tag or takes it
out, so corrected posts need no second index: the bitmap of a tag that nobody decided about is read as it is, and any
other is one union and one difference away from it. What is found is what an index of the corrected posts would find.
"""

from collections.abc import Mapping
from typing import TypeAlias

import pyarrow as pa
from pyroaring import BitMap

from danbooru_pipeline.search.catalog import Catalog, pattern_mask

#: Tag -> posts.
Changes: TypeAlias = Mapping[str, BitMap]
_TAG = "tag"


class CorrectedCatalog:
    """A catalog of corrected posts.

    Args:
        plain: of the posts as they were.
        added: tag -> posts that lacked it.
        removed: tag -> posts that had it.
    """

    def __init__(self, plain: Catalog, added: Changes, removed: Changes) -> None:
        self._plain, self._added, self._removed = plain, added, removed
        self.kind = plain.kind
        self._changed = sorted(added.keys() | removed.keys())

    def posts(self, field: str, value: str) -> BitMap | None:
        """The posts that have a value; None when no post has it."""
        held = self._plain.posts(field, value)
        if field != _TAG or (value not in self._added and value not in self._removed):
            return held
        nothing = self.kind()
        found = (held or nothing) | self._added.get(value, nothing)
        return (found - self._removed.get(value, nothing)) or None

    def counts(self, field: str) -> pa.Table:
        """The values of a field, sorted, and how many posts each has."""
        table = self._plain.counts(field)
        if field != _TAG or not self._changed:
            return table
        counts = dict(zip(table["value"].to_pylist(), table["posts"].to_pylist(), strict=True))
        for tag in self._changed:
            more, less = (len(changes.get(tag, ())) for changes in (self._added, self._removed))
            counts[tag] = counts.get(tag, 0) + more - less
        rows = sorted((value, posts) for value, posts in counts.items() if posts > 0)
        values = pa.array([value for value, _ in rows], pa.string())
        return pa.table({"value": values, "posts": pa.array([posts for _, posts in rows], pa.int64())})

    def matching(self, field: str, pattern: str) -> list[str]:
        """Values of a field that a pattern with ``*`` matches."""
        found = self._plain.matching(field, pattern)
        if field != _TAG or not self._changed:
            return found
        changed = pa.array(self._changed, pa.string())
        close = set(changed.filter(pattern_mask(changed, pattern)).to_pylist())
        return sorted({name for name in close.union(found) if name not in close or self.posts(field, name) is not None})

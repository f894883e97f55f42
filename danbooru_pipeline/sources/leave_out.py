"""A source without some posts: what was taken down does not come back with the next sweep."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from danbooru_pipeline.sources.source import Page, Source


@dataclass(frozen=True, slots=True)
class SourceWithout:
    """Another source, less some posts and what its side tables say of them.

    Attributes:
        source: the other one.
        ids: of the posts.
    """

    source: Source
    ids: Collection[int]

    @property
    def name(self) -> str:
        """The other one's name."""
        return self.source.name

    def probe(self) -> None:
        """Make sure that the source answers."""
        self.source.probe()

    def posts_after(self, cursor: int) -> Page:
        """The posts that follow an id; the cursor goes on as if all had come."""
        page = self.source.posts_after(cursor)
        return replace(page, records=tuple(record for record in page.records if not self._leaves_out(record, "id")))

    def table_after(self, table: str, cursor: int) -> Page | None:
        """The records of a side table that follow an id."""
        page = self.source.table_after(table, cursor)
        if page is None:
            return None
        kept = tuple(record for record in page.records if not self._leaves_out(record, "post_id"))
        return replace(page, records=kept)

    def _leaves_out(self, record: Mapping[str, Any], column: str) -> bool:
        try:
            return int(record[column]) in self.ids
        except (KeyError, TypeError, ValueError, OverflowError):
            return False

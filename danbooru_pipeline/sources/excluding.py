"""A source without some posts: what was taken down does not come back with the next sweep."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from danbooru_pipeline.sources.bulk import BulkSource, BulkTable
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
        return replace(page, records=tuple(record for record in page.records if not refers_to(record, "id", self.ids)))

    def table_after(self, table: str, cursor: int) -> Page | None:
        """The records of a side table that follow an id."""
        page = self.source.table_after(table, cursor)
        if page is None:
            return None
        kept = tuple(record for record in page.records if not refers_to(record, "post_id", self.ids))
        return replace(page, records=kept)

    def newest_id(self, table: str) -> int | None:
        """About the highest id of a table."""
        return self.source.newest_id(table)


@dataclass(frozen=True, slots=True)
class BulkSourceWithout:
    """The same for a source of whole tables.

    Attributes:
        source: the other one.
        ids: of the posts.
    """

    source: BulkSource
    ids: Collection[int]

    @property
    def name(self) -> str:
        """The other one's name."""
        return self.source.name

    def probe(self) -> None:
        """Make sure that the source is there."""
        self.source.probe()

    def open_table(self, table: str, year: int) -> BulkTable | None:
        """A table as of a release. What is left out counts as read."""
        found = self.source.open_table(table, year)
        if found is None or not self.ids:
            return found
        return replace(found, without=self.ids)

    def earlier_files(self, year: int) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Metadata of earlier years as it lies there, less the lines about these posts."""
        for name, chunks in self.source.earlier_files(year):
            yield name, chunks if not self.ids else _lines_without(chunks, name, self.ids)


def refers_to(record: Mapping[str, Any], column: str, ids: Collection[int]) -> bool:
    """Whether a column of a record holds the id of one of some posts."""
    try:
        return int(record[column]) in ids
    except (KeyError, TypeError, ValueError, OverflowError):
        return False


def _lines_without(chunks: Iterator[bytes], name: str, ids: Collection[int]) -> Iterator[bytes]:
    """Lines as they are, but those about some posts. A line that cannot be read is about nobody."""
    column = "id" if re.match(r"posts|\d", name.rpartition("/")[2]) else "post_id"
    held = b""
    for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        yield b"".join(line + b"\n" for line in whole if not _speaks_of(line, column, ids))
    if held and not _speaks_of(held, column, ids):
        yield held


def _speaks_of(line: bytes, column: str, ids: Collection[int]) -> bool:
    try:
        return refers_to(msgspec.json.decode(line, type=dict[str, Any]), column, ids)
    except (ValueError, RecursionError):
        return False

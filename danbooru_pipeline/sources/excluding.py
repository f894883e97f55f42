"""A source without some posts, so that what was taken down does not come back with the next sweep."""

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from danbooru_pipeline.sources.bulk import BulkSource, BulkTable
from danbooru_pipeline.sources.source import Page, Source


@dataclass(frozen=True, slots=True)
class SourceWithout:
    """A source without some posts and without the records of side tables that belong to them.

    Attributes:
        source: the full source.
        ids: of the posts that are left out.
    """

    source: Source
    ids: Collection[int]

    @property
    def name(self) -> str:
        """The name of the full source."""
        return self.source.name

    @property
    def identity(self) -> Mapping[str, str]:
        """That of the full source, and a digest of the ids."""
        ids = hashlib.sha256(",".join(map(str, sorted(self.ids))).encode()).hexdigest()
        return {**self.source.identity, "without": ids[:16] if self.ids else "none"}

    def probe(self) -> None:
        """Check that the source answers."""
        self.source.probe()

    def posts_after(self, cursor: int) -> Page:
        """The posts that follow an id; the cursor advances past those that are left out."""
        page = self.source.posts_after(cursor)
        return replace(page, records=tuple(record for record in page.records if not refers_to(record, "id", self.ids)))

    def table_after(self, table: str, cursor: int) -> Page | None:
        """The records of a side table that follow an id."""
        page = self.source.table_after(table, cursor)
        if page is None:
            return None
        kept = tuple(record for record in page.records if not refers_to(record, "post_id", self.ids))
        return replace(page, records=kept)

    def count_posts(self, *, up_to: int) -> int | None:
        """How many posts are left if the source has all of those that are left out."""
        found = self.source.count_posts(up_to=up_to)
        return None if found is None else max(0, found - sum(id_ <= up_to for id_ in self.ids))

    def newest_id(self, table: str) -> int | None:
        """About the highest id of a table."""
        return self.source.newest_id(table)


@dataclass(frozen=True, slots=True)
class BulkSourceWithout:
    """The same for a source of whole tables.

    Attributes:
        source: the full source.
        ids: of the posts that are left out.
    """

    source: BulkSource
    ids: Collection[int]

    @property
    def name(self) -> str:
        """The name of the full source."""
        return self.source.name

    def probe(self) -> None:
        """Check that the source is available."""
        self.source.probe()

    def open_table(self, table: str, year: int) -> BulkTable | None:
        """A table as of a release. Rows that are left out still count as read."""
        found = self.source.open_table(table, year)
        if found is None or not self.ids:
            return found
        return replace(found, without=self.ids)

    def earlier_files(self, year: int) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Metadata of earlier years, byte for byte, without the lines about these posts."""
        for name, chunks in self.source.earlier_files(year):
            yield name, chunks if not self.ids else _lines_without(chunks, name, self.ids)


def refers_to(record: Mapping[str, Any], column: str, ids: Collection[int]) -> bool:
    """Whether a column of a record holds one of these ids."""
    try:
        return int(record[column]) in ids
    except (KeyError, TypeError, ValueError, OverflowError):
        return False


def _lines_without(chunks: Iterator[bytes], name: str, ids: Collection[int]) -> Iterator[bytes]:
    """Lines unchanged, without those about some posts. A line that cannot be parsed is about no post."""
    column = "id" if re.match(r"posts|\d", name.rpartition("/")[2]) else "post_id"
    held = b""
    for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        yield b"".join(line + b"\n" for line in whole if not _line_refers_to(line, column, ids))
    if held and not _line_refers_to(held, column, ids):
        yield held


def _line_refers_to(line: bytes, column: str, ids: Collection[int]) -> bool:
    try:
        return refers_to(msgspec.json.decode(line, type=dict[str, Any]), column, ids)
    except (ValueError, RecursionError):
        return False

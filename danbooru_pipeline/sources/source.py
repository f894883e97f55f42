"""What a source that is read page by page offers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Page:
    """The records whose ids follow a cursor, up to some number of them.

    Attributes:
        records: as the source gives them, lowest id first; no id is at or below the cursor.
        last_id: the highest id among them, which is the cursor of the next page; None when nothing follows.
    """

    records: tuple[Mapping[str, Any], ...]
    last_id: int | None


class Source(Protocol):
    """A source that can be read in the order of ids."""

    @property
    def name(self) -> str:
        """Its name in settings and in RELEASE.json."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What decides which rows it gives: address, account, filter, version of the code that reads it."""

    def probe(self) -> None:
        """Check that the source answers; raises a `SourceError` if it does not."""

    def posts_after(self, cursor: int) -> Page:
        """The posts that follow an id, some hundred at a time, without gaps."""

    def table_after(self, table: str, cursor: int) -> Page | None:
        """The records of a side table that follow an id; None when the source does not offer the table."""

    def count_posts(self, *, up_to: int) -> int | None:
        """How many posts there are up to an id, by the source's own count; None when it does not say."""

    def newest_id(self, table: str) -> int | None:
        """About the highest id of a table, which shows how far a read is; None when the source does not say."""

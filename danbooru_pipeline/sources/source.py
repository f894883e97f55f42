"""What every source of metadata offers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Page:
    """The records whose ids follow a cursor, up to some number of them.

    Attributes:
        records: as the source gives them, lowest id first; none with an id up to the cursor.
        last_id: the highest id among them, the cursor of the next page; None when nothing follows.
    """

    records: tuple[Mapping[str, Any], ...]
    last_id: int | None


class Source(Protocol):
    """A place that metadata can be read from in the order of ids."""

    @property
    def name(self) -> str:
        """What it is called in RELEASE.json."""

    def probe(self) -> None:
        """Make sure that the source answers; raises a `SourceError` that says what to do when it does not."""

    def posts_after(self, cursor: int) -> Page:
        """The posts that follow an id, some hundreds at a time, with no post left out between."""

    def table_after(self, table: str, cursor: int) -> Page | None:
        """The records of a side table that follow an id; None when the source says that it has no such table."""

    def newest_id(self, table: str) -> int | None:
        """About the highest id of a table, to say how far a read is; None when the source does not tell."""

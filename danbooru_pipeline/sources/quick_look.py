"""A look at a source of whole tables for one who has little time: what is there, in so many seconds, and no rows."""

import threading
from collections.abc import Iterator
from dataclasses import replace

from danbooru_pipeline.errors import SourceUnreachable
from danbooru_pipeline.sources.bulk import BulkSource, BulkTable


class QuickLook:
    """A source whose tables have no rows, and which answers in time or not at all.

    Args:
        source: whom to ask; it asks again for the same time at most.
        seconds: for all questions about one table, together.
    """

    def __init__(self, source: BulkSource, *, seconds: float) -> None:
        self._source, self._seconds = source, seconds
        self.name = source.name

    def probe(self) -> None:
        """Check that the source is available."""
        self._source.probe()

    def open_table(self, table: str, year: int) -> BulkTable | None:
        """What the source says of a table.

        Raises:
            SourceUnreachable: it has not answered in time.
            SourceError: what the source raises.
        """
        found: list[BulkTable | None] = []
        failed: list[BaseException] = []

        def ask() -> None:
            try:
                found.append(self._source.open_table(table, year))
            except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
                failed.append(error)

        # No timeout of a request bounds many of them, and the connections before. The thread ends by its own bounds.
        thread = threading.Thread(target=ask, name="quick-look", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if failed:
            raise failed[0]
        if not found:
            raise SourceUnreachable(
                f"the {self.name} source has not said within {self._seconds:g} seconds what it has of {table}; check "
                "its address and the network, then run again"
            )
        return replace(found[0], blocks=()) if found[0] is not None else None

    def earlier_files(self, year: int) -> Iterator[tuple[str, Iterator[bytes]]]:  # noqa: ARG002 - no rows, no files
        """Nothing."""
        return iter(())

"""Ledger rows of a bucket in flight, appended line by line so that a crash loses none of them."""

from pathlib import Path
from typing import BinaryIO

from danbooru_pipeline.io.append_log import line_of, read_lines
from danbooru_pipeline.store.ledger import LedgerRow, record_of


class Journal:
    """Rows since the ledger was last written, one line each. The holder of the bucket's lock has it to itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def read(self) -> list[LedgerRow]:
        """The rows that a killed process left; an unfinished line is skipped."""
        return [row for row in read_lines(self._path, LedgerRow) if row is not None]

    def add(self, row: LedgerRow) -> None:
        """Append a row in one write: once the kernel has it, a kill of this process cannot lose it."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
        self._file.write(line_of(record_of(row)))

    def clear(self) -> None:
        """Remove the journal: the ledger has its rows now."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

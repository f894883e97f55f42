"""Ledger rows of a bucket in flight, appended line by line so that a crash loses none of them."""

import contextlib
from pathlib import Path
from typing import BinaryIO

import msgspec

from danbooru_pipeline.store.ledger import LedgerRow, record_of


class Journal:
    """Rows since the ledger was last written, one line each. The holder of the bucket's lock has it to itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def read(self) -> list[LedgerRow]:
        """The rows that a killed process left; an unfinished line is skipped."""
        if not self._path.exists():
            return []
        rows = []
        for line in self._path.read_bytes().splitlines():
            with contextlib.suppress(msgspec.DecodeError):
                rows.append(msgspec.json.decode(line, type=LedgerRow))
        return rows

    def add(self, row: LedgerRow) -> None:
        """Append a row in one write: once the kernel has it, a kill of this process cannot lose it."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
        self._file.write(b"\n" + msgspec.json.encode(record_of(row)) + b"\n")

    def clear(self) -> None:
        """Remove the journal: the ledger has its rows now."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

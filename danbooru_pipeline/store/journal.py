"""Ledger rows of a bucket in work, kept line by line so that a kill costs none of them."""

import contextlib
from pathlib import Path
from typing import BinaryIO

import msgspec

from danbooru_pipeline.store.ledger import LedgerRow


class Journal:
    """Rows since the ledger was last written, a line each, so that a kill costs none of them. One process has it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def read(self) -> list[LedgerRow]:
        """The rows that a killed process left; a line that it could not finish is none."""
        if not self._path.exists():
            return []
        rows = []
        for line in self._path.read_bytes().splitlines():
            with contextlib.suppress(msgspec.DecodeError):
                rows.append(msgspec.json.decode(line, type=LedgerRow))
        return rows

    def add(self, row: LedgerRow) -> None:
        """Add a row, in one write; what the kernel has a kill does not take away."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
        self._file.write(b"\n" + msgspec.json.encode(row) + b"\n")

    def clear(self) -> None:
        """Forget all rows, which are in the ledger now."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

"""Append-only logs of JSON lines: how each line is written and read, whoever keeps the log.

A killed process leaves a whole line or, after a power cut, a torn one. Every line begins with a newline, so what
follows a torn line is whole; readers pass over what they cannot decode. `append_line` is for logs that several
processes write to: each line is one locked write, flushed to disk. The holder of a lock writes `line_of` by itself.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from danbooru_pipeline.io.locks import locked

T = TypeVar("T")


def line_of(record: Any) -> bytes:
    """The bytes of a record, to be added in one write."""
    return b"\n" + msgspec.json.encode(record) + b"\n"


def append_line(path: Path, record: msgspec.Struct) -> None:
    """Add a record; when this returns, a power cut cannot lose it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = line_of(record)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        with locked(descriptor):
            written = 0
            while written < len(data):
                written += os.write(descriptor, data[written:])
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_lines(path: Path, kind: type[T]) -> Iterator[T | None]:
    """The records in the order in which they were added; None for a torn line. A missing file has none."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            if line.strip():
                try:
                    yield msgspec.json.decode(line, type=kind)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    yield None

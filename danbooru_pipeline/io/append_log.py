"""Append-only logs of JSON lines: how each line is written and read, whoever keeps the log.

A killed process leaves a whole line or, after a power cut, a torn one. Every line begins with a newline, so what
follows a torn line is whole; readers pass over what they cannot decode. `append_line` is for logs that several
processes write to: each line is one locked write, flushed to disk. The holder of a lock writes `line_of` by itself.

`replace_lines` alone takes something out, for posts that were taken down. It renames a new file over the old one, so a
writer that waited for the lock looks again which file has the name.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, overload

import msgspec

from danbooru_pipeline.io.atomic import atomic_file
from danbooru_pipeline.io.locks import locked

T = TypeVar("T")


def line_of(record: Any) -> bytes:
    """The bytes of a record, to be added in one write."""
    return b"\n" + msgspec.json.encode(record) + b"\n"


def append_line(path: Path, record: msgspec.Struct) -> None:
    """Add a record; when this returns, a power cut cannot lose it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = line_of(record)
    with _held(path) as descriptor:
        written = 0
        while written < len(data):
            written += os.write(descriptor, data[written:])
        os.fsync(descriptor)


@contextmanager
def _held(path: Path) -> Iterator[int]:
    """The file that has this name, locked."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            with locked(descriptor):
                if _is_named(path, descriptor):
                    yield descriptor
                    return
        finally:
            os.close(descriptor)


def _is_named(path: Path, descriptor: int) -> bool:
    """Whether the file still has the name by which it was opened."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def any_line(path: Path, is_meant: Callable[[Any], bool]) -> bool:
    """Whether a record, as plain values, is meant, or a line is torn, of which nobody can tell."""
    return any(record is None or is_meant(record) for record in read_lines(path, None))


def replace_lines(path: Path, change: Callable[[Any], Any]) -> None:
    """Replace a log by one with changed records; those that become None are left out, and so are torn lines.

    Writers wait meanwhile and lose nothing; readers see the old log or the new one.
    """
    with _held(path), atomic_file(path) as file:
        for record in read_lines(path, None):
            kept = None if record is None else change(record)
            if kept is not None:
                file.write(line_of(kept))


@overload
def read_lines(path: Path, kind: type[T]) -> Iterator[T | None]: ...
@overload
def read_lines(path: Path, kind: None) -> Iterator[Any]: ...
def read_lines(path: Path, kind: type[T] | None) -> Iterator[Any]:
    """The records in the order in which they were added; None for a torn line. A missing file has none.

    Without a `kind` they are plain values.
    """
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            if line.strip():
                try:
                    yield msgspec.json.decode(line, type=kind or Any)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    yield None

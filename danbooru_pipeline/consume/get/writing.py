"""Writes what an origin sends, no byte more than a file may have; what our own disk refuses is told from its faults."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from danbooru_pipeline import stop
from danbooru_pipeline.io.untrusted import TooLong


class NotWritten(OSError):  # noqa: N818 - the name says what is wrong
    """Our own disk refused a file; no origin is to blame."""


def copy_pieces(pieces: Iterable[bytes], target: Path, *, most: int, resume: bool = False) -> None:
    """Write what comes, until the file would have more than `most` bytes.

    Args:
        pieces: from the origin.
        target: the file.
        most: bytes that it may have.
        resume: whether they go behind what it has.

    Raises:
        TooLong: it would.
        NotWritten: our disk does not take it.
    """
    with _ours(target):
        file = target.open("ab" if resume else "wb", buffering=0)  # so that closing it has nothing to write
    with file:
        for piece in pieces:
            stop.check()
            if file.tell() + len(piece) > most:
                raise too_long(most)
            with _ours(target):
                _write(file, piece)


def too_long(most: int) -> TooLong:
    """A file is longer than it may be."""
    return TooLong(f"has more than the {most:,} bytes that it may have")


def _write(file: FileIO, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]


@contextmanager
def _ours(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotWritten(error.errno, error.strerror, str(target)) from error

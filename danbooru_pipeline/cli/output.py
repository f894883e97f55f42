"""Standard streams as a command needs them: what cannot be written is an error of the output, not of the root.

A full disk behind standard output looks like one of the root otherwise, and a stream that was closed before the start
would let the next file that is opened take its number.
"""

import errno
import io
import os
import sys
from pathlib import Path

from danbooru_pipeline.errors import OutputLost


class ReaderGone(Exception):  # noqa: N818 - no error: whoever reads has what it wanted, as `head` does
    """The reader of standard output has closed it."""


class _Output(io.FileIO):
    """Standard output; an error of a write says that it is one."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise ReaderGone from error
            raise OutputLost(
                f"standard output cannot be written ({error.strerror or error}); give it a place that takes it, then "
                "run again"
            ) from error


def open_streams() -> None:
    """Take the three numbers of standard streams where they are closed, and watch over standard output."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # Standard output as a file that cannot be written: whatever is asked for and printed there is lost.
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), errors="backslashreplace", write_through=True)
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        raw = _Output(1, "w", closefd=False)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=raw.isatty()
        )


def flush_output() -> None:
    """Bring out what is left in standard output.

    Raises:
        OutputLost: it cannot be written.
        ReaderGone: nobody reads it.
    """
    sys.stdout.flush()


def drop_output() -> None:
    """Let standard output go, so that the end of the process does not try again to write it."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)

"""Locks between processes: files that the kernel frees when their holder dies, however it dies."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from danbooru_pipeline.errors import StoreError


@contextmanager
def exclusive(path: Path, *, busy: str | None = None) -> Iterator[None]:
    """Hold a lock on a file, made when it is not there.

    Args:
        path: of the lock file.
        busy: what to say when somebody else holds it; without it the call waits.

    Raises:
        StoreError: somebody else holds it, and `busy` is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError:
            raise StoreError(busy) from None
        yield

"""Locks between processes: files locked with ``flock``. The kernel frees them when their holder dies, however it dies.

A lock file is never removed: a process that waits for it holds it open, and would then lock a file without a name.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from danbooru_pipeline.errors import StoreError

_this_thread = threading.local()  # .held: the lock files that were locked in it


def lock_file(path: Path, *, wait: bool) -> int:
    """Create a file if necessary, open it and lock it. Returns its descriptor; closing that frees the lock.

    Args:
        path: of the lock file; its folder must exist.
        wait: whether to wait for another holder.

    Raises:
        FileNotFoundError: the folder does not exist.
        BlockingIOError: the lock is held elsewhere and `wait` is false.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def locked(descriptor: int) -> Iterator[None]:
    """Lock an open file for the length of the block; waits while another process holds the lock."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextmanager
def exclusive(path: Path, *, busy: str | None = None) -> Iterator[None]:
    """Hold a lock file for the length of the block. Creates missing folders.

    Args:
        path: of the lock file.
        busy: error message when the lock is held elsewhere; without it the call waits.

    Raises:
        StoreError: the lock is held elsewhere and `busy` is given.
        RuntimeError: this thread holds it, and would wait for itself, for ever.
    """
    if busy is None:
        refuse_own(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = lock_file(path, wait=busy is None)
    except BlockingIOError:
        raise StoreError(busy) from None
    with noted(path):
        try:
            yield
        finally:
            os.close(descriptor)


def refuse_own(path: Path) -> None:
    """Refuse to wait for a lock that this thread holds itself.

    Raises:
        RuntimeError: it does.
    """
    if path in _held():
        raise RuntimeError(f"{path} is locked by this thread already")


@contextmanager
def noted(path: Path) -> Iterator[None]:
    """Note that this thread holds a lock, for the length of the block."""
    _held().add(path)
    try:
        yield
    finally:
        _held().discard(path)


def _held() -> set[Path]:
    held: set[Path] = _this_thread.__dict__.setdefault("held", set())
    return held

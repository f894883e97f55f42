"""How many downloads run at once, all processes on one store together.

A slot is a file that is locked for the length of a download. The kernel frees it when its holder dies, however it dies,
so nothing has to be cleaned up after a kill.
"""

import contextlib
import fcntl
import os
import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from danbooru_pipeline.fetch.rate_limiter import RateLimiter

#: How often a busy slot is asked for again, in seconds.
LOOK_SECONDS: Final = 0.02


class DownloadSlots:
    """A number of slots that threads and processes share.

    Args:
        paths: of the slots' files, one for each download; before their folder is there, nobody is held up.
        limiter: waits, and says when the work is over.
    """

    def __init__(self, paths: Sequence[Path], *, limiter: RateLimiter) -> None:
        # Those that this process does not hold, the one that it had last at the end: most likely nobody took it since.
        # Processes begin with different ones.
        self._free = random.sample(list(paths), len(paths))
        self._limited = bool(paths)
        self._lock = threading.Lock()
        self._limiter = limiter

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold a slot for the length of the block, waiting for one to become free.

        Raises:
            RuntimeError: the limiter is closed.
        """
        if not self._limited:
            yield
            return
        path, descriptor = self._take()
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)
            self._give_back(path)

    def _take(self) -> tuple[Path, int | None]:
        """A slot, and what it is locked by; None before the folder is there."""
        while True:
            tried: list[Path] = []
            try:
                while path := self._next():
                    tried.append(path)
                    with contextlib.suppress(BlockingIOError):
                        descriptor = _locked(path)
                        tried.remove(path)
                        return path, descriptor
            finally:
                self._put_last(tried)
            self._limiter.pause(LOOK_SECONDS)

    def _next(self) -> Path | None:
        with self._lock:
            return self._free.pop() if self._free else None

    def _give_back(self, path: Path) -> None:
        with self._lock:
            self._free.append(path)

    def _put_last(self, paths: list[Path]) -> None:
        with self._lock:
            self._free[:0] = paths


def _locked(path: Path) -> int | None:
    """A slot's file, opened and locked.

    Raises:
        BlockingIOError: another process has it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor

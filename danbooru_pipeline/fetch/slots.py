"""Limits how many downloads run at once, over all processes on one store.

A slot is a file that is locked for the length of a download. The kernel frees it when its holder dies, so nothing has
to be cleaned up after a crash.
"""

import contextlib
import os
import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from danbooru_pipeline.fetch.rate_limiter import RateLimiter
from danbooru_pipeline.io.locks import lock_file

#: How long to wait before trying busy slots again, in seconds.
RETRY_SECONDS: Final = 0.02


class DownloadSlots:
    """A number of slots that threads and processes share.

    Args:
        paths: one lock file per slot; as long as their folder does not exist, downloads are not limited.
        limiter: waits, and stops waiting when it is closed.
    """

    def __init__(self, paths: Sequence[Path], *, limiter: RateLimiter) -> None:
        # The slots that this process does not hold. The last one released is tried first, since most likely no other
        # process has taken it; the order is random at the start, so that processes begin with different ones.
        self._free = random.sample(list(paths), len(paths))
        self._limited = bool(paths)
        self._lock = threading.Lock()
        self._limiter = limiter

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold a slot for the length of the block; waits until one is free.

        Raises:
            RuntimeError: the limiter was closed while waiting.
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
        """A slot and the descriptor that locks it; None as long as the folder does not exist."""
        while True:
            tried: list[Path] = []
            try:
                while path := self._next():
                    tried.append(path)
                    with contextlib.suppress(BlockingIOError):
                        descriptor = _lock(path)
                        tried.remove(path)
                        return path, descriptor
            finally:
                self._put_last(tried)
            self._limiter.pause(RETRY_SECONDS)

    def _next(self) -> Path | None:
        with self._lock:
            return self._free.pop() if self._free else None

    def _give_back(self, path: Path) -> None:
        with self._lock:
            self._free.append(path)

    def _put_last(self, paths: list[Path]) -> None:
        with self._lock:
            self._free[:0] = paths


def _lock(path: Path) -> int | None:
    """Lock a slot; None as long as its folder does not exist.

    Raises:
        BlockingIOError: another process holds it.
    """
    try:
        return lock_file(path, wait=False)
    except FileNotFoundError:
        return None

"""How many downloads run at once, all processes on one store together.

A slot is a file that is locked for the length of a download. The kernel frees it when its holder dies, however it dies,
so nothing has to be cleaned up after a kill.
"""

import contextlib
import fcntl
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from danbooru_pipeline.fetch.pacing import Pacer

#: How often a busy slot is asked for again, in seconds.
LOOK_SECONDS: Final = 0.02


class DownloadSlots:
    """A number of slots that threads and processes share.

    Args:
        paths: of the slots' files, one for each download; before their folder is there, nobody is held up.
        pacer: waits, and says when the work is over.
    """

    def __init__(self, paths: Sequence[Path], *, pacer: Pacer) -> None:
        self._paths = list(paths)
        self._pacer = pacer

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold a slot for the length of the block, waiting for one to become free.

        Raises:
            RuntimeError: the pacer is closed.
        """
        descriptor = self._take()
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _take(self) -> int | None:
        first = random.randrange(len(self._paths)) if self._paths else 0  # noqa: S311 - to spread, not to hide
        while self._paths:
            for path in (*self._paths[first:], *self._paths[:first]):
                try:
                    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
                except FileNotFoundError:
                    return None
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(descriptor)
                else:
                    return descriptor
            self._pacer.pause(LOOK_SECONDS)
        return None

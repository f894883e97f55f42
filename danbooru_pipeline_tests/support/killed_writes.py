"""Work that dies by SIGKILL where it changes a name on disk, in a forked child."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from danbooru_pipeline_tests.support.killed_exports import in_child

_NAMES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir"})


def writes_until_killed(work: Callable[[], object], number: int) -> bool:
    """Run work in a child that dies before so many changes of a name are done. Returns whether it came to its end."""

    def child() -> None:
        left = number

        def count(event: str, _: tuple[Any, ...]) -> None:
            nonlocal left
            if event in _NAMES:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        work()

    return in_child(child) == 0

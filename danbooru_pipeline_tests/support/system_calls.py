"""Processes that kill themselves at a chosen system call, so that a test dies at the same step every time.

Counted are the calls of `os` that change a file system, which is where a crash can leave something half done. They are
counted in the process itself; image workers, which write in processes of their own, die with it.

As a module that is run, ``AT PROGRAM ARGUMENT…``: the text of a program, which dies at its call number AT, if any.
"""

import contextlib
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danbooru_pipeline_tests.support.forked import Forked

CALLS = ("link", "fsync", "rename", "replace", "unlink", "mkdir", "rmdir", "chmod", "symlink")
TOP = Path(__file__).parents[2]


def count_calls(at: int | None) -> Iterator[int]:
    """Count changing file system calls from now on, and die at the one with a number, before or after it is done."""
    numbers = itertools.count(1)  # one step even when two threads take a number

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(numbers) == at:
                with contextlib.suppress(OSError):
                    if at is not None and at % 2:
                        real(*args, **kwargs)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, wrap(getattr(os, name)))
    return numbers


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        killed: it reached the call at which it was to die.
        calls: how many calls it made; 0 when it was killed.
    """

    killed: bool
    calls: int


def run_program(program: str, *arguments: object, at: int | None = None) -> Ended:
    """Run the text of a program in a process of its own, which dies at its call number `at` if it makes so many."""
    words = ["" if at is None else str(at), program, *map(str, arguments)]
    done = Forked(words, env=os.environ, module=__name__).wait(timeout=200)
    assert done.returncode == 0 or (at is not None and done.returncode == -signal.SIGKILL), done.stderr[-3000:]
    killed = done.returncode != 0
    return Ended(killed, 0 if killed else int(done.stdout.split()[-1]))


def main() -> None:
    """Run a program, and print how many calls it made."""
    _, at, program, *arguments = sys.argv
    sys.argv = ["-c", *arguments]
    numbers = count_calls(int(at) if at else None)
    exec(program, {"__name__": "__main__"})
    sys.stdout.write(f"{next(numbers) - 1}\n")


if __name__ == "__main__":
    main()

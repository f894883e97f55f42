"""Processes that kill themselves at a chosen system call, so that a test dies at the same step every time.

Counted are the calls of `os` that change a file system, which is where a crash can leave something half done. They are
counted in the process itself; image workers, which write in processes of their own, die with it.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CALLS = ("link", "fsync", "rename", "replace", "unlink", "mkdir", "rmdir", "chmod", "symlink")
TOP = Path(__file__).parents[2]
_PROGRAM = """
from danbooru_pipeline_tests.support.system_calls import count_calls
numbers = count_calls({at})
{program}
print(next(numbers) - 1)
"""


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
    command = [sys.executable, "-c", _PROGRAM.format(at=at, program=program), *map(str, arguments)]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0 or (at is not None and done.returncode == -signal.SIGKILL), done.stderr[-3000:]
    killed = done.returncode != 0
    return Ended(killed, 0 if killed else int(done.stdout.split()[-1]))

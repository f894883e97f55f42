"""Helpers for child processes, which must never outlive their parent."""

import contextlib
import ctypes
import os
import signal
import sys
from types import FrameType

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; on other systems it exits when it next reads its pipe."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def leave_signals_to_parent(*, terminable: bool = True) -> None:
    """Take no notice of Ctrl-C and a hang-up, which a terminal sends to all: the parent hears them, then ends us.

    They are handled by doing nothing rather than ignored, since a program that is started here would go on ignoring
    them, and could not be stopped: Dagster starts a `tail` for the log of each run, and ends it with SIGTERM.

    Args:
        terminable: let SIGTERM end it at once; `multiprocessing` sends that to daemonic children at its own exit. A
            process that is not one takes no notice: where a service is stopped, the parent gets it too.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup asked of all that it starts
            signal.signal(number, _do_nothing)
    signal.signal(signal.SIGTERM, signal.SIG_DFL if terminable else _do_nothing)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    pass


def keep_freed_memory(limit_bytes: int = 128 * 2**20) -> None:
    """Have the C library keep up to this many freed bytes, for a process that soon needs as much again.

    The pixels of an image take megabytes, which glibc would return to the kernel and fetch again page by page: a third
    of the system time of a 512px image.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, limit_bytes)
        mallopt(_M_TRIM_THRESHOLD, limit_bytes)

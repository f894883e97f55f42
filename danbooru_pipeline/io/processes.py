"""Processes that are started to work for this one, and must never outlive it."""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def die_with(parent: int) -> None:
    """Have the kernel end this process when its parent is killed; elsewhere it ends at its next read of work."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went before the line above
        os._exit(1)


def leave_signals_to_parent() -> None:
    """Ctrl-C is for the parent, which then ends this process; SIGTERM ends it at once, whatever library runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def keep_freed_memory(limit_bytes: int = 128 * 2**20) -> None:
    """Have the C library keep up to this much of what is freed, for a process that needs the same again at once.

    Each picture's pixels are megabytes, which glibc would give back to the kernel and get anew, page by page: for a
    512px image a third of the system time.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, limit_bytes)
        mallopt(_M_TRIM_THRESHOLD, limit_bytes)

"""Gives memory back that allocators keep for later: what comes next needs it in other pieces."""

import ctypes
from collections.abc import Callable
from typing import Any

import pyarrow as pa


def _trimmer() -> Callable[[int], Any]:
    """What returns the C library's free pages; nothing where it is not glibc."""
    try:
        trim: Callable[[int], Any] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda _: None
    return trim


_trim = _trimmer()


def give_back() -> None:
    """Return free memory of Arrow and of the C library, of which numpy's arrays are, to the system."""
    pa.default_memory_pool().release_unused()
    _trim(0)

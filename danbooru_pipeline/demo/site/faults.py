"""Faults that can be enabled for one file or for the API, and how often each strikes. No HTTP.

========================  ==========================================================================
``gone``                  404
``error``                 500, always
``error_once``            500 once, then fine
``flaky:N``               N times 500 or 503 alternately, then fine
``throttle:N``            N times 429 with ``Retry-After: 1``, then fine
``truncate``              the full length is announced, the connection closes half-way; always
``truncate_once``         the same, once
``html``                  200 with a web page in place of the file; always
``html_once``             the same, once
``corrupt``               same length, other bytes, the same ones each time
``corrupt_random``        same length, other bytes each time
``too_long``              more bytes than the metadata declares, always
``too_long_once``         the same, once
``half``                  the first half, announced as if it were the whole; always
``empty``                 200 with no bytes
``reset``                 the connection is reset without a response; always
``slow``                  the bytes are drip-fed over about two seconds
``redirect``              302 to another host
========================  ==========================================================================
"""

import re
import threading
from enum import StrEnum


class Effect(StrEnum):
    """What happens to one request."""

    GONE = "gone"
    ERROR = "error"
    UNAVAILABLE = "unavailable"
    THROTTLE = "throttle"
    TRUNCATE = "truncate"
    HTML = "html"
    CORRUPT = "corrupt"
    CORRUPT_RANDOM = "corrupt_random"
    TOO_LONG = "too_long"
    HALF = "half"
    EMPTY = "empty"
    RESET = "reset"
    SLOW = "slow"
    REDIRECT = "redirect"


ALWAYS = frozenset(Effect) - {Effect.UNAVAILABLE, Effect.THROTTLE}
ONCE = frozenset({Effect.ERROR, Effect.TRUNCATE, Effect.HTML, Effect.TOO_LONG})
#: The key of the list of posts.
POSTS_KEY = "posts"
#: The key of edits of posts.
EDITS_KEY = "edits"


def plan_fault(fault: str) -> tuple[list[Effect], Effect | None]:
    """Parse a fault.

    Returns:
        The effects of the first requests, one each, and the effect of all later ones (None for none).

    Raises:
        ValueError: the fault is unknown.
    """
    if match := re.fullmatch(r"(flaky|throttle):(\d+)", fault):
        turns = (Effect.ERROR, Effect.UNAVAILABLE) if match[1] == "flaky" else (Effect.THROTTLE,)
        return [turns[i % len(turns)] for i in range(int(match[2]))], None
    for effect in ALWAYS:
        if fault == effect.value:
            return [], effect
        if fault == f"{effect.value}_once" and effect in ONCE:
            return [effect], None
    raise ValueError(f"no such fault: {fault!r}")


class Faults:
    """The enabled faults by key: a path, an MD5, or ``posts``. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: dict[str, tuple[list[Effect], Effect | None]] = {}

    def set(self, key: str, fault: str) -> None:
        """Enable a fault, in place of the key's previous one."""
        plan = plan_fault(fault)
        with self._lock:
            self._plans[key] = plan

    def clear(self) -> None:
        """Disable all faults."""
        with self._lock:
            self._plans.clear()

    def strike(self, *keys: str) -> Effect | None:
        """The effect on one request with these keys; it uses up one turn of a fault that ends."""
        with self._lock:
            for key in keys:
                if key in self._plans:
                    first, then = self._plans[key]
                    return first.pop(0) if first else then
        return None

"""A circuit breaker per host: recognises a host that is down, that blocks us, or that is the wrong one.

Without it, a host that is down would cost minutes of retries for each of millions of posts, and a mistyped address,
where every file is a 404, would have them all marked as gone. No network, no clock.
"""

import threading
from collections import Counter
from enum import StrEnum
from typing import Final

from danbooru_pipeline.errors import SourceBlocked, SourceError, SourceUnreachable, SourceUnusable

#: Stands in for the HTTP status of a request that got no response.
NO_ANSWER: Final = 0


class FailureKind(StrEnum):
    """What a failed request suggests about the host as a whole."""

    REFUSED = "refused"
    NOT_FOUND = "not_found"
    DOWN = "down"


#: This many consecutive failures of one kind are the host's fault and not a file's.
LIMITS: Final = {FailureKind.REFUSED: 25, FailureKind.NOT_FOUND: 100, FailureKind.DOWN: 100}
#: After this many consecutive `DOWN` failures the host is paused for this share of the retry time, then probed with a
#: few requests. A host that recovers within that time does not stop the run; one that does not ends it.
PAUSES: Final = {50: 1 / 30, 60: 1 / 15, 70: 1 / 8, 80: 1 / 4, 90: 1 / 2}
_GONE = frozenset({404, 410})


def failure_kind(status: int) -> FailureKind | None:
    """What an HTTP status, or `NO_ANSWER`, counts as; None when it does not count against the host."""
    if status in {401, 403}:
        return FailureKind.REFUSED
    if status in _GONE:
        return FailureKind.NOT_FOUND
    return FailureKind.DOWN if status in {NO_ANSWER, 429} or status >= 500 else None


class CircuitBreaker:
    """Counts consecutive failures per host. Thread-safe."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, FailureKind]] = Counter()
        self._lock = threading.Lock()

    def record(self, host: str, status: int, *, problem: str = "") -> float:
        """Record a response, or why there was none. Returns how long to pause the host, as a share of the retry time.

        Raises:
            SourceError: the limit is reached.
        """
        kind = failure_kind(status)
        with self._lock:
            for other in _cleared_by(status):
                self._counts[host, other] = 0
            if kind is None:
                return 0.0
            self._counts[host, kind] += 1
            count = self._counts[host, kind]
        if count >= LIMITS[kind]:
            raise _error(host, kind, status=status, count=count, problem=problem)
        return PAUSES.get(count, 0.0) if kind is FailureKind.DOWN else 0.0


def _cleared_by(status: int) -> tuple[FailureKind, ...]:
    """A delivered file clears every count; a plain "no such file" proves that the host is up and talks to us."""
    if 200 <= status < 300:
        return tuple(FailureKind)
    return (FailureKind.REFUSED, FailureKind.DOWN) if status in _GONE else ()


def _error(host: str, kind: FailureKind, *, status: int, count: int, problem: str) -> SourceError:
    if kind is FailureKind.REFUSED:
        return blocked(host, status)
    if kind is FailureKind.NOT_FOUND:
        return SourceUnusable(
            f"{host} answered HTTP {status} to the last {count} requests; check DANBOORU_API_URL and "
            "DANBOORU_CDN_URL, then run again",
        )
    if status == NO_ANSWER:
        return SourceUnreachable(
            f"{host} failed {count} requests in a row, the last one without a response ({problem or 'no connection'}); "
            "check the network, then run again: only what is missing is requested",
        )
    return SourceUnusable(
        f"{host} failed {count} requests in a row, the last one with HTTP {status}; run again later: only what is "
        "missing is requested",
    )


def blocked(host: str, status: int) -> SourceBlocked:
    """The error for a host that refuses us as a client."""
    return SourceBlocked(
        f"{host} blocks us (HTTP {status}); no post was marked as gone. Check DANBOORU_CONTACT and the account, ask "
        "the site's staff, then run again",
    )

"""When a host's answers stop saying anything about single files: it blocks us, it is down, or it is the wrong host.

Without this a host that is down would cost minutes of retries for each of millions of posts, and one that knows none of
our files, most likely a wrong address, would have them all marked as gone. No network, no clock.
"""

import threading
from collections import Counter
from enum import StrEnum
from typing import Final

from danbooru_pipeline.errors import SourceBlocked, SourceError, SourceUnreachable, SourceUnusable

NO_ANSWER: Final = 0


class Trouble(StrEnum):
    """What an answer has to say against a host as a whole."""

    REFUSED = "refused"
    NOT_FOUND = "not_found"
    DOWN = "down"


#: This many troubles of a kind, with no answer between that speaks against it, mean the host and not a file.
LIMITS: Final = {Trouble.REFUSED: 25, Trouble.NOT_FOUND: 100, Trouble.DOWN: 100}
#: After so many signs in a row that a host is down it is left alone for this share of the time for retries, and then
#: looked at with a few requests. One that comes back within that time costs no run; one that does not ends it.
PAUSES: Final = {50: 1 / 30, 60: 1 / 15, 70: 1 / 8, 80: 1 / 4, 90: 1 / 2}
_GONE = frozenset({404, 410})


def trouble_of(status: int) -> Trouble | None:
    """The trouble that an HTTP status, or `NO_ANSWER`, is a sign of."""
    if status in {401, 403}:
        return Trouble.REFUSED
    if status in _GONE:
        return Trouble.NOT_FOUND
    return Trouble.DOWN if status in {NO_ANSWER, 429} or status >= 500 else None


class Breaker:
    """Counts troubles in a row, by host. Safe for threads."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Trouble]] = Counter()
        self._lock = threading.Lock()

    def note(self, host: str, status: int) -> float:
        """Take note of an answer. Returns how long to leave the host alone, as a share of the time for retries.

        Raises:
            SourceError: it is one too many.
        """
        trouble = trouble_of(status)
        with self._lock:
            for other in _disproved_by(status):
                self._counts[host, other] = 0
            if trouble is None:
                return 0.0
            self._counts[host, trouble] += 1
            count = self._counts[host, trouble]
        if count >= LIMITS[trouble]:
            raise _error(host, trouble, status, count)
        return PAUSES.get(count, 0.0) if trouble is Trouble.DOWN else 0.0


def _disproved_by(status: int) -> tuple[Trouble, ...]:
    """A file that comes disproves everything; a clear "no such file" shows at least a host that talks to us."""
    if 200 <= status < 300:
        return tuple(Trouble)
    return (Trouble.REFUSED, Trouble.DOWN) if status in _GONE else ()


def _error(host: str, trouble: Trouble, status: int, count: int) -> SourceError:
    if trouble is Trouble.REFUSED:
        return blocked(host, status)
    if trouble is Trouble.NOT_FOUND:
        return SourceUnusable(
            f"{host} knows none of the last {count} addresses (HTTP {status}); check DANBOORU_API_URL and "
            "DANBOORU_CDN_URL, then run again",
        )
    if status == NO_ANSWER:
        return SourceUnreachable(
            f"{host} gave no good answer in {count} requests, and at last none at all; check the network, then run "
            "again: only what is missing is asked for",
        )
    return SourceUnusable(
        f"{host} gave no good answer in {count} requests (HTTP {status} at last); run again later: only what is "
        "missing is asked for",
    )


def blocked(host: str, status: int) -> SourceBlocked:
    """The error of a host that refuses us as a client."""
    return SourceBlocked(
        f"{host} blocks us (HTTP {status}); no post was marked as gone. Check DANBOORU_CONTACT and the account, ask "
        "the site's staff, then run again",
    )

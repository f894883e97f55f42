"""How many requests the demo's API takes from a client, and which clients it takes at all. No HTTP."""

import threading
import time

RATE_PER_SECOND = 10.0
BURST = 50
#: Clients that the real site's guard turns away: browsers' names in a script's mouth, and tools that give no contact.
_REFUSED_AGENTS = ("mozilla/", "python-requests", "python-httpx", "curl/", "wget")


def is_refused_agent(user_agent: str | None) -> bool:
    """Whether a client is turned away for its User-Agent."""
    name = (user_agent or "").strip().lower()
    return not name or name.startswith(_REFUSED_AGENTS)


class LeakyBucket:
    """nginx's ``limit_req rate=10r/s burst=50 nodelay``, one bucket for all, since all come from loopback."""

    def __init__(self, *, rate: float = RATE_PER_SECOND, burst: int = BURST) -> None:
        self._lock = threading.Lock()
        self._rate = rate
        self._burst = burst
        self._excess = -1.0
        self._last = time.monotonic()

    def take(self) -> bool:
        """Whether one more request is let through. Refused ones fill nothing."""
        with self._lock:
            now = time.monotonic()
            excess = max(0.0, self._excess - (now - self._last) * self._rate + 1)
            if excess > self._burst:
                return False
            self._excess, self._last = excess, now
            return True

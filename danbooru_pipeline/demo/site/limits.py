"""How many requests the demo's API accepts, and from which clients. No HTTP."""

import threading
import time

RATE_PER_SECOND = 10.0
BURST = 50
#: Clients that the real site's front end refuses: scripts that pose as browsers, and tools that give no contact.
_REFUSED_AGENTS = ("mozilla/", "python-requests", "python-httpx", "curl/", "wget")


def is_refused_agent(user_agent: str | None) -> bool:
    """Whether a client is refused for its User-Agent."""
    name = (user_agent or "").strip().lower()
    return not name or name.startswith(_REFUSED_AGENTS)


class LeakyBucket:
    """nginx's ``limit_req rate=10r/s burst=50 nodelay``, with one bucket for all clients, since all are on loopback."""

    def __init__(self, *, rate: float = RATE_PER_SECOND, burst: int = BURST) -> None:
        self._lock = threading.Lock()
        self._rate = rate
        self._burst = burst
        self._excess = -1.0
        self._last = time.monotonic()

    def take(self) -> bool:
        """Whether one more request is accepted. Refused ones do not fill the bucket."""
        with self._lock:
            now = time.monotonic()
            excess = max(0.0, self._excess - (now - self._last) * self._rate + 1)
            if excess > self._burst:
                return False
            self._excess, self._last = excess, now
            return True

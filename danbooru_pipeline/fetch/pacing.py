"""When the next request may go out.

One budget bounds all requests together. Beside it each host has a rate of its own that falls at once when the host
asks for less (429, 503) and climbs back slowly: quickly to just below the rate that was refused, very slowly beyond.
The only module, with `retry`, that waits.
"""

import threading
import time
from collections import deque
from dataclasses import dataclass, field

#: A server may ask for a pause; it is honoured up to this long.
MAX_PAUSE_SECONDS = 300.0
#: Pause after a refusal that names none.
DEFAULT_PAUSE_SECONDS = 1.0
#: Rates never fall below one request in ten seconds.
MIN_RATE = 0.1
#: Seconds over which the achieved rate of a host is measured, and the requests in them that make it a measure.
WINDOW_SECONDS, WINDOW_REQUESTS = 5.0, 5
#: A rate grows this much in a second while it is well below the refused one, and this much from there on.
QUICK_GROWTH, SLOW_GROWTH = 0.1, 0.002
#: Where growth turns slow, as a share of the refused rate.
SAFE_SHARE = 0.9


@dataclass(slots=True)
class _HostPace:
    rate: float
    refused_rate: float | None = None  # the rate at which the host last refused
    refused_at: float = 0.0
    paused_until: float = 0.0
    next_slot: float = 0.0
    grown_at: float = 0.0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=512))  # the latest slots


class Pacer:
    """Hands out the moments at which requests may be sent. Safe for threads.

    Args:
        rate: most requests a second, all hosts together.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._next_slot = 0.0
        self._hosts: dict[str, _HostPace] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def wait(self, host: str) -> float:
        """Return when a request to `host` may go out: the moment, on the clock of `time.monotonic`.

        Raises:
            RuntimeError: the pacer is closed.
        """
        while True:
            seconds, is_slot = self._reserve(host)
            self.pause(seconds)
            if self._closed.is_set():
                raise RuntimeError("no request is sent any more, since the client is closed")
            if is_slot and not self._is_paused(host):
                return time.monotonic()

    def pause(self, seconds: float) -> None:
        """Wait; returns early when the pacer is closed."""
        if seconds > 0:
            self._closed.wait(seconds)

    def slow_down(self, host: str, retry_after: float | None = None, *, sent: float | None = None) -> None:
        """Take note that `host` asked for fewer requests.

        Args:
            host: who asked.
            retry_after: how long it wants none at all, in seconds.
            sent: when the refused request went out. Requests that were on their way together are refused together,
                and lower the rate once.
        """
        with self._lock:
            now = time.monotonic()
            pace = self._pace(host)
            pause = DEFAULT_PAUSE_SECONDS if retry_after is None else min(retry_after, MAX_PAUSE_SECONDS)
            is_same_burst = (now if sent is None else sent) < max(pace.refused_at, pace.paused_until)
            if not is_same_burst:
                pace.refused_rate = min(pace.rate, _achieved_rate(pace, now if sent is None else sent))
                pace.rate = max(MIN_RATE, pace.refused_rate / 2)
                pace.refused_at = now
            if not is_same_burst or retry_after is not None:
                pace.paused_until = max(pace.paused_until, now + pause)
            pace.grown_at = pace.paused_until

    def rate_of(self, host: str) -> float:
        """Requests a second that `host` is asked at most, at present."""
        with self._lock:
            pace = self._pace(host)
            _grow(pace, time.monotonic(), most=self.rate)
            return min(self.rate, pace.rate)

    def close(self) -> None:
        """Wake everybody who waits, and let nobody send any more."""
        self._closed.set()

    def _reserve(self, host: str) -> tuple[float, bool]:
        """Seconds to wait, and whether a request may go out then; else it is time to ask again.

        A slot of the common budget is taken only when the host is ready, so a host that is paused holds up nobody.
        """
        with self._lock:
            now = time.monotonic()
            pace = self._pace(host)
            _grow(pace, now, most=self.rate)
            ready = max(pace.next_slot, pace.paused_until)
            if ready > now:
                return ready - now, False
            slot = max(now, self._next_slot)
            self._next_slot = slot + 1 / self.rate
            if pace.refused_rate is not None:
                pace.next_slot = slot + 1 / pace.rate
            pace.recent.append(slot)
            return slot - now, True

    def _is_paused(self, host: str) -> bool:
        with self._lock:
            return self._pace(host).paused_until > time.monotonic()

    def _pace(self, host: str) -> _HostPace:
        return self._hosts.setdefault(host, _HostPace(rate=self.rate))


def _achieved_rate(pace: _HostPace, at: float) -> float:
    """Requests a second that really went out in the seconds up to a moment; too few of them say nothing."""
    recent = [slot for slot in pace.recent if at - WINDOW_SECONDS <= slot <= at]
    return len(recent) / max(at - recent[0], 1.0) if len(recent) >= WINDOW_REQUESTS else pace.rate


def _grow(pace: _HostPace, now: float, *, most: float) -> None:
    if pace.refused_rate is None or now <= pace.grown_at:
        return
    seconds, pace.grown_at = now - pace.grown_at, now
    safe = SAFE_SHARE * pace.refused_rate
    if pace.rate < safe:
        pace.rate = min(pace.rate * (1 + QUICK_GROWTH * seconds), safe)
    else:
        pace.rate = min(pace.rate * (1 + SLOW_GROWTH * seconds), most)

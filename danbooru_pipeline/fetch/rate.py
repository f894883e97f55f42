"""When the next request may go out, as arithmetic on a small state. Pure: no clock, no waiting, no file.

One budget bounds all requests together. Beside it each host has a rate of its own, by additive patience and
multiplicative regret: it falls by a third when the host asks for less, and climbs back, quickly to just below the rate
that was refused and slowly beyond it. Some servers refuse single files now and then, whatever the pace; against those
the rate settles at some requests a second instead of falling for ever.
"""

import math
from typing import Final

import msgspec

#: A server may ask for a pause; it is honoured up to this long.
MAX_PAUSE_SECONDS: Final = 300.0
#: Pause after a refusal that names none.
DEFAULT_PAUSE_SECONDS: Final = 1.0
#: Rates never fall below one request in ten seconds.
MIN_RATE: Final = 0.1
#: What is left of a rate that was refused.
CUT: Final = 2 / 3
#: A rate grows by this share in a second while it is well below the refused one, and by this one from there on. Of 54
#: combinations simulated, these use 43 of 50 allowed requests a second with 0.5 % of them refused, and make 6 a second
#: of a server that refuses 4 % at random and asks for a second each time (2026-11-25).
QUICK_GROWTH, SLOW_GROWTH = 0.5, 0.1
#: A host that never refused is asked this often at first, and so many times as often each second until the budget is
#: reached: what a server with a limit lets through at once is met while few requests are under way.
FIRST_RATE, RAMP = 100.0, 3.0
#: Where growth turns slow, as a share of the refused rate.
SAFE_SHARE: Final = 0.85
#: Seconds over which the achieved rate of a host is measured, and the requests that make it a measure.
MEMORY_SECONDS, MEMORY_REQUESTS = 1.0, 5


class HostPace(msgspec.Struct):
    """How a host is asked at present. Moments and durations in seconds, rates in requests a second.

    Attributes:
        rate: at most.
        refused_rate: the rate at which the host last refused; 0 when it never did.
        refused_at: when that was.
        paused_until: no request goes out before.
        next_slot: the earliest moment of the next request.
        grown_at: up to when the rate has grown.
        achieved: requests that really went out lately, by the second.
        counted: how many requests `achieved` was measured on.
        last_slot: the moment of the latest request.
    """

    rate: float
    refused_rate: float = 0.0
    refused_at: float = 0.0
    paused_until: float = 0.0
    next_slot: float = 0.0
    grown_at: float = 0.0
    achieved: float = 0.0
    counted: int = 0
    last_slot: float = 0.0


class Pace(msgspec.Struct):
    """The whole state: the budget's next free slot, and every host."""

    next_slot: float = 0.0
    hosts: dict[str, HostPace] = {}

    def host(self, name: str, most: float) -> HostPace:
        """A host's pace; one that is new begins slowly."""
        return self.hosts.setdefault(name, HostPace(rate=min(most, FIRST_RATE)))

    def reserve(self, name: str, now: float, *, most: float) -> tuple[float, bool]:
        """Seconds to wait, and whether a request may go out then; else it is time to ask again.

        A slot of the common budget is taken only when the host is ready, so a host that is paused holds up nobody.
        """
        host = self.host(name, most)
        grow(host, now, most=most)
        # A clock that was set back, or a record of another machine's, must not stop the work for hours.
        ready = min(max(host.next_slot, host.paused_until), now + MAX_PAUSE_SECONDS)
        if ready > now:
            return ready - now, False
        slot = max(now, min(self.next_slot, now + MAX_PAUSE_SECONDS))
        self.next_slot = slot + 1 / most
        if host.rate < most:
            host.next_slot = slot + 1 / host.rate
        _measure(host, slot)
        return slot - now, True

    def refuse(self, name: str, now: float, *, most: float, sent: float, retry_after: float | None) -> None:
        """Take note that a host asked for fewer requests.

        Args:
            name: of the host.
            now: when the refusal came.
            most: requests a second, of the budget.
            sent: when the refused request went out. Requests that were on their way together are refused together, and
                lower the rate once.
            retry_after: how long the host wants none at all, in seconds.
        """
        host = self.host(name, most)
        pause = DEFAULT_PAUSE_SECONDS if retry_after is None else min(retry_after, MAX_PAUSE_SECONDS)
        is_same_burst = sent < max(host.refused_at, host.paused_until)
        if not is_same_burst:
            grow(host, now, most=most)
            _cut(host, now, most=most)
        if not is_same_burst or retry_after is not None:
            host.paused_until = max(host.paused_until, now + pause)
        host.grown_at = host.paused_until

    def note_slow_answer(self, name: str, now: float, *, most: float, seconds: float) -> None:
        """Take note that a host took `seconds`, far more than usual, to begin an answer: ask less before it refuses."""
        host = self.host(name, most)
        if now - host.refused_at > seconds:  # one cut for all answers that were slow together
            grow(host, now, most=most)
            _cut(host, now, most=most)
            host.grown_at = now


def grow(host: HostPace, now: float, *, most: float) -> None:
    """Let a rate that was cut climb back as time goes by."""
    if now <= host.grown_at:
        return
    seconds, host.grown_at = now - (host.grown_at or now), now
    if not host.refused_rate:
        host.rate = min(host.rate * _compound(RAMP - 1, seconds), most)
        return
    safe = SAFE_SHARE * host.refused_rate
    if host.rate < safe:
        host.rate = min(host.rate * _compound(QUICK_GROWTH, seconds), safe)
    else:
        host.rate = min(host.rate * _compound(SLOW_GROWTH, seconds), most)


def _compound(share: float, seconds: float) -> float:
    return math.exp(min(math.log1p(share) * seconds, 50.0))


def _measure(host: HostPace, slot: float) -> None:
    """Count a request into the achieved rate. Time in which the host was paused is no time in which it was asked."""
    gap = slot - max(host.last_slot, min(host.paused_until, slot))
    host.achieved = host.achieved * math.exp(-max(gap, 0.0) / MEMORY_SECONDS) + 1 / MEMORY_SECONDS
    host.counted += 1
    host.last_slot = slot


def _cut(host: HostPace, now: float, *, most: float) -> None:
    """Lower the rate below what really went out; too few requests say nothing of that."""
    achieved = host.achieved if host.counted >= MEMORY_REQUESTS else most
    host.refused_rate = max(MIN_RATE, min(host.rate, achieved, most))
    host.rate = max(MIN_RATE, CUT * host.refused_rate)
    host.refused_at = now

"""When the next request may go out, as arithmetic on a small state. Pure: no clock, no waiting, no file.

One budget bounds all requests together. Each host also has a rate of its own: a multiplicative decrease to 2/3 when it
throttles us, then exponential recovery, fast up to 85 % of the rate at which it throttled and slow above it. Some
servers throttle single requests now and then, whatever the rate; against those it stays at some requests a second
instead of falling for ever.
"""

import math
from typing import Final

import msgspec

#: Longest pause of a host, whatever its Retry-After. Whether a request waits that long is up to `RetryPolicy`.
MAX_PAUSE_SECONDS: Final = 300.0
#: Pause after a throttled request without a Retry-After.
DEFAULT_PAUSE_SECONDS: Final = 1.0
#: Rates never fall below one request in ten seconds.
MIN_RATE: Final = 0.1
#: Factor of the decrease.
CUT: Final = 2 / 3
#: Growth per second, well below the throttled rate and from there on. Of 54 combinations simulated, these use 43 of 50
#: allowed requests a second with 0.5 % of them throttled, and reach 6 a second on a server that throttles 4 % at random
#: and asks for a second each time (2026-11-25).
QUICK_GROWTH, SLOW_GROWTH = 0.5, 0.1
#: Slow start: a host that has never throttled begins at this rate, which triples each second until it reaches the
#: budget. So the burst that a limited server lets through is used up while few requests are in flight.
FIRST_RATE, RAMP = 100.0, 3.0
#: Where growth turns slow, as a share of the throttled rate.
SAFE_SHARE: Final = 0.85
#: Time constant of the achieved rate, in seconds, and how many requests it takes to trust it.
MEMORY_SECONDS, MEMORY_REQUESTS = 1.0, 5


class HostRate(msgspec.Struct):
    """The state of one host.

    Times and durations in seconds, rates in requests per second; the fields are a disk format, where ``refused`` means
    throttled.

    Attributes:
        rate: upper limit at present.
        refused_rate: the rate at which the host last throttled us; 0 if it never did.
        refused_at: when that was.
        paused_until: no request goes out before this time.
        next_slot: the earliest time of the next request.
        grown_at: the time up to which growth has been applied.
        achieved: moving average of the requests that really went out.
        counted: how many requests `achieved` is based on.
        last_slot: time of the latest request.
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


class RateState(msgspec.Struct):
    """The whole state: the next free slot of the budget, and every host."""

    next_slot: float = 0.0
    hosts: dict[str, HostRate] = {}

    def host(self, name: str, budget: float) -> HostRate:
        """The state of a host; a new one starts slowly."""
        return self.hosts.setdefault(name, HostRate(rate=min(budget, FIRST_RATE)))

    def reserve(self, name: str, now: float, *, budget: float) -> tuple[float, bool]:
        """Reserve a slot for a request, if the host is ready.

        A slot of the shared budget is taken only when the host is ready, so a paused host delays no other.

        Returns:
            Seconds to wait, and whether the request may go out then; if not, call again then.
        """
        host = self.host(name, budget)
        self.bound(now)
        grow(host, now, budget=budget)
        ready = max(host.next_slot, host.paused_until)
        if ready > now:
            return ready - now, False
        slot = max(now, self.next_slot)
        self.next_slot = slot + 1 / budget
        if host.rate < budget:
            host.next_slot = slot + 1 / host.rate
        _measure(host, slot)
        return slot - now, True

    def bound(self, now: float) -> None:
        """Take times that no record can have now for those of a clock that was ahead: nothing waits for it.

        They are bounded in the record itself, at every read, so a wait that is over stays over.
        """
        latest = now + MAX_PAUSE_SECONDS
        self.next_slot = now if self.next_slot > latest else self.next_slot
        for host in self.hosts.values():
            if host.paused_until > latest:  # of a clock that was ahead by an unknown time
                host.paused_until = now + DEFAULT_PAUSE_SECONDS
            host.next_slot = now if host.next_slot > latest else host.next_slot
            host.grown_at = min(host.grown_at, max(now, host.paused_until))
            host.refused_at = min(host.refused_at, now)
            host.last_slot = min(host.last_slot, latest)

    def note_throttled(self, name: str, now: float, *, budget: float, sent: float, retry_after: float | None) -> None:
        """Record that a host throttled a request: lower its rate, and pause it.

        Args:
            name: of the host.
            now: when the response came.
            budget: requests per second, all hosts together.
            sent: when the throttled request went out. Requests that were in flight together are throttled together, and
                lower the rate once.
            retry_after: seconds for which the host wants no requests at all.
        """
        self.bound(now)
        host = self.host(name, budget)
        pause = DEFAULT_PAUSE_SECONDS if retry_after is None else min(retry_after, MAX_PAUSE_SECONDS)
        is_same_burst = sent < max(host.refused_at, host.paused_until)
        if not is_same_burst:
            grow(host, now, budget=budget)
            _cut(host, now, budget=budget)
        if not is_same_burst or retry_after is not None:
            host.paused_until = max(host.paused_until, now + pause)
        host.grown_at = host.paused_until

    def note_slow_answer(self, name: str, now: float, *, budget: float, seconds: float) -> None:
        """Record that a response took `seconds` to begin, far more than usual: slow down before we are throttled."""
        self.bound(now)
        host = self.host(name, budget)
        if now - host.refused_at > seconds:  # one cut for all responses that were slow together
            grow(host, now, budget=budget)
            _cut(host, now, budget=budget)
            host.grown_at = now


def grow(host: HostRate, now: float, *, budget: float) -> None:
    """Apply the growth of a host's rate up to `now`."""
    if now <= host.grown_at:
        return
    seconds, host.grown_at = now - (host.grown_at or now), now
    if not host.refused_rate:
        host.rate = min(host.rate * _compound(RAMP - 1, seconds), budget)
        return
    safe = SAFE_SHARE * host.refused_rate
    if host.rate < safe:
        host.rate = min(host.rate * _compound(QUICK_GROWTH, seconds), safe)
    else:
        host.rate = min(host.rate * _compound(SLOW_GROWTH, seconds), budget)


def _compound(growth: float, seconds: float) -> float:
    """The factor after so many seconds of growth; capped, so that no clock can overflow a float."""
    return math.exp(min(math.log1p(growth) * seconds, 50.0))


def _measure(host: HostRate, slot: float) -> None:
    """Count a request into the achieved rate.

    Pauses are left out: they say nothing about how fast the host was asked.
    """
    gap = slot - max(host.last_slot, min(host.paused_until, slot))
    host.achieved = host.achieved * math.exp(-max(gap, 0.0) / MEMORY_SECONDS) + 1 / MEMORY_SECONDS
    host.counted += 1
    host.last_slot = slot


def _cut(host: HostRate, now: float, *, budget: float) -> None:
    """Lower the rate below what really went out, once there were enough requests to measure that."""
    achieved = host.achieved if host.counted >= MEMORY_REQUESTS else budget
    host.refused_rate = max(MIN_RATE, min(host.rate, achieved, budget))
    host.rate = max(MIN_RATE, CUT * host.refused_rate)
    host.refused_at = now

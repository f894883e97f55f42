"""The arithmetic of the rate against simulated servers, so nothing waits."""

import heapq
from collections.abc import Callable
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.fetch.rate import MAX_PAUSE_SECONDS, MIN_RATE, RateState

#: Whether a request at a given time is throttled.
Server = Callable[[float], bool]


def simulate(
    server: Server, *, files: int, budget: float, parallel: int = 8, latency: float = 0.01
) -> tuple[float, int]:
    """Fetch files, throttled ones again. Returns how many seconds it took and how many requests were throttled."""
    state, refused, left = RateState(), 0, files
    threads = [(0.0, number) for number in range(parallel)]
    now = 0.0
    while left > 0:
        now, number = heapq.heappop(threads)
        wait, is_slot = state.reserve("host", now, budget=budget)
        if not is_slot:
            heapq.heappush(threads, (now + wait, number))
            continue
        sent = now + wait
        if server(sent):
            refused += 1
            state.note_throttled("host", sent + latency, budget=budget, sent=sent, retry_after=1.0)
            heapq.heappush(threads, (sent + latency + 1.0, number))
        else:
            left -= 1
            heapq.heappush(threads, (sent + latency, number))
    return now, refused


def limited(rate: float, burst: int) -> Server:
    """A server that limits requests per second with a leaky bucket, as nginx does."""
    level = last = 0.0

    def answer(now: float) -> bool:
        nonlocal level, last
        level, last = max(0.0, level - (now - last) * rate), now
        if level + 1 > burst + 1:
            return True
        level += 1
        return False

    return answer


def test_limit_of_a_server_is_found_with_few_refusals() -> None:
    """A server that allows 50 requests a second refuses fewer than five of 200 under a budget ten times as high."""
    seconds, refused = simulate(limited(50, 25), files=200, budget=500)
    assert refused < 5
    assert seconds < 15


def test_limit_is_found_with_many_downloads_and_high_latency() -> None:
    """32 downloads in flight at 80 ms of latency still see fewer than five of 200 refused, thanks to the slow start."""
    _, refused = simulate(limited(50, 25), files=200, budget=500, parallel=32, latency=0.08)
    assert refused < 5


def test_slow_start_costs_a_second() -> None:
    """A host that never throttles gets the whole budget within two seconds."""
    seconds, refused = simulate(lambda _now: False, files=1500, budget=500, parallel=32, latency=0.01)
    assert refused == 0
    assert seconds < 1500 / 500 + 1.2


def test_long_run_against_a_limited_server_uses_what_it_allows() -> None:
    """Over thousands of files more than 80 % of the allowed rate is used, and less than 1 % of requests are refused."""
    seconds, refused = simulate(limited(50, 25), files=5000, budget=500)
    assert 5000 / seconds > 50 * 0.8
    assert refused < 5000 / 100


def test_random_refusals_do_not_stop_the_work() -> None:
    """Refusals that have nothing to do with the rate lower it, but never to a crawl."""
    random = Random(1)
    seconds, _ = simulate(lambda _now: random.random() < 0.04, files=2000, budget=500)
    assert 2000 / seconds > 5


def test_budget_is_used_in_full_when_nothing_is_refused() -> None:
    """Without refusals requests go out at exactly the budget."""
    seconds, refused = simulate(lambda _now: False, files=400, budget=8)
    assert refused == 0
    assert abs(seconds - 400 / 8) < 2


EVENTS = st.lists(
    st.tuples(st.sampled_from(["reserve", "throttled", "slow"]), st.floats(0, 1e4), st.none() | st.floats(0, 1e6)),
    max_size=40,
)


@given(EVENTS, st.floats(MIN_RATE, 1000))
def test_bounds_hold_whatever_happens(events: list[tuple[str, float, float | None]], budget: float) -> None:
    """Waits and rates stay within their bounds even if clocks jump and servers ask for absurd pauses."""
    state = RateState()
    for kind, now, number in events:
        if kind == "reserve":
            wait, _ = state.reserve("host", now, budget=budget)
            assert 0 <= wait <= MAX_PAUSE_SECONDS + 1 / MIN_RATE
        elif kind == "throttled":
            state.note_throttled("host", now, budget=budget, sent=now, retry_after=number)
        else:
            state.note_slow_answer("host", now, budget=budget, seconds=number or 0.0)
        assert MIN_RATE <= state.host("host", budget).rate <= budget


def test_a_clock_that_ran_ahead_costs_one_pause() -> None:
    """Case pace_future: a host throttled us while the clock was a year ahead; once it is right, one pause is left."""
    state, now, year = RateState(), 1_800_000_000.0, 365 * 86400
    state.reserve("h", now + year, budget=8)
    state.note_throttled("h", now + year, budget=8, sent=now + year, retry_after=1)
    first, is_slot = state.reserve("h", now, budget=8)
    assert not is_slot
    assert first <= MAX_PAUSE_SECONDS
    second, is_slot = state.reserve("h", now + first, budget=8)
    assert is_slot
    assert second <= 1 / MIN_RATE

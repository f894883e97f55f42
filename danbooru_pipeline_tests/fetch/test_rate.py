"""The arithmetic of the pace against servers that are only numbers: a simulation, so nothing waits."""

import heapq
from collections.abc import Callable
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.fetch.rate import MAX_PAUSE_SECONDS, MIN_RATE, Pace

#: Says of a request at a moment whether it is refused.
Server = Callable[[float], bool]


def simulate(server: Server, *, files: int, most: float, parallel: int = 8, latency: float = 0.01) -> tuple[float, int]:
    """Fetch files, refused ones again; the seconds it takes and how many requests were refused."""
    pace, refused, left = Pace(), 0, files
    threads = [(0.0, number) for number in range(parallel)]
    now = 0.0
    while left > 0:
        now, number = heapq.heappop(threads)
        wait, is_slot = pace.reserve("host", now, most=most)
        if not is_slot:
            heapq.heappush(threads, (now + wait, number))
            continue
        sent = now + wait
        if server(sent):
            refused += 1
            pace.refuse("host", sent + latency, most=most, sent=sent, retry_after=1.0)
            heapq.heappush(threads, (sent + latency + 1.0, number))
        else:
            left -= 1
            heapq.heappush(threads, (sent + latency, number))
    return now, refused


def limited(rate: float, burst: int) -> Server:
    """A server that lets so many requests a second through, as nginx does."""
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
    """A server that allows 50 a second refuses fewer than five of 200, at a budget ten times as high."""
    seconds, refused = simulate(limited(50, 25), files=200, most=500)
    assert refused < 5
    assert seconds < 15


def test_limit_is_found_with_many_downloads_on_a_slow_way() -> None:
    """With 32 downloads at once and 80 ms of way fewer than five of 200 are refused too, since a host begins slowly."""
    _, refused = simulate(limited(50, 25), files=200, most=500, parallel=32, latency=0.08)
    assert refused < 5


def test_slow_beginning_costs_a_second() -> None:
    """A host that takes everything has the whole budget after two seconds."""
    seconds, refused = simulate(lambda _now: False, files=1500, most=500, parallel=32, latency=0.01)
    assert refused == 0
    assert seconds < 1500 / 500 + 1.2


def test_long_work_on_a_limited_server_uses_what_it_allows() -> None:
    """Over thousands of files four fifths of the allowed rate are used, and one request in a hundred is refused."""
    seconds, refused = simulate(limited(50, 25), files=5000, most=500)
    assert 5000 / seconds > 50 * 0.8
    assert refused < 5000 / 100


def test_files_that_are_refused_at_random_do_not_stop_the_work() -> None:
    """Refusals that have nothing to do with the pace slow it down, but never to a crawl."""
    random = Random(1)
    seconds, _ = simulate(lambda _now: random.random() < 0.04, files=2000, most=500)
    assert 2000 / seconds > 5


def test_polite_pace_is_kept_when_nothing_is_refused() -> None:
    """Without refusals the budget is used in full."""
    seconds, refused = simulate(lambda _now: False, files=400, most=8)
    assert refused == 0
    assert abs(seconds - 400 / 8) < 2


EVENTS = st.lists(
    st.tuples(st.sampled_from(["reserve", "refuse", "strain"]), st.floats(0, 1e4), st.none() | st.floats(0, 1e6)),
    max_size=40,
)


@given(EVENTS, st.floats(MIN_RATE, 1000))
def test_bounds_hold_whatever_happens(events: list[tuple[str, float, float | None]], most: float) -> None:
    """With clocks that jump and servers that ask for anything, waits and rates stay within their bounds."""
    pace = Pace()
    for kind, now, number in events:
        if kind == "reserve":
            wait, _ = pace.reserve("host", now, most=most)
            assert 0 <= wait <= MAX_PAUSE_SECONDS + 1 / MIN_RATE
        elif kind == "refuse":
            pace.refuse("host", now, most=most, sent=now, retry_after=number)
        else:
            pace.note_slow_answer("host", now, most=most, seconds=number or 0.0)
        assert MIN_RATE <= pace.host("host", most).rate <= most

"""The retry policy: every bound holds, whatever the tries say."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.fetch import RetryPolicy


@dataclass(frozen=True)
class Try:
    """A try made up for a test."""

    retry: bool
    throttled: bool = False
    retry_after: float | None = None


TRIES = st.builds(Try, st.booleans(), st.booleans(), st.none() | st.floats(0, 400))
POLICIES = st.builds(
    RetryPolicy,
    max_failures=st.integers(1, 6),
    max_seconds=st.floats(0, 300),
    base_seconds=st.floats(0.1, 2),
    cap_seconds=st.floats(2, 60),
)


def run(policy: RetryPolicy, tries: list[Try]) -> tuple[Try, int, list[float]]:
    """Run a policy over tries, the last of them for ever; the delays are noted instead of waited for."""
    left = list(tries)
    delays: list[float] = []
    last, count = policy.run(lambda: left.pop(0) if len(left) > 1 else left[0], pause=delays.append)
    return last, count, delays


@given(POLICIES, st.lists(TRIES, min_size=1, max_size=20))
def test_no_bound_is_passed(policy: RetryPolicy, tries: list[Try]) -> None:
    """It always ends, waits no longer than it may, and lets no more tries fail than it may."""
    _, count, delays = run(policy, tries)
    assert count == len(delays) + 1
    assert sum(delays) <= policy.max_seconds + 1e-6
    done = (tries + [tries[-1]] * count)[:count]
    assert sum(not t.throttled for t in done) <= policy.max_failures


@given(POLICIES, st.lists(TRIES, min_size=1, max_size=20))
def test_what_cannot_end_better_is_not_tried_again(policy: RetryPolicy, tries: list[Try]) -> None:
    """The first try that wants no other is the last."""
    last, count, _ = run(policy, tries)
    done = (tries + [tries[-1]] * count)[:count]
    assert last == done[-1]
    assert all(t.retry for t in done[:-1])


@given(POLICIES, st.integers(1, 10_000))
def test_delays_stay_below_a_bound(policy: RetryPolicy, tries: int) -> None:
    """A delay is anything up to a bound, which doubles up to its cap."""
    longest = min(policy.cap_seconds, policy.base_seconds * 2 ** min(tries, 32))
    assert 0 <= policy.delay(tries, None) <= longest


def test_servers_wish_is_kept_to_the_letter() -> None:
    """A Retry-After is waited for, no shorter and no longer."""
    assert RetryPolicy().delay(3, 7.5) == 7.5


def test_patience_is_not_failure() -> None:
    """More throttled tries than failures are allowed end well, as long as there is time."""
    tries = [*[Try(retry=True, throttled=True, retry_after=1)] * 20, Try(retry=False)]
    last, count, delays = run(RetryPolicy(), tries)
    assert (last.retry, count, delays) == (False, 21, [1.0] * 20)


def test_throttling_without_a_wish_is_answered_with_longer_and_longer_delays() -> None:
    """A server that throttles for ever is asked some tens of times, not hundreds."""
    _, count, delays = run(RetryPolicy(), [Try(retry=True, throttled=True)])
    assert count < 40
    assert max(delays) > 4


def test_wish_for_no_delay_comes_to_an_end() -> None:
    """A server that throttles for ever and asks for no delay is given up."""
    _, count, _ = run(RetryPolicy(max_seconds=5), [Try(retry=True, throttled=True, retry_after=0)])
    assert count < 200

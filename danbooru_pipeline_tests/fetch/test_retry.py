"""The retry policy: every bound holds, whatever the attempts report."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.fetch import RetryPolicy


@dataclass(frozen=True)
class Attempt:
    """An attempt made up for a test."""

    retry: bool
    throttled: bool = False
    retry_after: float | None = None


ATTEMPTS = st.builds(Attempt, st.booleans(), st.booleans(), st.none() | st.floats(0, 400))
POLICIES = st.builds(
    RetryPolicy,
    max_failures=st.integers(1, 6),
    max_seconds=st.floats(0, 300),
    base_seconds=st.floats(0.1, 2),
    cap_seconds=st.floats(2, 60),
)


def run(policy: RetryPolicy, attempts: list[Attempt]) -> tuple[Attempt, int, list[float]]:
    """Run a policy over attempts, repeating the last one; delays are recorded instead of waited for."""
    left = list(attempts)
    delays: list[float] = []
    last, count = policy.run(lambda: left.pop(0) if len(left) > 1 else left[0], pause=delays.append)
    return last, count, delays


@given(POLICIES, st.lists(ATTEMPTS, min_size=1, max_size=20))
def test_no_bound_is_exceeded(policy: RetryPolicy, attempts: list[Attempt]) -> None:
    """It always ends, and exceeds neither its time nor its failures."""
    _, count, delays = run(policy, attempts)
    assert count == len(delays) + 1
    assert sum(delays) <= policy.max_seconds + 1e-6
    done = (attempts + [attempts[-1]] * count)[:count]
    assert sum(not a.throttled for a in done) <= policy.max_failures


@given(POLICIES, st.lists(ATTEMPTS, min_size=1, max_size=20))
def test_hopeless_attempt_is_not_repeated(policy: RetryPolicy, attempts: list[Attempt]) -> None:
    """The first attempt that asks for no retry is the last."""
    last, count, _ = run(policy, attempts)
    done = (attempts + [attempts[-1]] * count)[:count]
    assert last == done[-1]
    assert all(a.retry for a in done[:-1])


@given(POLICIES, st.integers(1, 10_000))
def test_delays_stay_below_a_bound(policy: RetryPolicy, attempts: int) -> None:
    """A delay is at most a bound that doubles up to its cap."""
    longest = min(policy.cap_seconds, policy.base_seconds * 2 ** min(attempts, 32))
    assert 0 <= policy.delay(attempts, None) <= longest


def test_retry_after_is_honoured_exactly() -> None:
    """A Retry-After is the delay, no shorter and no longer."""
    assert RetryPolicy().delay(3, 7.5) == 7.5


def test_throttled_attempts_are_no_failures() -> None:
    """More attempts may be throttled than may fail, as long as there is time."""
    attempts = [*[Attempt(retry=True, throttled=True, retry_after=1)] * 20, Attempt(retry=False)]
    last, count, delays = run(RetryPolicy(), attempts)
    assert (last.retry, count, delays) == (False, 21, [1.0] * 20)


def test_throttling_without_retry_after_backs_off() -> None:
    """A server that throttles for ever is asked a few dozen times, not hundreds."""
    _, count, delays = run(RetryPolicy(), [Attempt(retry=True, throttled=True)])
    assert count < 40
    assert max(delays) > 4


def test_retry_after_of_zero_comes_to_an_end() -> None:
    """A server that throttles for ever with a Retry-After of 0 is given up."""
    _, count, _ = run(RetryPolicy(max_seconds=5), [Attempt(retry=True, throttled=True, retry_after=0)])
    assert count < 200

"""How often, and for how long, a request is retried. The one place that decides it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Attempt(Protocol):
    """What the policy needs to know about one attempt."""

    @property
    def retry(self) -> bool:
        """Whether another attempt may succeed."""

    @property
    def throttled(self) -> bool:
        """Whether the server asked us to slow down instead of failing: this costs time, not attempts."""

    @property
    def retry_after(self) -> float | None:
        """Seconds the server asks us to wait."""


A = TypeVar("A", bound=Attempt)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter, bounded in attempts and in time.

    A delay is uniform between 0 and a bound that doubles from `base_seconds` to `cap_seconds`, so requests that failed
    together do not come back together.

    Attributes:
        max_failures: attempts that may fail.
        max_seconds: longest time spent between attempts, all delays together. Attempts have deadlines of their own, and
            time spent waiting for the rate limiter says nothing about the request.
    """

    max_failures: int = 5
    max_seconds: float = 120.0
    base_seconds: float = 0.25
    cap_seconds: float = 20.0

    def delay(self, attempts: int, retry_after: float | None) -> float:
        """Seconds to wait after this many attempts: a Retry-After, without jitter or cap, else a random delay."""
        if retry_after is not None:
            return retry_after
        # At 2**32 times the base every cap is reached, and no power overflows a float.
        longest = min(self.cap_seconds, self.base_seconds * 2 ** min(attempts, 32))
        return random.uniform(0, longest)  # noqa: S311 - jitter, not a secret

    def run(self, attempt: Callable[[], A], *, pause: Callable[[float], None]) -> tuple[A, int]:
        """Retry until an attempt succeeds, cannot succeed, or a bound is reached.

        A delay that does not fit into the time left, such as a long Retry-After, ends it at once.

        Returns:
            The last attempt, and how many there were.
        """
        waited = 0.0
        failures = 0
        attempts = 0
        while True:
            result = attempt()
            attempts += 1
            failures += not result.throttled
            delay = self.delay(attempts, result.retry_after)
            if not result.retry or failures >= self.max_failures or waited + delay > self.max_seconds:
                return result, attempts
            pause(delay)
            # A server may keep throttling with "Retry-After: 0"; that must end too.
            waited += max(delay, self.base_seconds / 4)

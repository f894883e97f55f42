"""How often, and how long, a request is tried again. The one place that decides it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Attempt(Protocol):
    """What a single try tells the policy."""

    @property
    def retry(self) -> bool:
        """Whether another try may end better."""

    @property
    def throttled(self) -> bool:
        """Whether the server asked for patience rather than failed: this costs time, not attempts."""

    @property
    def retry_after(self) -> float | None:
        """Seconds the server asks to wait."""


A = TypeVar("A", bound=Attempt)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds on retrying one request.

    A delay is anything up to a bound that doubles from `base_seconds` to `cap_seconds`: full jitter, so that requests
    that failed together do not come back together.

    Attributes:
        max_failures: tries that may fail.
        max_seconds: longest time spent between the tries, all delays together. The tries themselves have deadlines of
            their own, and time spent in the queue of the pacer says nothing about the request.
    """

    max_failures: int = 5
    max_seconds: float = 120.0
    base_seconds: float = 0.25
    cap_seconds: float = 20.0

    def delay(self, tries: int, retry_after: float | None) -> float:
        """Seconds to wait after so many tries."""
        if retry_after is not None:
            return retry_after
        # Beyond 2**32 times the base every cap is reached, and no power gets too large for a float.
        longest = min(self.cap_seconds, self.base_seconds * 2 ** min(tries, 32))
        return random.uniform(0, longest)  # noqa: S311 - jitter, not a secret

    def run(self, attempt: Callable[[], A], *, pause: Callable[[float], None]) -> tuple[A, int]:
        """Try until it ends well, can only fail, or a bound is reached: the last try, and how many there were."""
        waited = 0.0
        failures = 0
        tries = 0
        while True:
            result = attempt()
            tries += 1
            failures += not result.throttled
            delay = self.delay(tries, result.retry_after)
            if not result.retry or failures >= self.max_failures or waited + delay > self.max_seconds:
                return result, tries
            pause(delay)
            # A server may ask for no delay at all, again and again; that must come to an end as well.
            waited += max(delay, self.base_seconds / 4)

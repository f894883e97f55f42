"""Waits between the attempts at one thing, for clients of other people that keep no bound of their own.

They end when `RetryPolicy.max_seconds` have passed since the first attempt, or since the last progress, whatever the
attempts took; each wait is told to whoever hears (`progress.heard_by`).
"""

import threading
import time

from danbooru_pipeline import stop
from danbooru_pipeline.fetch.retry import RetryPolicy
from danbooru_pipeline.progress import human_seconds, tell_of_wait


class Waits:
    """The waits of one request, or of one stream.

    Args:
        policy: for how long.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self.start_over()

    def start_over(self) -> None:
        """Forget the attempts so far: there was progress."""
        self._attempts, self._began = 0, time.monotonic()

    def another(self, problem: str, *, asked: float | None = None) -> bool:
        """Wait for the next attempt, as long as the server asks; False if that would exceed the time of the policy.

        Args:
            problem: what the last attempt met, for people.
            asked: seconds that the server asks for.

        Raises:
            Stopped: a signal came.
        """
        self._attempts += 1
        left = self._began + self._policy.max_seconds - time.monotonic()
        # "Retry after 0 s" without end must not become a loop without a pause.
        delay = max(self._policy.delay(self._attempts, asked), self._policy.base_seconds / 4)
        if asked is None:
            delay = min(delay, left)
        if delay <= 0 or delay > left:
            return False
        tell_of_wait(f"{problem}; asked again in {human_seconds(delay)}, for up to {human_seconds(left)}")
        woken = threading.Event()
        with stop.on_stop(woken.set):
            woken.wait(delay)
        stop.check()
        return True

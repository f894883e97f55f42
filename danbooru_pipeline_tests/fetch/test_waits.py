"""Waits between attempts end in time, and are told to whoever hears."""

import time

from danbooru_pipeline.fetch import RetryPolicy
from danbooru_pipeline.fetch.waits import Waits
from danbooru_pipeline.progress import heard_by


def test_waits_end_when_the_time_of_the_policy_is_over() -> None:
    """Attempts of a service that is away go on for as long as the policy says, and not beyond it."""
    began, told, waits = time.monotonic(), list[str](), Waits(RetryPolicy(max_seconds=1.0))
    with heard_by(told.append):
        while waits.another("it is away"):
            pass
    assert 0.9 <= time.monotonic() - began < 3
    assert told
    assert all(line.startswith("it is away; asked again in ") for line in told)
    assert not waits.another("it is away")
    waits.start_over()
    assert waits.another("it is away")


def test_a_service_that_asks_for_no_wait_is_not_asked_without_end() -> None:
    """A wait of 0 seconds is a pause nonetheless, and one that is longer than the policy is none."""
    attempts, waits = 0, Waits(RetryPolicy(max_seconds=0.5))
    while waits.another("it limits the rate", asked=0.0):
        attempts += 1
    assert 1 <= attempts <= 10
    assert not Waits(RetryPolicy(max_seconds=0.5)).another("it limits the rate", asked=60.0)

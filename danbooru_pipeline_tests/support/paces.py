"""The rate that limiters allow a host at present, as the record that they share says."""

import time
from pathlib import Path

from danbooru_pipeline.fetch.rate import RateState, grow
from danbooru_pipeline.fetch.rate_limiter import read_pace


def rate_of(host: str, *, record: Path, budget: float) -> float:
    """The present limit for a host, in requests per second."""
    known = RateState(hosts=read_pace(record)).host(host, budget)
    grow(known, time.time(), budget=budget)
    return min(budget, known.rate)

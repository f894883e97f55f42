"""Buckets side by side."""

import threading
import time

import pytest

from danbooru_pipeline.store.buckets import for_each_bucket


def test_an_error_costs_its_bucket_alone() -> None:
    """The others give their reports."""

    def work(bucket: str) -> int:
        return 100 // int(bucket)

    with for_each_bucket(work, ["0000", "0001", "0002"]) as finished:
        reports = {each.bucket: each.report for each in finished}
    assert reports == {"0000": None, "0001": 100, "0002": 50}


def test_no_bucket_is_worked_on_once_whoever_reads_has_failed() -> None:
    """What is removed or closed after the error is used by nobody, and queued buckets never begin."""
    begun: list[str] = []
    ended: list[str] = []

    def work(bucket: str) -> None:
        begun.append(bucket)
        time.sleep(0 if bucket == "0000" else 0.02)
        ended.append(bucket)

    buckets = [f"{number:04}" for number in range(50)]
    with pytest.raises(RuntimeError, match="reader") as caught, for_each_bucket(work, buckets) as finished:
        for _ in finished:
            raise RuntimeError("reader")
    assert caught.value.args == ("reader",)
    assert sorted(begun) == sorted(ended)  # two threads end theirs in any order
    assert len(begun) < 10
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("bucket")]

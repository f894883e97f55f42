"""A parallel map in order and in bounded memory."""

import threading
import time
from collections.abc import Iterator

import pytest

from danbooru_pipeline.io.ordered_map import ordered_map


def running(prefix: str) -> list[threading.Thread]:
    """Threads whose names begin so."""
    return [thread for thread in threading.enumerate() if thread.name.startswith(prefix)]


def test_results_come_in_the_order_of_the_items() -> None:
    """Slow items delay those after them, and the order stays."""

    def work(number: int) -> int:
        time.sleep(0.01 if number % 3 == 0 else 0)
        return number * 2

    with ordered_map(work, range(20), threads=4, name="test") as results:
        assert list(results) == [2 * number for number in range(20)]


def test_no_more_items_are_taken_than_threads_can_be_ahead() -> None:
    """An endless iterator is read only a little ahead of the results taken."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    with ordered_map(lambda number: number, items(), threads=2, name="test") as results:
        assert next(results) == 0
        assert len(taken) == 4
    assert len(taken) == 4


def test_an_error_ends_the_work_and_its_threads() -> None:
    """The first error in order is raised, and all threads end."""

    def work(number: int) -> int:
        if number == 3:
            raise RuntimeError("three")
        return number

    with ordered_map(work, range(1000), threads=2, name="test-ahead") as results:
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(RuntimeError, match="three"):
            next(results)
    assert not running("test-ahead")


def test_nothing_runs_once_whoever_reads_has_failed() -> None:
    """An error of the reader is held with all it reads from, and no item is being worked on when it is caught."""
    done: list[int] = []

    def work(number: int) -> int:
        time.sleep(0.02)
        done.append(number)
        return number

    with (
        pytest.raises(RuntimeError, match="reader") as caught,
        ordered_map(work, range(1000), threads=2, name="test-reader") as results,
    ):
        for _ in results:
            raise RuntimeError("reader")
    ended = len(done)
    assert not running("test-reader")
    time.sleep(0.05)
    assert (len(done), caught.value.args) == (ended, ("reader",))

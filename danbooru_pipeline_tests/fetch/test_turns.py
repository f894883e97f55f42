"""Turns of the download threads."""

import threading
from collections.abc import Callable

import pytest

from danbooru_pipeline.fetch.turns import TURNS, away, turn


def run_all(work: Callable[[], None], count: int) -> None:
    """Do the work in so many threads at once; whoever hangs is left behind."""
    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def test_no_more_threads_compute_than_there_are_turns() -> None:
    """Of many threads only so many are in their turn at once, and all get theirs."""
    lock, together, most, done = threading.Lock(), 0, 0, 0

    def compute() -> None:
        nonlocal together, most, done
        for _ in range(50):
            with turn():
                with lock:
                    together += 1
                    most = max(most, together)
                sum(range(2000))
                with lock:
                    together -= 1
                    done += 1

    run_all(compute, 16)
    assert (done, together) == (16 * 50, 0)
    assert most <= TURNS


def test_whoever_waits_lets_another_have_the_turn() -> None:
    """Threads that all wait for one another at the same time, in turns, do not hang."""
    meet = threading.Barrier(TURNS + 6, timeout=20)
    arrived = []

    def wait() -> None:
        with turn(), away():
            arrived.append(meet.wait())

    run_all(wait, meet.parties)
    assert len(arrived) == meet.parties


def test_an_error_gives_the_turn_back() -> None:
    """After as many errors as there are turns, in a turn or away, the turns are all there."""
    for _ in range(2 * TURNS):
        with pytest.raises(OSError, match="in a turn"), turn():
            raise OSError("in a turn")
        with pytest.raises(OSError, match="away"), turn(), away():
            raise OSError("away")
    test_whoever_waits_lets_another_have_the_turn()


def test_waiting_without_a_turn_takes_none() -> None:
    """Somebody who waits and has no turn, such as a sweep of the API, neither gives one nor takes one."""
    for _ in range(2 * TURNS):
        with away():
            pass
    test_no_more_threads_compute_than_there_are_turns()

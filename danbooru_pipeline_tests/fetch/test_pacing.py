"""The pacer: one budget for all, a pace for each host, and respect for hosts that ask for less."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from danbooru_pipeline.fetch import Pacer


def test_budget_holds_over_threads_and_hosts() -> None:
    """Eight threads on two hosts are together no faster than the budget."""
    pacer = Pacer(100)
    with ThreadPoolExecutor(8) as threads:
        moments = sorted(threads.map(pacer.wait, ["a", "b"] * 20))
    # Forty slots are thirty-nine gaps apart; a thread may note the first of them late.
    assert moments[-1] - moments[0] > 0.3


def test_paused_host_does_not_hold_up_another() -> None:
    """While one host wants no requests, even with some waiting for it, the others get theirs at once."""
    pacer = Pacer(50)
    pacer.slow_down("a", 60)
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(pacer.wait, "a") for _ in range(4)]
        began = time.monotonic()
        for _ in range(5):
            pacer.wait("b")
        assert time.monotonic() - began < 5
        assert not any(future.done() for future in waiting)
        pacer.close()
        assert all(isinstance(future.exception(), RuntimeError) for future in waiting)


def test_paused_host_is_left_alone_for_as_long_as_it_asks() -> None:
    """No request goes out before the pause is over."""
    pacer = Pacer(1000)
    began = time.monotonic()
    pacer.slow_down("a", 0.3)
    assert pacer.wait("a") - began >= 0.3


def test_host_that_is_paused_meanwhile_is_waited_for() -> None:
    """A request that already had its slot when the host asked for a pause waits as well."""
    pacer = Pacer(4)
    pacer.wait("a")
    with ThreadPoolExecutor(1) as threads:
        second = threads.submit(pacer.wait, "a")
        time.sleep(0.05)
        began = time.monotonic()
        pacer.slow_down("a", 0.5)
        assert second.result() - began >= 0.5


def test_requests_after_a_pause_do_not_come_all_at_once() -> None:
    """When a pause ends, those who waited for it go out one by one at the lower rate."""
    pacer = Pacer(40)
    pacer.slow_down("a", 0.1)
    with ThreadPoolExecutor(4) as threads:
        moments = sorted(threads.map(pacer.wait, ["a"] * 4))
    assert moments[-1] - moments[0] > 3 * (1 / 40)


def test_refusal_halves_the_rate_and_it_recovers_to_below() -> None:
    """After a refusal the host is asked half as often; the rate climbs back, and stays below the refused one."""
    pacer = Pacer(100)
    pacer.slow_down("a", 0)
    assert pacer.rate_of("a") == pytest.approx(50, rel=0.05)
    time.sleep(0.3)
    recovered = pacer.rate_of("a")
    assert 50 < recovered <= 90
    assert pacer.rate_of("b") == 100


def test_rate_counts_what_really_went_out() -> None:
    """A budget far above what is used does not hide a refusal: half of the achieved rate is what counts."""
    pacer = Pacer(1000)
    for _ in range(20):
        pacer.wait("a")
    pacer.slow_down("a", 0)
    assert pacer.rate_of("a") <= 15


def test_burst_of_refusals_counts_once() -> None:
    """Requests that were on their way together are refused together, and lower the rate once."""
    pacer = Pacer(100)
    sent = time.monotonic()
    for _ in range(10):
        pacer.slow_down("a", 0, sent=sent)
    assert pacer.rate_of("a") > 40


def test_later_refusal_of_a_burst_can_ask_for_a_longer_pause() -> None:
    """The longest of several wishes is kept."""
    pacer = Pacer(100)
    began = time.monotonic()
    pacer.slow_down("a", 0.1)
    pacer.slow_down("a", 0.4)
    assert pacer.wait("a") - began >= 0.4


def test_slow_answer_does_not_look_like_a_low_rate() -> None:
    """A refusal that took long to come is held against the rate at which its request went out."""
    pacer = Pacer(10)
    sent = pacer.wait("a") - 60
    pacer.slow_down("a", 0, sent=sent)
    assert pacer.rate_of("a") >= 5


def test_rate_has_a_floor() -> None:
    """However often a host refuses, it is asked now and then."""
    pacer = Pacer(1)
    for _ in range(30):
        pacer.slow_down("a", 0)
        time.sleep(0.001)
    assert pacer.rate_of("a") >= 0.1


def test_closing_wakes_everybody_and_lets_nobody_send() -> None:
    """Threads that wait are woken with an error, so that none sends out of turn."""
    pacer = Pacer(0.1)
    pacer.wait("a")
    failed = threading.Event()

    def wait() -> None:
        with pytest.raises(RuntimeError, match="closed"):
            pacer.wait("a")
        failed.set()

    thread = threading.Thread(target=wait)
    thread.start()
    pacer.close()
    thread.join(5)
    assert failed.is_set()

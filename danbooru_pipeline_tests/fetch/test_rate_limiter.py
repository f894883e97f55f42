"""The pacer: one budget for all, a pace for each host, and respect for hosts that ask for less."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from danbooru_pipeline.fetch import Pacer
from danbooru_pipeline.fetch.rate_limiter import RECORD_BYTES
from danbooru_pipeline.fetch.slots import DownloadSlots

#: A process that takes the pace's moments, and says when they were.
TAKER = """
import sys
from pathlib import Path
from danbooru_pipeline.fetch import Pacer
pacer = Pacer(float(sys.argv[2]), record=Path(sys.argv[1]))
print(*[pacer.wait("a") for _ in range(int(sys.argv[3]))])
"""
#: A process that holds a slot until it is killed.
HOLDER = """
import sys, time
from pathlib import Path
from danbooru_pipeline.fetch import Pacer
from danbooru_pipeline.fetch.slots import DownloadSlots
with DownloadSlots([Path(sys.argv[1])], pacer=Pacer(1)).hold():
    print("held", flush=True)
    sys.stdin.read()
"""


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
    began = time.time()
    pacer.slow_down("a", 0.3)
    assert pacer.wait("a") - began >= 0.3


def test_host_that_is_paused_meanwhile_is_waited_for() -> None:
    """A request that already had its slot when the host asked for a pause waits as well."""
    pacer = Pacer(4)
    pacer.wait("a")
    with ThreadPoolExecutor(1) as threads:
        second = threads.submit(pacer.wait, "a")
        time.sleep(0.05)
        began = time.time()
        pacer.slow_down("a", 0.5)
        assert second.result() - began >= 0.5


def test_requests_after_a_pause_do_not_come_all_at_once() -> None:
    """When a pause ends, those who waited for it go out one by one at the lower rate."""
    pacer = Pacer(40)
    pacer.slow_down("a", 0.1)
    with ThreadPoolExecutor(4) as threads:
        moments = sorted(threads.map(pacer.wait, ["a"] * 4))
    assert moments[-1] - moments[0] > 3 * (1 / 40)


def test_refusal_cuts_the_rate_and_it_recovers() -> None:
    """After a refusal the host is asked a third less; the rate climbs back, and another host's is what it was."""
    pacer = Pacer(100)
    pacer.slow_down("a", 0)
    assert pacer.rate_of("a") == pytest.approx(67, rel=0.05)
    time.sleep(0.3)
    assert 67 < pacer.rate_of("a") <= 85
    assert pacer.rate_of("b") == 100


def test_rate_counts_what_really_went_out() -> None:
    """A budget far above what is used does not hide a refusal: two thirds of the achieved rate are what counts."""
    pacer = Pacer(1000)
    for _ in range(20):
        pacer.wait("a")
    pacer.slow_down("a", 0)
    assert pacer.rate_of("a") <= 20


def test_burst_of_refusals_counts_once() -> None:
    """Requests that were on their way together are refused together, and lower the rate once."""
    pacer = Pacer(100)
    sent = time.time()
    for _ in range(10):
        pacer.slow_down("a", 0, sent=sent)
    assert pacer.rate_of("a") > 40


def test_later_refusal_of_a_burst_can_ask_for_a_longer_pause() -> None:
    """The longest of several wishes is kept."""
    pacer = Pacer(100)
    began = time.time()
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


def test_processes_share_one_pace(tmp_path: Path) -> None:
    """Three processes on one record are together no faster than the budget."""
    command = [sys.executable, "-c", TAKER, str(tmp_path / "pace"), "40", "20"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    moments = sorted(float(word) for process in processes for word in process.communicate(timeout=60)[0].split())
    assert len(moments) == 60
    # A moment may be noted late, never early: no second holds more than the budget and what was late.
    assert moments[-1] - moments[0] > 59 / 40 - 0.2


def test_pause_of_one_process_is_kept_by_the_others(tmp_path: Path) -> None:
    """What a host asked one process is known to the next."""
    first, second = (Pacer(1000, record=tmp_path / "pace") for _ in range(2))
    began = time.time()
    first.slow_down("a", 0.4)
    assert second.wait("a") - began >= 0.4
    assert second.rate_of("a") < 1000


@pytest.mark.parametrize("left", [b"", b"{", b"\0" * RECORD_BYTES, b'{"next_slot": 99999999999.0, "hosts": {}}'])
def test_damaged_record_stops_nobody(tmp_path: Path, left: bytes) -> None:
    """A record that is cut off, empty or from a clock of the future is begun anew, or waited for but not for ever."""
    record = tmp_path / "pace"
    record.write_bytes(left)
    pacer = Pacer(1000, record=record)
    with ThreadPoolExecutor(1) as threads:
        moment = threads.submit(pacer.wait, "a")
        if b"9999" in left:
            time.sleep(0.1)
            assert not moment.done()
            pacer.close()
            assert isinstance(moment.exception(), RuntimeError)
        else:
            moment.result(5)


def test_no_record_is_made_before_its_folder(tmp_path: Path) -> None:
    """A check that asks a source makes nothing in a root that is not there yet."""
    Pacer(100, record=tmp_path / "store" / "pace").wait("a")
    assert not list(tmp_path.iterdir())


def test_slots_bound_downloads_over_threads(tmp_path: Path) -> None:
    """Never more than two hold a slot, and all get one in the end."""
    slots = DownloadSlots([tmp_path / "0", tmp_path / "1"], pacer=Pacer(1000))
    lock, holding, most = threading.Lock(), 0, 0

    def download(_number: int) -> None:
        nonlocal holding, most
        with slots.hold():
            with lock:
                holding += 1
                most = max(most, holding)
            time.sleep(0.01)
            with lock:
                holding -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(download, range(24)))
    assert most == 2


def test_slot_of_a_killed_process_is_free(tmp_path: Path) -> None:
    """A slot is taken while another process holds it, and free when that is killed."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "0")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        pacer = Pacer(1000)
        slots = DownloadSlots([tmp_path / "0"], pacer=pacer)
        taken = threading.Event()

        def take() -> None:
            with slots.hold():
                taken.set()

        with ThreadPoolExecutor(1) as threads:
            threads.submit(take)
            assert not taken.wait(0.2)
            other.kill()
            assert taken.wait(5)

"""The rate limiter: one budget for all requests, one rate per host, and respect for hosts that ask for less."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from danbooru_pipeline.fetch import RateLimiter
from danbooru_pipeline.fetch.rate_limiter import RECORD_BYTES
from danbooru_pipeline.fetch.slots import DownloadSlots
from danbooru_pipeline_tests.support.imported import as_another_user
from danbooru_pipeline_tests.support.paces import rate_of

#: A process that waits for its slots and prints when they came.
TAKER = """
import sys
from pathlib import Path
from danbooru_pipeline.fetch import RateLimiter
limiter = RateLimiter(float(sys.argv[2]), record=Path(sys.argv[1]))
print(*[limiter.wait("a") for _ in range(int(sys.argv[3]))])
"""
#: A process that holds a slot until it is killed.
HOLDER = """
import sys, time
from pathlib import Path
from danbooru_pipeline.fetch import RateLimiter
from danbooru_pipeline.fetch.slots import DownloadSlots
with DownloadSlots([Path(sys.argv[1])], limiter=RateLimiter(1)).hold():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_budget_holds_over_threads_and_hosts() -> None:
    """Eight threads on two hosts together stay within the budget."""
    limiter = RateLimiter(100)
    with ThreadPoolExecutor(8) as threads:
        moments = sorted(threads.map(limiter.wait, ["a", "b"] * 20))
    # Forty slots are 39 gaps; a thread may note the first slot late.
    assert moments[-1] - moments[0] > 0.3


def test_paused_host_does_not_hold_up_another() -> None:
    """While one host is paused, and requests wait for it, other hosts get theirs at once."""
    limiter = RateLimiter(50)
    limiter.slow_down("a", 60)
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(limiter.wait, "a") for _ in range(4)]
        began = time.monotonic()
        for _ in range(5):
            limiter.wait("b")
        assert time.monotonic() - began < 5
        assert not any(future.done() for future in waiting)
        limiter.close()
        assert all(isinstance(future.exception(), RuntimeError) for future in waiting)


def test_pause_lasts_as_long_as_the_host_asks() -> None:
    """No request goes out before the pause is over."""
    limiter = RateLimiter(1000)
    began = time.time()
    limiter.slow_down("a", 0.3)
    assert limiter.wait("a") - began >= 0.3


def test_pause_holds_for_requests_that_already_have_a_slot() -> None:
    """A request that had its slot before the host asked for a pause waits too."""
    limiter = RateLimiter(4)
    limiter.wait("a")
    with ThreadPoolExecutor(1) as threads:
        second = threads.submit(limiter.wait, "a")
        time.sleep(0.05)
        began = time.time()
        limiter.slow_down("a", 0.5)
        assert second.result() - began >= 0.5


def test_requests_after_a_pause_do_not_go_out_all_at_once() -> None:
    """When a pause ends, the waiting requests go out one by one at the lower rate."""
    limiter = RateLimiter(40)
    limiter.slow_down("a", 0.1)
    with ThreadPoolExecutor(4) as threads:
        moments = sorted(threads.map(limiter.wait, ["a"] * 4))
    assert moments[-1] - moments[0] > 3 * (1 / 40)


def test_refusal_cuts_the_rate_and_it_recovers(tmp_path: Path) -> None:
    """A throttled request cuts its host's rate by a third; the rate recovers, and other hosts keep theirs."""
    limiter = RateLimiter(100, record=tmp_path / "pace")
    limiter.slow_down("a", 0)
    assert rate_of("a", record=tmp_path / "pace", budget=100) == pytest.approx(67, rel=0.05)
    time.sleep(0.3)
    assert 67 < rate_of("a", record=tmp_path / "pace", budget=100) <= 85
    assert rate_of("b", record=tmp_path / "pace", budget=100) == 100


def test_rate_is_cut_from_what_really_went_out(tmp_path: Path) -> None:
    """With a budget far above the real rate, the cut starts from the rate that was achieved."""
    limiter = RateLimiter(1000, record=tmp_path / "pace")
    for _ in range(20):
        limiter.wait("a")
    limiter.slow_down("a", 0)
    assert rate_of("a", record=tmp_path / "pace", budget=1000) <= 20


def test_burst_of_refusals_counts_once(tmp_path: Path) -> None:
    """Requests that were in flight together are throttled together, and lower the rate once."""
    limiter = RateLimiter(100, record=tmp_path / "pace")
    sent = time.time()
    for _ in range(10):
        limiter.slow_down("a", 0, sent=sent)
    assert rate_of("a", record=tmp_path / "pace", budget=100) > 40


def test_later_refusal_of_a_burst_can_ask_for_a_longer_pause() -> None:
    """The longest pause asked for is kept."""
    limiter = RateLimiter(100)
    began = time.time()
    limiter.slow_down("a", 0.1)
    limiter.slow_down("a", 0.4)
    assert limiter.wait("a") - began >= 0.4


def test_slow_answer_does_not_look_like_a_low_rate(tmp_path: Path) -> None:
    """A refusal that arrives late is counted against the rate at which its request went out."""
    limiter = RateLimiter(10, record=tmp_path / "pace")
    sent = limiter.wait("a") - 60
    limiter.slow_down("a", 0, sent=sent)
    assert rate_of("a", record=tmp_path / "pace", budget=10) >= 5


def test_rate_has_a_floor(tmp_path: Path) -> None:
    """However often a host refuses, it is still asked now and then."""
    limiter = RateLimiter(1, record=tmp_path / "pace")
    for _ in range(30):
        limiter.slow_down("a", 0)
        time.sleep(0.001)
    assert rate_of("a", record=tmp_path / "pace", budget=1) >= 0.1


def test_closing_wakes_every_waiting_thread_with_an_error() -> None:
    """Closing raises in the waiting threads, so none of them sends a request early."""
    limiter = RateLimiter(0.1)
    limiter.wait("a")
    failed = threading.Event()

    def wait() -> None:
        with pytest.raises(RuntimeError, match="closed"):
            limiter.wait("a")
        failed.set()

    thread = threading.Thread(target=wait)
    thread.start()
    limiter.close()
    thread.join(5)
    assert failed.is_set()


def test_processes_share_one_budget(tmp_path: Path) -> None:
    """Three processes on one record together stay within the budget."""
    command = [sys.executable, "-c", TAKER, str(tmp_path / "pace"), "40", "20"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    moments = sorted(float(word) for process in processes for word in process.communicate(timeout=60)[0].split())
    assert len(moments) == 60
    # A moment may be noted late, never early: no second holds more than the budget plus what was late.
    assert moments[-1] - moments[0] > 59 / 40 - 0.2


def test_pause_of_one_process_is_kept_by_the_others(tmp_path: Path) -> None:
    """A pause that a host asked of one process holds for the others."""
    first, second = (RateLimiter(1000, record=tmp_path / "pace") for _ in range(2))
    began = time.time()
    first.slow_down("a", 0.4)
    assert second.wait("a") - began >= 0.4
    assert rate_of("a", record=tmp_path / "pace", budget=1000) < 1000


@pytest.mark.parametrize("left", [b"", b"{", b"\0" * RECORD_BYTES, b'{"next_slot": 99999999999.0, "hosts": {}}'])
def test_damaged_record_stops_nobody(tmp_path: Path, left: bytes) -> None:
    """A truncated or empty record is replaced; one written by a clock in the future holds up nothing."""
    record = tmp_path / "pace"
    record.write_bytes(left)
    limiter = RateLimiter(1000, record=record)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(limiter.wait, "a").result(5)


def test_no_record_is_made_before_its_folder(tmp_path: Path) -> None:
    """Asking a source creates nothing in a root that does not exist yet."""
    RateLimiter(100, record=tmp_path / "store" / "pace").wait("a")
    assert not list(tmp_path.iterdir())


def test_a_root_that_is_only_looked_at_needs_no_record(tmp_path: Path) -> None:
    """Who may not write the folder of the record keeps a limit of its own; an unwritable record alone is an error."""
    store = tmp_path / "store"
    store.mkdir(mode=0o755)
    RateLimiter(100, record=store / "pace").wait("a")

    def keeps_its_own() -> bool:
        limiter = RateLimiter(20, record=Path("store/pace"))
        return limiter.wait("a") + 0.9 * 4 / 20 < [limiter.wait("a") for _ in range(4)][-1]

    def is_refused() -> bool:
        with pytest.raises(PermissionError):
            RateLimiter(20, record=Path("store/pace")).wait("a")
        return True

    assert as_another_user(tmp_path, keeps_its_own)
    store.chmod(0o777)
    assert as_another_user(tmp_path, is_refused)


def test_slots_bound_downloads_over_threads(tmp_path: Path) -> None:
    """Never more than two threads hold a slot, and every thread gets one."""
    slots = DownloadSlots([tmp_path / "0", tmp_path / "1"], limiter=RateLimiter(1000))
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
    """A slot is busy while another process holds it, and free once that process is killed."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "0")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        limiter = RateLimiter(1000)
        slots = DownloadSlots([tmp_path / "0"], limiter=limiter)
        taken = threading.Event()

        def take() -> None:
            with slots.hold():
                taken.set()

        with ThreadPoolExecutor(1) as threads:
            threads.submit(take)
            assert not taken.wait(0.2)
            other.kill()
            assert taken.wait(5)

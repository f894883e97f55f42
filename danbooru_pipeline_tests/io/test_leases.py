"""Locks that a worker loses which stands still, or which the file server forgot."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from danbooru_pipeline.errors import LeaseLost
from danbooru_pipeline.io.leases import Lease, leased

#: Holds a lease, and writes only if it is still held once a line comes.
HOLDER = """
import sys
from pathlib import Path
from danbooru_pipeline.errors import LeaseLost
from danbooru_pipeline.io.leases import leased

with leased(Path(sys.argv[1]), renew=0.05) as lease:
    print("held", flush=True)
    sys.stdin.readline()
    try:
        lease.check()
        print("writes", flush=True)
    except LeaseLost:
        print("lost", flush=True)
"""
LOST = 0.6


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a lease."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def go_on(process: subprocess.Popen[str]) -> str:
    """Let a holder do its work. Returns what became of it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_a_stopped_worker_loses_its_lease_and_writes_nothing(tmp_path: Path) -> None:
    """SIGSTOP: whoever waits goes on after a while, and what is stopped finds that out when it wakes up."""
    path = tmp_path / "new" / "lock"
    with holder(path) as process:
        process.send_signal(signal.SIGSTOP)
        with leased(path, lost=LOST) as mine:
            process.send_signal(signal.SIGCONT)
            assert go_on(process) == "lost"
            mine.check()


def test_worker_that_stands_still_for_long_is_watched_for_two_renewals(tmp_path: Path) -> None:
    """Whoever comes late, as to the second of its buckets, need not watch for minutes what the store's clock tells."""
    path = tmp_path / "lock"
    with holder(path) as process:
        process.send_signal(signal.SIGSTOP)
        os.utime(path, (0, 0))
        with leased(path, renew=0.2, lost=3600) as mine:
            mine.check()


def test_a_worker_that_is_alive_keeps_its_lease(tmp_path: Path) -> None:
    """It is renewed, so whoever waits waits on; when it ends, however it ends, the lease is free at once."""
    path = tmp_path / "lock"
    got = threading.Event()

    def wait_for_it() -> None:
        with leased(path, lost=LOST):
            got.set()

    with holder(path) as process:
        thread = threading.Thread(target=wait_for_it)
        thread.start()
        assert not got.wait(3 * LOST)
        assert go_on(process) == "writes"
    thread.join(timeout=30)
    assert got.is_set()


def test_a_worker_that_was_cut_off_from_the_store_writes_nothing(tmp_path: Path) -> None:
    """A file server gives the lock of a client away that it has not heard of: the file is the same, the mark is not."""
    path = tmp_path / "lock"
    forgotten = Lease(path, os.open(path, os.O_RDWR | os.O_CREAT))  # as it is without its lock
    forgotten.check()
    with leased(path) as lease:
        lease.check()
        with pytest.raises(LeaseLost, match=r"another one took over what .*lock locks"):
            forgotten.check()
    path.unlink()
    with pytest.raises(LeaseLost):
        forgotten.check()


def test_of_many_that_wait_for_a_stopped_worker_one_goes_on_at_a_time(tmp_path: Path) -> None:
    """Eight threads see the same worker stand still: each gets the lease, and never two at once."""
    path = tmp_path / "lock"
    inside, most, count = threading.Lock(), [], []

    def work() -> None:
        with leased(path, lost=LOST) as lease:
            most.append(inside.acquire(blocking=False))
            lease.check()
            count.append(1)
            inside.release()

    with holder(path) as process:
        process.send_signal(signal.SIGSTOP)
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    assert len(count) == 8
    assert all(most)


def test_a_thread_does_not_wait_for_its_own_lease(tmp_path: Path) -> None:
    """Such a fault of ours is an error, not a standstill."""
    path = tmp_path / "lock"
    with leased(path), pytest.raises(RuntimeError, match="by this thread already"), leased(path):
        pass

"""Workers may crash, hang or be killed with their parent; no job is lost, and no process is left behind."""

import hashlib
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.images import ImageJob, ImagePool, ImageResult
from danbooru_pipeline.images.worker import serve
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline_tests.support.mishaps import DATA, attempts, make_job, report_limits, run_by_name
from danbooru_pipeline_tests.support.pictures import png, solid
from danbooru_pipeline_tests.support.processes import is_alive, kill

if TYPE_CHECKING:
    from concurrent.futures import Future

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

ROOT = Path(__file__).parents[2]
SUM = hashlib.sha256(DATA).hexdigest()


def wait_until_gone(pids: list[int], seconds: float = 5) -> list[int]:
    """Wait for processes to end. Returns those still alive after the time-out."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(is_alive(pid) for pid in pids):
        time.sleep(0.02)
    return [pid for pid in pids if is_alive(pid)]


def test_mishaps_cost_only_their_own_job(tmp_path: Path) -> None:
    """Jobs that abort, exit, raise or exhaust memory are attempted twice and reported; all others are done."""
    good = [make_job(tmp_path, f"good-{n}") for n in range(6)]
    bad = [make_job(tmp_path, name) for name in ("abort", "raises", "memory", "leaves")]
    with ImagePool(2, run=run_by_name, timeout_seconds=20) as pool:
        told = [(job, pool.submit(job)) for job in bad]
        done = [pool.submit(job) for job in good]
    for future in done:
        assert future.result(timeout=0).optimized
        assert future.result(timeout=0).px512_reason is None
    for job, future in told:
        result = future.result(timeout=0)
        crashed = (Reason.WORKER_CRASHED, False, None)
        assert (result.px512_reason, result.optimized, result.facts) == crashed, job.source.stem
        assert (result.sha256, result.size, job.source.read_bytes()) == (SUM, len(DATA), DATA)
        assert len(set(attempts(job))) == len(attempts(job)) == 2, "each in a new process"


def test_optimizer_that_gets_no_memory(tmp_path: Path) -> None:
    """If the optimiser runs out of memory, which aborts its process, the PNG is kept and a crash reported."""
    data = png(solid((1, 2, 3, 4), 7000, 7000))
    (tmp_path / "1.png").write_bytes(data)
    with ImagePool(1, memory_limit_bytes=500 * 2**20) as pool:
        job = ImageJob(source=tmp_path / "1.png", original=tmp_path / "1.png", px512=tmp_path / "1.jpg")
        assert pool.submit(job).result(timeout=60).px512_reason == Reason.WORKER_CRASHED
        assert pool.submit(make_job(tmp_path, "good")).result(timeout=30).optimized
    assert (tmp_path / "1.png").read_bytes() == data


def test_too_slow(tmp_path: Path) -> None:
    """A job over the time limit is killed and reported; it is not retried, which would take as long again."""
    job = make_job(tmp_path, "sleeps")
    with ImagePool(1, run=run_by_name, timeout_seconds=0.3) as pool:
        result = pool.submit(job).result(timeout=30)
    assert (result.px512_reason, result.sha256) == (Reason.WORKER_TIMEOUT, SUM)
    assert len(attempts(job)) == 1
    assert wait_until_gone(attempts(job)) == []


def test_second_attempt_counts(tmp_path: Path) -> None:
    """A job that fails once succeeds on its second attempt."""
    with ImagePool(1, run=run_by_name) as pool:
        result = pool.submit(make_job(tmp_path, "once")).result(timeout=30)
    assert (result.optimized, result.px512_reason) == (True, None)


def test_file_errors_are_raised(tmp_path: Path) -> None:
    """A full disk or a missing source is not blamed on the picture, and is not retried."""
    with ImagePool(1, run=run_by_name) as pool:
        full, gone = make_job(tmp_path, "space"), make_job(tmp_path, "gone")
        gone.source.unlink()
        first, second = pool.submit(full), pool.submit(gone)
        with pytest.raises(OSError, match="No space left"):
            first.result(timeout=30)
        with pytest.raises(FileNotFoundError):
            second.result(timeout=30)
    assert len(attempts(full)) == 1


def test_killed_while_idle(tmp_path: Path) -> None:
    """A worker that is killed between jobs is replaced, without losing a job."""
    with ImagePool(1, run=run_by_name) as pool:
        first = make_job(tmp_path, "good-1")
        pool.submit(first).result(timeout=30)
        kill(attempts(first)[0])
        jobs = [make_job(tmp_path, f"good-{n}") for n in range(2, 6)]
        assert all(f.result(timeout=60).optimized for f in [pool.submit(job) for job in jobs])


def test_leaving_early_ends_everything(tmp_path: Path) -> None:
    """An error in the block kills running jobs at once and leaves no future pending."""
    jobs = [make_job(tmp_path, f"sleeps-{n}") for n in range(4)]
    futures: list[Future[ImageResult]] = []

    def leave_early() -> None:
        with ImagePool(2, run=run_by_name) as pool:
            futures.extend(pool.submit(job) for job in jobs)
            while not (attempts(jobs[0]) and attempts(jobs[1])):
                time.sleep(0.02)
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        leave_early()
    assert time.monotonic() - started < 10
    assert all(future.done() for future in futures)
    assert wait_until_gone(attempts(jobs[0]) + attempts(jobs[1])) == []


def test_unused_pool_starts_nothing() -> None:
    """No process is started before the first job."""
    with ImagePool(4):
        assert not [t for t in threading.enumerate() if t.name.startswith("image-worker")]
        assert not multiprocessing.active_children()


def test_workers_that_cannot_start(tmp_path: Path) -> None:
    """If no worker can start, the error says so instead of blaming one picture after another."""
    with ImagePool(1, memory_limit_bytes=2**80) as pool, pytest.raises(StoreError, match="do not start"):
        pool.submit(make_job(tmp_path, "good")).result(timeout=60)


def test_workers_are_bounded(tmp_path: Path) -> None:
    """A worker has a memory limit, one thread per library, and only our decoders."""
    job = make_job(tmp_path, "good")
    with ImagePool(1, memory_limit_bytes=2**30, run=report_limits) as pool:
        pool.submit(job).result(timeout=30)
    assert job.source.with_suffix(".limits").read_text().split() == [str(2**30), "1", "1", "refused", "decoded"]


PARENT = """
import sys, time
from pathlib import Path
from danbooru_pipeline.images import ImageJob, ImagePool, ImageResult
from danbooru_pipeline_tests.support.mishaps import make_job, run_by_name

def main():
    with ImagePool(2, run=run_by_name) as pool:
        futures = [pool.submit(make_job(Path(sys.argv[1]), name)) for name in sys.argv[2:]]
        for future in futures:
            print(future.result().px512_reason)

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("as_module", [False, True])
def test_other_parents(tmp_path: Path, *, as_module: bool) -> None:
    """The pool works from a script and from ``python -m``, without warnings."""
    (tmp_path / "parent.py").write_text(PARENT)
    how = ["-m", "parent"] if as_module else [str(tmp_path / "parent.py")]
    done = subprocess.run(
        [sys.executable, "-W", "error", *how, str(tmp_path), "good-1", "good-2"],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "None\nNone\n", "")


def test_worker_whose_answers_nobody_read_ends_quietly(tmp_path: Path) -> None:
    """The kernel resets the pipe of a parent that was killed: no traceback follows the line that tells of the kill."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    limits = {"memory_limit_bytes": 4 << 30, "parent": os.getpid()}
    worker = context.Process(target=serve, args=(theirs, run_by_name), kwargs=limits, daemon=True)
    worker.start()
    theirs.close()
    assert ours.recv() is None
    ours.send(make_job(tmp_path, "good-1"))
    assert ours.poll(30)
    ours.close()  # with an answer that was not read
    worker.join(30)
    assert worker.exitcode == 0


def test_killed_parent_leaves_no_orphans(tmp_path: Path) -> None:
    """When the parent is killed, its workers die with it, busy ones too."""
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(tmp_path), "good-1", "sleeps-1", "sleeps-2"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    ) as parent:
        notes = [tmp_path / "sleeps-1.attempts", tmp_path / "sleeps-2.attempts"]
        deadline = time.monotonic() + 30
        while not all(note.exists() and note.read_text() for note in notes) and time.monotonic() < deadline:
            time.sleep(0.02)
        workers = [int(note.read_text()) for note in notes]
        assert all(is_alive(pid) for pid in workers)
        parent.kill()
    assert wait_until_gone(workers) == []

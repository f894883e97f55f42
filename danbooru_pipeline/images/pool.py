"""Runs image jobs in worker processes, so that no picture can harm more than its own job.

Decoders crash, run out of memory and hang. Each worker is one process at the end of one pipe, driven by one thread:
after any failure it is killed, and the next job starts a new one. Workers share nothing that a dying one could leave
locked.
"""

import os
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from types import TracebackType
from typing import Self

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.images.job import ImageJob, ImageResult, run_image_job
from danbooru_pipeline.images.worker import Run, serve
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.outcomes import Reason

#: Time-out for starting a process on a busy machine; a job's own time-out begins after that.
_START_SECONDS = 120.0


class ImagePool:
    """A fixed number of worker processes. Use it as a context manager, which waits for all jobs.

    Workers start with their first job. A job whose worker dies is retried once, one such retry at a time, since what
    killed it may be the machine; one that times out is not, since it would cost the same again. If there is no result
    then, that of the job says so, with what the file's header says; the original stays as it is. An `OSError` while
    reading or writing is not the picture's fault: the future raises it.
    """

    def __init__(
        self,
        workers: int,
        *,
        memory_limit_bytes: int = 2 * 2**30,
        timeout_seconds: float = 120,
        run: Run = run_image_job,
    ) -> None:
        """`run` is what a worker calls; it must be importable by name."""
        self._run = run
        self._timeout_seconds = timeout_seconds
        self._memory_limit_bytes = memory_limit_bytes
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="image-worker")
        self._this_thread = threading.local()  # .worker: the worker that this thread drives
        self._workers: set[_Worker] = set()  # guarded by _lock
        self._lock = threading.Lock()
        self._retry_lock = threading.Lock()
        # Set once, under _lock. Threads read it without the lock, and only after their worker failed: `_stop` sets it
        # before it kills workers, so none of them can miss it.
        self._stopped = False

    def submit(self, job: ImageJob) -> Future[ImageResult]:
        """Queue a job. The future always completes."""
        return self._threads.submit(self._work, job)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for all jobs; after an error, cancel queued jobs and kill running ones."""
        try:
            if kind is None:
                self._threads.shutdown(wait=True)
        finally:
            self._stop()

    def _work(self, job: ImageJob) -> ImageResult:
        outcome = self._attempt(job)
        if isinstance(outcome, _Failed) and outcome.reason == Reason.WORKER_CRASHED:
            with self._retry_lock:
                again = self._attempt(job)
            outcome = replace(again, known=again.known or outcome.known) if isinstance(again, _Failed) else again
        return _without_pixels(job, outcome) if isinstance(outcome, _Failed) else outcome

    def _attempt(self, job: ImageJob) -> "ImageResult | _Failed":
        """Run a job once in this thread's worker; if anything goes wrong there, the next attempt gets a new worker."""
        worker = self._idle_worker()
        try:
            outcome = worker.run(job, self._timeout_seconds)
        except TimeoutError:
            reason = Reason.WORKER_TIMEOUT
        except (EOFError, OSError):  # the process died
            reason = Reason.WORKER_CRASHED
        else:
            if isinstance(outcome, OSError):
                raise outcome
            return outcome
        known = worker.known
        self._discard(worker)
        if self._stopped:
            raise CancelledError
        return _Failed(reason, known)

    def _idle_worker(self) -> "_Worker":
        """This thread's worker; a new one if it has none, or if it was killed."""
        worker: _Worker | None = getattr(self._this_thread, "worker", None)
        if worker is not None and not worker.is_idle():
            self._discard(worker)
            worker = None
        if worker is None:
            worker = self._this_thread.worker = self._start_worker()
        return worker

    def _start_worker(self) -> "_Worker":
        with self._lock:
            if self._stopped:
                raise CancelledError
            worker = _Worker(self._run, self._memory_limit_bytes)
            self._workers.add(worker)
        problem = worker.wait_for_start()
        if problem is None:
            return worker
        self._discard(worker)
        if self._stopped:
            raise CancelledError
        raise StoreError(
            f"image workers do not start here ({problem}); raise the memory limit or check that "
            "libvips loads: python -c 'import pyvips'"
        )

    def _discard(self, worker: "_Worker") -> None:
        self._this_thread.worker = None
        with self._lock:  # first, since `_stop` kills what it finds here, and a reaped process cannot be killed
            self._workers.discard(worker)
        worker.kill()
        worker.reap()

    def stop(self) -> None:
        """Kill all workers and start no other: jobs that are left end with `CancelledError`. Returns at once."""
        with self._lock:
            self._stopped = True
            for worker in self._workers:
                worker.kill()  # wakes the thread that waits for it

    def _stop(self) -> None:
        self.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.reap()
        self._workers.clear()


class _Worker:
    """A process that runs one job after another, and our end of the pipe to it."""

    def __init__(self, run: Run, memory_limit_bytes: int) -> None:
        self.known: ImageResult | None = None  # of the current job, from its worker's first look
        context = get_context("spawn")  # forking a process with threads can deadlock, and warns since 3.12
        self._pipe, theirs = context.Pipe()
        limits = {"memory_limit_bytes": memory_limit_bytes, "parent": os.getpid()}
        self._process = context.Process(target=serve, args=(theirs, run), kwargs=limits, daemon=True)
        self._process.start()
        theirs.close()  # or the pipe would stay open when the process ends

    def wait_for_start(self) -> str | None:
        """Why it cannot start; None once it has started."""
        try:
            if not self._pipe.poll(_START_SECONDS):
                return f"not within {_START_SECONDS:.0f} s"
            problem: str | None = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            return f"exit code {self._process.exitcode}"
        return problem

    def is_idle(self) -> bool:
        """Whether it waits for a job; the pipe of a dead one is at its end."""
        return not self._pipe.poll()

    def run(self, job: ImageJob, timeout_seconds: float) -> ImageResult | OSError:
        """Run a job. Returns its result, or the error with which it read or wrote files.

        Raises:
            TimeoutError: it took too long.
            EOFError, OSError: the process died.
        """
        self.known = None
        self._pipe.send(job)
        while True:
            if not self._pipe.poll(timeout_seconds):
                raise TimeoutError
            outcome: ImageResult | OSError = self._pipe.recv()
            if isinstance(outcome, OSError) or not outcome.unprocessed:
                return outcome
            self.known = outcome  # it took milliseconds, so the time limit may begin again

    def kill(self) -> None:
        """Kill the process, whatever it does; any thread may call this."""
        self._process.kill()

    def reap(self) -> None:
        """After `kill`: wait for the process to end, and close the pipe; only one thread may call this."""
        self._process.join()
        self._process.close()
        self._pipe.close()


@dataclass(frozen=True, slots=True)
class _Failed:
    """A job without a result: why, and what its worker said of the file before that."""

    reason: Reason
    known: ImageResult | None


def _without_pixels(job: ImageJob, failed: _Failed) -> ImageResult:
    """The result of a job that has none: the original unchanged, no 512px image, its header's facts.

    If even the header kills its worker, what is known are the bytes.
    """
    known = failed.known or ImageResult(
        facts=None, sha256=sha256_of(job.source), size=job.source.stat().st_size, unprocessed=True
    )
    return replace(known, px512_reason=None if job.px512 is None else failed.reason)

"""Runs image jobs in processes of their own, so that no picture can take more with it than its own job.

Decoders crash, run out of memory and hang. Each worker is one process at the end of one pipe, driven by one thread:
after any trouble it is killed, and the next job starts a new one. Workers share nothing that a dying one could leave
locked.
"""

import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from multiprocessing import get_context
from types import TracebackType
from typing import Self

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.images.step import ImageJob, ImageResult, run_image_job
from danbooru_pipeline.images.worker import serve
from danbooru_pipeline.outcomes import Reason

#: For the start of a process, on a machine that may be busy; a job's own time begins after it.
_START_SECONDS = 120.0


class ImagePool:
    """A number of worker processes that take jobs. Use it as a context manager, which waits for all of them.

    Workers start with their first job. A job whose worker dies or is too slow is tried once more, with no other retry
    beside it; after that its result says so, and the original stays as it is. Trouble with reading and writing
    (`OSError`) is not the picture's fault: the future raises it.
    """

    def __init__(
        self,
        workers: int,
        *,
        memory_limit_bytes: int = 2 * 2**30,
        timeout_seconds: float = 120,
        run: Callable[[ImageJob], ImageResult] = run_image_job,
    ) -> None:
        """`run` is what a worker does with a job: a function that can be imported by name."""
        self._run = run
        self._timeout_seconds = timeout_seconds
        self._memory_limit_bytes = memory_limit_bytes
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="image-worker")
        self._own = threading.local()  # a thread's worker
        self._workers: set[_Worker] = set()
        self._lock = threading.Lock()
        self._retry_alone = threading.Lock()
        self._stopped = False

    def submit(self, job: ImageJob) -> Future[ImageResult]:
        """Queue a job. The future always completes."""
        return self._threads.submit(self._work, job)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for all jobs; after an error, drop what is queued and end what runs."""
        try:
            if kind is None:
                self._threads.shutdown(wait=True)
        finally:
            self._stop()

    def _work(self, job: ImageJob) -> ImageResult:
        outcome = self._attempt(job)
        if isinstance(outcome, Reason):
            with self._retry_alone:
                outcome = self._attempt(job)
        return _left_alone(job, outcome) if isinstance(outcome, Reason) else outcome

    def _attempt(self, job: ImageJob) -> ImageResult | Reason:
        """One try in this thread's worker; whatever goes wrong there, the next try gets a new worker."""
        worker = self._idle_worker()
        try:
            outcome = worker.do(job, self._timeout_seconds)
        except TimeoutError:
            reason = Reason.WORKER_TIMEOUT
        except (EOFError, OSError):  # the other end of the pipe is gone
            reason = Reason.WORKER_CRASHED
        else:
            if isinstance(outcome, OSError):
                raise outcome
            return outcome
        self._discard(worker)
        if self._stopped:
            raise CancelledError
        return reason

    def _idle_worker(self) -> "_Worker":
        """This thread's worker, a new one if there is none or if somebody has killed it."""
        worker: _Worker | None = getattr(self._own, "worker", None)
        if worker is not None and not worker.is_waiting():
            self._discard(worker)
            worker = None
        if worker is None:
            worker = self._own.worker = self._start_worker()
        return worker

    def _start_worker(self) -> "_Worker":
        with self._lock:
            if self._stopped:
                raise CancelledError
            worker = _Worker(self._run, self._memory_limit_bytes)
            self._workers.add(worker)
        trouble = worker.wait_for_start()
        if trouble is None:
            return worker
        self._discard(worker)
        if self._stopped:
            raise CancelledError
        raise StoreError(
            f"image workers do not start here ({trouble}); raise the memory limit or check that "
            "libvips loads: python -c 'import pyvips'"
        )

    def _discard(self, worker: "_Worker") -> None:
        self._own.worker = None
        with self._lock:  # first, since `_stop` kills what it finds here, and a buried one cannot be killed
            self._workers.discard(worker)
        worker.kill()
        worker.reap()

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for worker in self._workers:
                worker.kill()  # which wakes the thread that waits for it
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.reap()
        self._workers.clear()


class _Worker:
    """A process that does one job after another, and our end of the pipe to it."""

    def __init__(self, run: Callable[[ImageJob], ImageResult], memory_limit_bytes: int) -> None:
        context = get_context("spawn")  # forking a process that has threads can deadlock, and warns from 3.12 on
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, run, memory_limit_bytes, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()  # else the end of the process would not be the end of the pipe

    def wait_for_start(self) -> str | None:
        """What keeps it from starting; None when it has started."""
        try:
            if not self._pipe.poll(_START_SECONDS):
                return f"not within {_START_SECONDS:.0f} s"
            trouble: str | None = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            return f"exit code {self._process.exitcode}"
        return trouble

    def is_waiting(self) -> bool:
        """Whether it waits for a job; a dead one has ended its pipe."""
        return not self._pipe.poll()

    def do(self, job: ImageJob, seconds: float) -> ImageResult | OSError:
        """Its result, or its trouble with files.

        Raises:
            TimeoutError: it took too long.
            EOFError, OSError: it died.
        """
        self._pipe.send(job)
        if not self._pipe.poll(seconds):
            raise TimeoutError
        outcome: ImageResult | OSError = self._pipe.recv()
        return outcome

    def kill(self) -> None:
        """End it, whatever it does; any thread may."""
        self._process.kill()

    def reap(self) -> None:
        """After `kill`: wait for its end and close the pipe; only one thread may."""
        self._process.join()
        self._process.close()
        self._pipe.close()


def _left_alone(job: ImageJob, reason: Reason) -> ImageResult:
    """The result of a job that ended its worker twice: the original as it is, and no 512px image."""
    with job.source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    return ImageResult(facts=None, sha256=digest, size=size, px512_reason=None if job.px512 is None else reason)

"""Runs image jobs in processes of their own, so that no picture can take more with it than its own job.

Decoders crash, run out of memory and hang. Each worker is a pebble pool of one process, driven by one thread: after any
trouble that pool is thrown away whole, and the next job starts a new one. One pebble pool for all workers would share
a pipe and its locks among them, and it breaks for good when an idle worker is killed (pebble 5.2.3).
"""

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Self

from pebble import ProcessPool

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.images.step import ImageJob, ImageResult, run_image_job
from danbooru_pipeline.images.worker import start_worker, try_decoders
from danbooru_pipeline.outcomes import Reason

#: pebble's clock starts with the job; ours has to allow for the start of the process before it.
_GRACE_SECONDS = 30.0


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
        self._own = threading.local()  # a thread's pool of one process
        self._running: dict[ProcessPool, Future[Any]] = {}
        self._lock = threading.Lock()
        self._retry_alone = threading.Lock()
        self._stopped = False
        self._proven = False  # some job has come back, so workers can start here

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
        if not isinstance(outcome, Reason):
            self._proven = True
            return outcome
        if not self._proven:
            self._prove_workers_start()
        return _left_alone(job, outcome)

    def _attempt(self, job: ImageJob) -> ImageResult | Reason:
        """One try in this thread's worker; whatever goes wrong there, the next try gets a new worker."""
        try:
            future = self._schedule(_run_reporting, self._run, job)
            outcome: ImageResult | OSError = future.result(self._timeout_seconds + _GRACE_SECONDS)
        except CancelledError:
            raise
        except TimeoutError:
            self._discard_worker()
            return Reason.WORKER_TIMEOUT
        except Exception:  # noqa: BLE001 - ProcessExpired (an OSError), a broken pool, MemoryError, a library's bug
            self._discard_worker()
            return Reason.WORKER_CRASHED
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    def _schedule(self, function: Callable[..., Any], *args: object) -> Future[Any]:
        """Give this thread's worker something to do, starting one if there is none."""
        with self._lock:
            if self._stopped:
                raise CancelledError
            pool = getattr(self._own, "pool", None)
            if pool is None or not pool.active:  # an idle worker was killed: nobody's fault
                pool = self._own.pool = self._start_worker()
            future: Future[Any] = pool.schedule(function, args=args, timeout=self._timeout_seconds)
            self._running[pool] = future
            return future

    def _start_worker(self) -> ProcessPool:
        return ProcessPool(
            max_workers=1,
            initializer=start_worker,
            initargs=(self._memory_limit_bytes, os.getpid()),
            context=get_context("spawn"),  # forking a process that has threads can deadlock, and warns from 3.12 on
        )

    def _discard_worker(self) -> None:
        pool = self._own.__dict__.pop("pool", None)
        with self._lock:
            known = self._running.pop(pool, None)
        if pool is not None and known is not None:  # else it is being stopped by `_stop`
            _stop_pool(pool)

    def _prove_workers_start(self) -> None:
        """Tell a picture that kills workers from a machine where none can start; the latter stops the run."""
        try:
            self._schedule(try_decoders).result(self._timeout_seconds + _GRACE_SECONDS)
        except CancelledError:
            raise
        except Exception as error:
            self._discard_worker()
            raise StoreError(
                f"image workers do not start here ({error}); raise the memory limit or check that "
                "libvips loads: python -c 'import pyvips'"
            ) from error
        self._proven = True

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            running = dict(self._running)
            self._running.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for future in running.values():
            future.cancel()  # wakes the thread that waits for it; pebble itself would leave it waiting
        for pool in running:
            _stop_pool(pool)
        self._threads.shutdown(wait=True)


def _run_reporting(run: Callable[[ImageJob], ImageResult], job: ImageJob) -> ImageResult | OSError:
    """Trouble with files as a value: pebble's own news about dead workers are OSErrors too."""
    try:
        return run(job)
    except OSError as error:
        return error


def _left_alone(job: ImageJob, reason: Reason) -> ImageResult:
    """The result of a job that ended its worker twice: the original as it is, and no 512px image."""
    with job.source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    return ImageResult(facts=None, sha256=digest, size=size, px512_reason=None if job.px512 is None else reason)


def _stop_pool(pool: Any) -> None:
    with contextlib.suppress(RuntimeError):  # it may have stopped by itself
        pool.stop()
        pool.join()

"""Work on many buckets: several at a time, and each fails alone."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from danbooru_pipeline import stop

#: Buckets in flight. They share downloads and workers, so this only hides the pauses between small buckets.
BUCKETS_IN_FLIGHT: Final = 6

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Finished(Generic[R]):
    """A bucket that is over: with a report, or with the error that stopped it."""

    bucket: str
    report: R | None
    error: Exception | None = None


@contextmanager
def for_each_bucket(
    work: Callable[[str], R], buckets: Sequence[str], *, lanes: int = BUCKETS_IN_FLIGHT
) -> Iterator[Iterator[Finished[R]]]:
    """Run `work` for every bucket; what the block reads is each bucket as it finishes.

    An error costs its bucket alone. However the block ends, queued ones are never begun and running ones are awaited.
    """
    queue = iter(buckets)
    running: dict[Future[R], str] = {}

    def start_next() -> None:
        stop.check()
        bucket = next(queue, None)
        if bucket is not None:
            running[threads.submit(work, bucket)] = bucket

    def finished() -> Iterator[Finished[R]]:
        for _ in range(lanes):
            start_next()
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                bucket = running.pop(future)
                error = future.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
                yield Finished(bucket, None, error) if error is not None else Finished(bucket, future.result())
                start_next()

    with ThreadPoolExecutor(lanes, thread_name_prefix="bucket") as threads:
        yield finished()

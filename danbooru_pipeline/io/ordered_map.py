"""Bounded, order-preserving parallel map, as `Executor.map` with `buffersize` is in Python 3.14."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from danbooru_pipeline import stop

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def ordered_map(work: Callable[[T], R], items: Iterable[T], *, threads: int, name: str) -> Iterator[Iterator[R]]:
    """Results of `work` for each item, in the order of the items; at most twice as many in flight as there are threads.

    However the block ends, queued items are cancelled and running ones awaited: whoever removes what they work on after
    an error removes all of it. A generator alone would run on until it is collected, which a traceback puts off.

    Args:
        work: runs in the threads.
        items: taken only as fast as results are consumed.
        threads: how many; with one, the work is done here when its result is asked for, which saves handing it over.
        name: prefix of the threads' names.

    Raises:
        Stopped: a signal asked this process to stop.
    """
    if threads <= 1:
        yield _one_by_one(work, items)
        return
    waiting: deque[Future[R]] = deque()

    def results() -> Iterator[R]:
        for item in items:
            stop.check()
            waiting.append(pool.submit(work, item))
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            stop.check()
            yield waiting.popleft().result()

    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        yield results()
    finally:
        pool.shutdown(cancel_futures=True)


def _one_by_one(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    for item in items:
        stop.check()
        yield work(item)

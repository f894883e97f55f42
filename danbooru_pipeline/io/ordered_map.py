"""Bounded, order-preserving parallel map, as `Executor.map` with `buffersize` is in Python 3.14."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from danbooru_pipeline import stop

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(work: Callable[[T], R], items: Iterable[T], *, threads: int, name: str) -> Iterator[R]:
    """Results of `work` for each item, in the order of the items; at most twice as many in flight as there are threads.

    If the caller stops iterating, an item fails or a signal comes, queued items are cancelled and running ones awaited.

    Args:
        work: runs in the threads.
        items: taken only as fast as results are consumed.
        threads: how many; at least one.
        name: prefix of the threads' names.

    Raises:
        Stopped: a signal asked this process to stop.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(max(1, threads), thread_name_prefix=name) as pool:
        try:
            for item in items:
                stop.check()
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                stop.check()
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

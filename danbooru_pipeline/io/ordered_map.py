"""Work done by threads some steps ahead of the one who takes its results, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(work: Callable[[T], R], items: Iterable[T], *, threads: int, name: str) -> Iterator[R]:
    """Results of `work` for each item, in the order of the items; twice as many as threads are held at a time.

    When the caller stops listening or some work fails, what has not begun is dropped and what is in work waited for.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(max(1, threads), thread_name_prefix=name) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

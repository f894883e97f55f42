"""Posts of an export that are read by worker processes, a few ahead, with what came of each in the order of ids.

Whatever is written about a post is written in that order, its reason if it is left out too: a killed export goes on
after the highest id that it has, and must not skip what its workers had not finished.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from danbooru_pipeline.consume.exports.frame import LEFT_OUT, Job
from danbooru_pipeline.consume.exports.image_folder import resume_rows
from danbooru_pipeline.consume.select import Chosen
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.images.job import ImageJob, ImageResult
from danbooru_pipeline.images.pool import ImagePool
from danbooru_pipeline.images.worker import Run
from danbooru_pipeline.io.untrusted import is_plain
from danbooru_pipeline.outcomes import Reason

if TYPE_CHECKING:
    from concurrent.futures import Future

Result = tuple[Chosen, ImageResult]


def run_in_workers(
    job: Job,
    make: Callable[[Chosen], ImageJob],
    *,
    run: Run,
    workers: int,
    done: int,
    memory_limit_bytes: int = 2 * 2**30,
) -> Iterator[Result]:
    """Each post after the id `done` that has a file, with the result of its job; 0 workers are one a processor."""
    count = workers or os.cpu_count() or 1
    waiting: deque[tuple[Chosen, Future[ImageResult] | None]] = deque()
    with ImagePool(count, run=run, memory_limit_bytes=memory_limit_bytes) as pool:
        for post in job.chosen:
            if post.id <= done:
                continue
            waiting.append((post, pool.submit(make(post)) if is_plain(job.release, post.path) else None))
            if len(waiting) >= 4 * count:
                yield from _first(job, waiting)
        while waiting:
            yield from _first(job, waiting)


def _first(job: Job, waiting: "deque[tuple[Chosen, Future[ImageResult] | None]]") -> Iterator[Result]:
    """The first post with its result; none if it has no file, which is then written down."""
    post, future = waiting.popleft()
    if future is not None:
        yield post, future.result()
    elif job.has_file(post):
        raise ReleaseError(f"{job.release / post.path} has changed while it was exported; run again")


def resume_left_out(job: Job) -> int:
    """Count what a killed export has left out. Returns the highest id of it."""
    last = 0
    for number, line in enumerate(resume_rows(job.target / LEFT_OUT)):
        if number:
            post_id, _, reason = line.decode().strip().partition(",")
            last = max(last, int(post_id))
            job.left_out[reason] += 1
            job.meter.count_step()
    return last


def why_unprocessed(result: ImageResult) -> str | None:
    """The reason of a job that killed or stalled its worker, which is that of a 512px image; None for all others."""
    return (result.px512_reason or Reason.WORKER_CRASHED).value if result.unprocessed else None

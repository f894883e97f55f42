"""The main loop of a worker process: limit memory, lock down the decoders, die with the parent, then run jobs.

Runs inside worker processes only.
"""

import logging
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

import pyvips

from danbooru_pipeline.images.job import ImageJob, ImageResult
from danbooru_pipeline.io.processes import die_with, keep_freed_memory, leave_signals_to_parent

#: The only decoders a worker has. All others (SVG, TIFF, CSV, …) would be attack surface that no release needs.
_LOADERS = ("Jpeg", "Png", "Nsgif", "Webp", "Heif")


#: Runs a job, and tells what is known of it before it decodes anything.
Run = Callable[[ImageJob, Callable[[ImageResult], None]], ImageResult]


def serve(pipe: Connection, run: Run, *, memory_limit_bytes: int, parent: int) -> None:
    """Send why this process cannot start (None if it can), then run jobs until the pipe is closed.

    Each job is answered with what is known of the file (`unprocessed`), then with its result or `OSError`. Any other
    error ends the process, which the pool notices.
    """
    try:
        start_worker(memory_limit_bytes, parent)
        try_decoders()
    except Exception as error:  # noqa: BLE001 - whatever it is, the operator has to see it
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send(None)
    while (job := _next_job(pipe)) is not None:
        try:
            outcome: ImageResult | OSError = run(job, pipe.send)
        except OSError as error:
            outcome = error
        with suppress(ConnectionError):
            pipe.send(outcome)


def _next_job(pipe: Connection) -> ImageJob | None:
    """The next job; None once the pipe is closed. One whose other end was killed with answers unread is reset."""
    try:
        job: ImageJob = pipe.recv()
    except (EOFError, ConnectionError):
        return None
    return job


def start_worker(memory_limit_bytes: int, parent: int) -> None:
    """Set this process's limits, its lifetime and its decoders."""
    die_with(parent)
    leave_signals_to_parent()
    resource.setrlimit(resource.RLIMIT_AS, (memory_limit_bytes, memory_limit_bytes))
    keep_freed_memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # so a decoder that aborts leaves no 2 GiB core file
    os.environ["RAYON_NUM_THREADS"] = "1"  # oxipng reads it at its first call; one process per core is enough
    logging.getLogger("pyvips").setLevel(logging.CRITICAL)  # the outcome says what decoders log about a file
    pyvips.concurrency_set(1)
    pyvips.cache_set_max(0)
    allow_loaders()


def allow_loaders() -> None:
    """Block all decoders of libvips, then allow ours."""
    pyvips.operation_block_set("VipsForeignLoad", True)  # noqa: FBT003 - the library's signature
    for name in _LOADERS:
        pyvips.operation_block_set(f"VipsForeignLoad{name}", False)  # noqa: FBT003


def try_decoders() -> None:
    """Encode and decode a picture: fails where no job could succeed."""
    data = pyvips.Image.black(512, 512).jpegsave_buffer()
    pyvips.Image.new_from_buffer(data, "").copy_memory()

"""What a worker process does: bounds itself, locks down the decoders, ties its life to ours; then job after job.

Runs inside worker processes only.
"""

import logging
import os
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection

import pyvips

from danbooru_pipeline.images.step import ImageJob, ImageResult
from danbooru_pipeline.io.processes import die_with, keep_freed_memory, leave_signals_to_parent

#: The only decoders a worker has. All others (SVG, TIFF, CSV, …) are ways in that no release needs.
_LOADERS = ("Jpeg", "Png", "Nsgif", "Webp", "Heif")


def serve(pipe: Connection, run: Callable[[ImageJob], ImageResult], memory_limit_bytes: int, parent: int) -> None:
    """Say what keeps this process from working (None: nothing), then do jobs until the pipe is closed.

    A job's trouble with files is an answer too; any other error ends the process, which is what it says to the pool.
    """
    try:
        start_worker(memory_limit_bytes, parent)
        try_decoders()
    except Exception as error:  # noqa: BLE001 - whatever it is, the operator has to see it
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send(None)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            outcome: ImageResult | OSError = run(job)
        except OSError as error:
            outcome = error
        pipe.send(outcome)


def start_worker(memory_limit_bytes: int, parent: int) -> None:
    """Prepare this process for images."""
    die_with(parent)
    leave_signals_to_parent()
    resource.setrlimit(resource.RLIMIT_AS, (memory_limit_bytes, memory_limit_bytes))
    keep_freed_memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a decoder that aborts leaves no 2 GiB core file
    os.environ["RAYON_NUM_THREADS"] = "1"  # read by oxipng at its first call; one process a core is all we want
    logging.getLogger("pyvips").setLevel(logging.CRITICAL)  # what decoders mutter about files is told by the outcome
    pyvips.concurrency_set(1)
    pyvips.cache_set_max(0)
    allow_loaders()


def allow_loaders() -> None:
    """Block every decoder of libvips, then allow ours."""
    pyvips.operation_block_set("VipsForeignLoad", True)  # noqa: FBT003 - the library's signature
    for name in _LOADERS:
        pyvips.operation_block_set(f"VipsForeignLoad{name}", False)  # noqa: FBT003


def try_decoders() -> None:
    """Encode and decode something: fails where no picture could succeed."""
    data = pyvips.Image.black(512, 512).jpegsave_buffer()
    pyvips.Image.new_from_buffer(data, "").copy_memory()

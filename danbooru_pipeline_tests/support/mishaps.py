"""What workers do in the tests of the pool. Kept apart from the tests, so that workers start fast."""

import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pyvips

from danbooru_pipeline.images import ImageJob, ImageResult, run_image_job
from danbooru_pipeline_tests.support.pictures import illustration, jpeg

DATA = jpeg(illustration())
Note = Callable[[ImageResult], None]


def make_job(folder: Path, name: str) -> ImageJob:
    """A job on a fresh copy of one picture."""
    source = folder / f"{name}.jpg"
    source.write_bytes(DATA)
    return ImageJob(source=source, original=source, px512=folder / "512px" / f"{name}.jpg")


def attempts(job: ImageJob) -> list[int]:
    """Process ids of the workers that took the job."""
    path = job.source.with_suffix(".attempts")
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def run_by_name(job: ImageJob, note: Note) -> ImageResult:
    """What the workers of these tests do: the name of the file says what happens to it."""
    _note_attempt(job)
    what = job.source.stem.split("-")[0]
    if what == "once":
        if len(attempts(job)) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    elif what in {"decoding", "stalling"}:
        return run_image_job(job, lambda known: _note_and_fail(what, known, note))
    elif what in MISHAPS:
        MISHAPS[what]()
    return run_image_job(job, note)


def _note_and_fail(what: str, known: ImageResult, note: Note) -> None:
    note(known)
    if what == "decoding":
        os.abort()
    time.sleep(60)


def _refuse() -> None:
    raise RuntimeError("a library's bug")


def _no_space() -> None:
    raise OSError(28, "No space left on device")


MISHAPS: dict[str, Callable[[], object]] = {
    "abort": os.abort,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "leaves": lambda: os._exit(0),
    "raises": _refuse,
    "memory": lambda: bytearray(2**40),
    "sleeps": lambda: time.sleep(60),
    "space": _no_space,
}


def _note_attempt(job: ImageJob) -> None:
    with job.source.with_suffix(".attempts").open("a") as file:
        file.write(f"{os.getpid()}\n")


def report_limits(job: ImageJob, note: Note) -> ImageResult:
    """Write down what a worker is allowed, beside the file."""
    lines = [
        str(resource.getrlimit(resource.RLIMIT_AS)[0]),
        str(pyvips.concurrency_get()),
        os.environ["RAYON_NUM_THREADS"],
    ]
    for data in (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", DATA):
        try:
            pyvips.Image.new_from_buffer(data, "").avg()
            lines.append("decoded")
        except pyvips.Error:
            lines.append("refused")
    job.source.with_suffix(".limits").write_text(" ".join(lines))
    return run_image_job(job, note)

"""Exports that are killed, in forked children: ``killed_exports.py RELEASE FOLDER`` tries every form and prints JSON.

Each child dies by SIGKILL when it counts a step of its progress, so imports are paid once.
"""

import errno
import fcntl
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from danbooru_pipeline.consume import Selection, apply_export, plan_export
from danbooru_pipeline.consume.exports import EXPORTS, ExportPlan, deepdanbooru, faces, images
from danbooru_pipeline.consume.exports.frame import Job
from danbooru_pipeline.errors import DanbooruPipelineError
from danbooru_pipeline.images.detect import DetectorSettings
from danbooru_pipeline.images.render import RenderSettings
from danbooru_pipeline.progress import Meter
from danbooru_pipeline_tests.support.tiny_detector import tiny_detector

OPTIONS: dict[str, Any] = {
    "deepdanbooru": deepdanbooru.Options(min_posts=2),
    "images": images.Options(render=RenderSettings(size=64, fit="pad"), workers=2),
}


@contextmanager
def held(plan: ExportPlan) -> Iterator[None]:
    """The place of an export, as another process that writes to it has it."""
    plan.part.mkdir()
    descriptor = os.open(plan.part, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def full_disk(release: Path) -> list[Any]:
    """The class of error of an export whose disk is full half-way, and what it leaves."""

    def write(job: Job) -> None:
        EXPORTS["captions"].write(job)
        raise OSError(errno.ENOSPC, "No space left on device", str(job.target / "file"))

    with TemporaryDirectory() as folder:
        plan = plan_export("captions", release, Path(folder) / "x", selection=Selection())
        try:
            apply_export(replace(plan, form=replace(plan.form, write=write)))
        except DanbooruPipelineError as error:
            return [type(error).__name__, [path.name for path in Path(folder).iterdir()]]
    return ["nothing", []]


def in_child(work: Callable[[], None]) -> int:
    """Run work in a child. Returns the signal that ended it, or 0."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0, status
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def kill_at(step: int) -> None:
    """Have this process die when the progress of its export comes to a step."""
    count = Meter.count_step

    def counted(self: Meter, steps: int = 1) -> None:
        count(self, steps)
        if self.steps >= step:
            os.kill(os.getpid(), signal.SIGKILL)

    Meter.count_step = counted  # type: ignore[method-assign]


def write(form: str, release: Path, target: Path, *, dies_at: int | None = None) -> None:
    """Write an export."""
    plan = plan_export(form, release, target, selection=Selection(), options=OPTIONS.get(form))
    apply_until(plan, dies_at)


def apply_until(plan: ExportPlan, dies_at: int | None) -> None:
    """Apply a plan; die at a step of its progress."""
    if dies_at is not None:
        kill_at(dies_at)
    apply_export(plan)


def digest(path: Path) -> dict[str, bytes]:
    """What an export has; a DuckDB file is never the same twice."""
    if path.is_file():
        return {"": path.read_bytes() if path.name != "duckdb" else b""}
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def try_form(form: str, release: Path, folder: Path) -> dict[str, Any]:
    """Kill an export, and call it again."""
    place, once = folder / f"{form}-killed", folder / f"{form}-once"
    for each in (place, once):
        each.mkdir()
    assert in_child(lambda: write(form, release, place / form, dies_at=23)) == signal.SIGKILL, form
    after_kill = sorted(path.name for path in place.iterdir())
    made = {file: file.stat().st_ino for file in (place / after_kill[0]).rglob("*.jpg")}
    in_child(lambda: write(form, release, place / form))
    in_child(lambda: write(form, release, once / form))
    again = {file.name: file.stat().st_ino for file in (place / form).rglob("*.jpg")} if (place / form).is_dir() else {}
    said = {
        "after_kill": after_kill,
        "same": digest(place / form) == digest(once / form),
        "kept": sum(again.get(file.name) == inode for file, inode in made.items()),
        "rest": sorted(path.name for path in place.iterdir() if path.name.startswith(".")),
    }
    shutil.rmtree(place)
    shutil.rmtree(once)
    return said


def main(release: Path, folder: Path) -> None:
    """Try every form."""
    model = tiny_detector(folder / "tiny.onnx")
    OPTIONS["faces"] = faces.Options(detector=DetectorSettings(model=model), crops=True, workers=2)
    print(json.dumps({form: try_form(form, release, folder) for form in EXPORTS}))  # noqa: T201 - read by the test


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

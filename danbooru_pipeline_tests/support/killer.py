"""Runs release work in forked children that kill themselves at a chosen system call: ``killer.py ROOT WORK POINTS``.

Prints, for every point, the digest of all releases after a rerun; the first line is that of a run left alone. Imports
come before the forks and no thread is started before them, so each child costs milliseconds.
"""

import hashlib
import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import (
    apply_snapshot,
    apply_takedown,
    plan_snapshot,
    plan_takedown,
    published,
    verify_release,
)
from danbooru_pipeline_tests.support.system_calls import count_calls

NOW = datetime(2022, 1, 21, 12, tzinfo=UTC)


def snapshot(layout: Layout) -> None:
    """Make the release of 2021."""
    plan = plan_snapshot(layout, 2021, image_settings={"px512_quality": 90, "png_level": 2})
    apply_snapshot(plan, created_at=NOW, threads=1)


def takedown(layout: Layout) -> None:
    """Take two posts down, as an operator who runs the same command again."""
    apply_takedown(plan_takedown(layout, [1002, 5002]), created_at=NOW, threads=1)


WORK = {"snapshot": snapshot, "takedown": takedown}


def in_child(work: Callable[[Layout], None], layout: Layout, at: int | None) -> int:
    """Run work in a child. Returns how many calls it made, or 0 when it was killed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        numbers = count_calls(at)
        work(layout)
        os.write(write, str(next(numbers) - 1).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0, status
    return int(said or 0)


def digest(layout: Layout) -> str:
    """A digest of all releases, hidden leftovers included, and of the store."""
    total = hashlib.sha256()
    for folder in (layout.releases, layout.store, layout.root / "metadata"):
        for path in sorted(folder.rglob("*")):
            if path.suffix != ".lock":
                total.update(f"{path.relative_to(layout.root)}\0".encode())
                total.update(path.read_bytes() if path.is_file() else b"")
    return total.hexdigest()


def check_published(layout: Layout) -> None:
    """In a child, since it starts threads: whatever is published is whole."""
    for folder in published(layout).values():
        report = verify_release(folder, full=True)
        assert report.ok, report.lines()


def main(root: Path, work: str, points: int) -> None:
    """Kill and rerun at that many points, each time from the same beginning."""
    run = WORK[work]
    begin, place = root, root.with_name("place")
    dice = random.Random(work)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(begin, place, symlinks=True)
    calls = in_child(run, Layout(place), None)
    print(json.dumps([calls, digest(Layout(place))]), flush=True)
    for at in sorted(dice.sample(range(1, calls + 1), points)):
        shutil.rmtree(place)
        shutil.copytree(begin, place, symlinks=True)
        survived = in_child(run, Layout(place), at)
        assert not survived, (at, survived)
        in_child(check_published, Layout(place), None)
        in_child(run, Layout(place), None)
        print(json.dumps([at, digest(Layout(place))]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

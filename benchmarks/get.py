"""What `danbooru-pipeline get` costs beside plain rsync and a copy by fsspec: ``python -m benchmarks.get [POSTS]``.

A release of small files is fetched whole (512px images and tables) from this machine: by rsync from a module that the
connection starts itself, by `get` from the same module, by `get` from a folder, and by fsspec's own recursive
copy, which is what `hf download` comes down to without its hub.
Runs are interleaved; CPU seconds are those of this process and its children.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec

from danbooru_pipeline.consume import Selection
from danbooru_pipeline.consume.get import get_release, open_origin
from danbooru_pipeline.layout import Layout
from danbooru_pipeline_tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 3


def spent() -> float:
    """CPU seconds so far, of this process and of its children."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


def made(root: Path, posts: int) -> Path:
    """A release with so many posts."""
    yard = Yard(Layout(root))
    for number in range(1, posts + 1):
        yard.post(number, rating="s")
    return yard.release()


def by_rsync(target: Path) -> None:
    """What a user types without us."""
    wanted = ["--include=/512px/***", "--include=/parquet/***", "--include=/manifest/***", "--include=/index/***"]
    source = "rsync://localhost/release/"
    subprocess.run(["rsync", "-rt", *wanted, "--include=/*.*", "--exclude=*", source, f"{target}/"], check=True)


def by_copy(release: Path, target: Path) -> None:
    """Fsspec's own copy of a folder."""
    fsspec.filesystem("file").get(f"{release}/512px", f"{target}/512px", recursive=True)
    fsspec.filesystem("file").get(f"{release}/parquet", f"{target}/parquet", recursive=True)


def main(posts: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        release = made(work / "root", posts)
        (work / "rsyncd.conf").write_text(f"use chroot = no\n[release]\npath = {release}\nread only = yes\n")
        os.environ["RSYNC_CONNECT_PROG"] = f"rsync --server --daemon --config={work}/rsyncd.conf ."
        ways: dict[str, Callable[[Path], object]] = {
            "rsync": by_rsync,
            "get from rsync": lambda target: get_release(open_origin("rsync://localhost/release"), target, Selection()),
            "copy by fsspec": lambda target: by_copy(release, target),
            "get from a folder": lambda target: get_release(open_origin(f"file://{release}"), target, Selection()),
        }
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(RUNS):
            for name, way in ways.items():
                target = work / "target"
                shutil.rmtree(target, ignore_errors=True)
                cpu, wall = spent(), time.perf_counter()
                way(target)
                took[name].append((spent() - cpu, time.perf_counter() - wall))
        print(f"{posts:,} posts, medians of {RUNS}")
        print("| way | CPU s | wall s | files/CPU s |\n|---|---:|---:|---:|")
        for name, runs in took.items():
            cpu, wall = (statistics.median(each[place] for each in runs) for place in (0, 1))
            print(f"| {name} | {cpu:.2f} | {wall:.2f} | {posts / cpu:,.0f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)

"""What `danbooru-pipeline get` costs beside rsync and a copy by fsspec: ``python -m benchmarks.get [POSTS [BUCKETS]]``.

A release of small files is fetched whole (512px images and tables) from this machine: by rsync from a module that the
connection starts itself, by `get` from the same module, by `get` from a folder, and by fsspec's own recursive
copy; then, published to a stand-in of the Hugging Face Hub, by `hf download` and by `get`, which there pack the
images of a bucket into a tar. Both are commands of their own, and their start-up counts.
Runs are interleaved; CPU seconds are those of this process and its children, for commands those of the commands alone,
since the stand-in answers in this process. With a number of buckets, so many tars hold all posts; else each is in
one of its own, as long as there are buckets.
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
from danbooru_pipeline_tests.support.hub import serving_hub
from danbooru_pipeline_tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 3
HUB = "example/danbooru2021"
#: What `get` brings without being asked for originals.
HUB_FILES = ("--include", "512px/*", "--include", "parquet/*", "--include", "manifest/*", "--include", "index/*")


def spent(*, children_alone: bool = False) -> float:
    """CPU seconds so far, of this process and of its children."""
    which = (resource.RUSAGE_CHILDREN,) if children_alone else (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(each.ru_utime + each.ru_stime for each in map(resource.getrusage, which))


def made(root: Path, posts: int, buckets: int) -> Path:
    """A release with so many posts in so many buckets."""
    yard = Yard(Layout(root))
    for number in range(posts):
        yard.post(number // buckets * 1000 + number % buckets + 1, rating="s")
    return yard.release()


def by_rsync(target: Path) -> None:
    """What a user types without us."""
    wanted = ["--include=/512px/***", "--include=/parquet/***", "--include=/manifest/***", "--include=/index/***"]
    source = "rsync://localhost/release/"
    subprocess.run(["rsync", "-rt", *wanted, "--include=/*.*", "--exclude=*", source, f"{target}/"], check=True)


def by_command(*words: str) -> None:
    """What a user types."""
    subprocess.run([str(Path(sys.executable).with_name(words[0])), *words[1:]], check=True, capture_output=True)


def publish(root: Path, address: str, home: Path) -> None:
    """Publish the release to the stand-in, whose address every client reads from the environment."""
    os.environ |= {"HF_ENDPOINT": address, "HF_TOKEN": "hf_test", "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home)}
    from danbooru_pipeline.publish import apply_publication, plan_publication  # noqa: PLC0415 - reads them at once
    from danbooru_pipeline.publish.hub import HubPlace  # noqa: PLC0415

    apply_publication(plan_publication(Layout(root), 2021, HubPlace("example")))


def by_copy(release: Path, target: Path) -> None:
    """Fsspec's own copy of a folder."""
    fsspec.filesystem("file").get(f"{release}/512px", f"{target}/512px", recursive=True)
    fsspec.filesystem("file").get(f"{release}/parquet", f"{target}/parquet", recursive=True)


def main(posts: int, buckets: int = 1000) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, serving_hub() as hub:
        work = Path(folder)
        release = made(work / "root", posts, buckets)
        (work / "rsyncd.conf").write_text(f"use chroot = no\n[release]\npath = {release}\nread only = yes\n")
        publish(work / "root", hub.address, work / "hf")
        os.environ["RSYNC_CONNECT_PROG"] = f"rsync --server --daemon --config={work}/rsyncd.conf ."
        ways: dict[str, Callable[[Path], object]] = {
            "rsync": by_rsync,
            "get from rsync": lambda target: get_release(open_origin("rsync://localhost/release"), target, Selection()),
            "copy by fsspec": lambda target: by_copy(release, target),
            "hf download": lambda target: by_command(
                "hf", "download", HUB, "--repo-type", "dataset", "--local-dir", str(target), *HUB_FILES
            ),
            "get from the hub": lambda target: by_command(
                "danbooru-pipeline", "get", f"hf://datasets/{HUB}", str(target)
            ),
            "get from a folder": lambda target: get_release(open_origin(f"file://{release}"), target, Selection()),
        }
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(RUNS):
            for name, way in ways.items():
                target = work / "target"
                shutil.rmtree(target, ignore_errors=True)
                alone = name in {"hf download", "get from the hub"}
                cpu, wall = spent(children_alone=alone), time.perf_counter()
                way(target)
                took[name].append((spent(children_alone=alone) - cpu, time.perf_counter() - wall))
        print(f"{posts:,} posts in {min(posts, buckets):,} tars, medians of {RUNS}")
        print("| way | CPU s | wall s | files/CPU s |\n|---|---:|---:|---:|")
        for name, runs in took.items():
            cpu, wall = (statistics.median(each[place] for each in runs) for place in (0, 1))
            print(f"| {name} | {cpu:.2f} | {wall:.2f} | {posts / cpu:,.0f} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:] or ["5000"]))

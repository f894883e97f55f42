"""The overhead of Dagster: ``python -m benchmarks.orchestration [ROW…]``, by default all; needs postgresql and redis.

``idle``: a backfill of the whole image chain over 1000 buckets with nothing to do, launched as the UI does, on the
processes of docker-compose.yml with Postgres; and the same through ``build``.
``work``: 100 buckets of 20 posts, through the runs of ``build`` and called directly, alternating, each on a new store.
``workers``: a backfill of 512px images on the processes of docker-compose.celery.yml, with one worker and with two.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.headless import HeadlessBuild
from danbooru_pipeline.defs.instance import open_instance
from danbooru_pipeline.demo.process import BooruProcess, start_booru
from danbooru_pipeline.layout import BUCKETS, Layout
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import split_by_bucket, sweep_posts
from danbooru_pipeline.store.buckets import for_each_bucket
from danbooru_pipeline.store.originals import build_originals
from danbooru_pipeline.store.px512 import build_px512
from danbooru_pipeline_tests.support.stack import running_stack

YEAR, POSTS, CHOSEN, ROUNDS = 2021, 20, BUCKETS[:100], 3
#: Runs, buckets per run and posts per bucket, so that image work outweighs Dagster's cost per bucket; in a whole
#: release a bucket has thousands of posts.
RUNS, RUN_BUCKETS, RUN_POSTS = 4, 20, 100


def say(text: str) -> None:
    """Print a line and flush it."""
    print(text, flush=True)


def measure_idle(booru: BooruProcess, folder: Path) -> None:
    """Wall seconds of a backfill, and of a build, with nothing to do."""
    settings = {
        "DANBOORU_API_URL": booru.api_url, "DANBOORU_CDN_URL": booru.cdn_url, "DANBOORU_AUTOMATION": "off",
        "DANBOORU_PNG_LEVEL": "0",
    }  # fmt: skip
    with running_stack(folder, settings) as stack:
        env = stack.environment("code") | {"DAGSTER_HOME": str(folder / "home")}
        command = [sys.executable, "-m", "danbooru_pipeline", "build", str(YEAR)]
        subprocess.run(command, env=env, check=True, capture_output=True)
        for _ in range(ROUNDS):
            began = time.monotonic()
            keys = [f"{bucket}|{YEAR}" for bucket in BUCKETS]
            state = stack.wait_backfill(stack.backfill(["original_images", "images_512px"], keys))
            runs = state["runs"]
            first, last = min(r["startTime"] for r in runs), max(r["endTime"] for r in runs)
            say(
                f"backfill of 1000 buckets, nothing to do: {time.monotonic() - began:.1f} s, {state['status']}, "
                f"{len(runs)} runs, first start to last end {last - first:.1f} s"
            )
            began = time.monotonic()
            subprocess.run(command, env=env, check=True, capture_output=True)
            say(f"build of 1000 buckets, nothing to do: {time.monotonic() - began:.1f} s")


def forge_posts(context: RunContext, chosen: tuple[str, ...] = CHOSEN, each: int = POSTS) -> None:
    """That many posts per bucket, each with a file of the booru under its own id."""
    layout = context.layout
    sweep_posts(context.source, layout, YEAR, now=context.now(), progress=lambda _line: None)
    rows = [row for row in pq.read_table(layout.posts(YEAR)).to_pylist() if row["md5"] and row["file_ext"] == "jpg"]
    schema = pq.read_schema(layout.posts(YEAR))
    forged = [
        rows[(k * 7 + int(bucket)) % len(rows)] | {"id": 1000 * k + int(bucket)}
        for k in range(1, each + 1)
        for bucket in chosen
    ]
    forged.sort(key=lambda row: row["id"])
    pq.write_table(pa.Table.from_pylist(forged, schema=schema), layout.posts(YEAR))
    split_by_bucket(layout, YEAR)


def directly(context: RunContext) -> None:
    """The work without Dagster."""
    for work in (build_originals, build_px512):
        for finished in for_each_bucket(lambda bucket, work=work: work(context, bucket, YEAR), list(CHOSEN)):
            assert finished.error is None, finished.error


def through_runs(context: RunContext) -> None:
    """The work as `build` does it."""
    with open_instance(Layout(context.settings.root).dagster_home) as instance:
        build = HeadlessBuild(context, instance, YEAR, say=lambda _line: None)
        build.run_images(CHOSEN)
        assert not build.result().failed


def measure_work(settings: Settings, folder: Path) -> None:
    """Wall and CPU seconds of both ways, alternating."""
    walls: dict[str, list[float]] = {"directly": [], "through runs": []}
    for number in range(ROUNDS):
        for name, way in (("directly", directly), ("through runs", through_runs)):
            with RunContext(settings.replace(root=folder / f"{name}{number}".replace(" ", ""))) as context:
                forge_posts(context)
                began = time.monotonic()
                way(context)
                walls[name].append(time.monotonic() - began)
                say(f"100 buckets of 20 posts, {name}: {walls[name][-1]:.1f} s")
    ratio = statistics.median(walls["through runs"]) / statistics.median(walls["directly"])
    say(f"through runs / directly, medians of {ROUNDS}: {ratio:.3f}")


def measure_workers(booru: BooruProcess, folder: Path) -> None:
    """Images per second of one Celery worker and of two, each with a core and one image process, alternating."""
    settings = {
        "DANBOORU_API_URL": booru.api_url, "DANBOORU_CDN_URL": booru.cdn_url, "DANBOORU_AUTOMATION": "off",
        "DANBOORU_PNG_LEVEL": "0", "DANBOORU_WORKERS": "1",
    }  # fmt: skip
    parts = [BUCKETS[n * RUN_BUCKETS : (n + 1) * RUN_BUCKETS] for n in range(RUNS)]
    chosen = BUCKETS[: RUNS * RUN_BUCKETS]
    with running_stack(folder, settings, files=("docker-compose.yml", "docker-compose.celery.yml")) as stack:
        layout = Layout(stack.root)
        with RunContext(Settings(root=stack.root, api_url=booru.api_url, cdn_url=booru.cdn_url)) as context:
            forge_posts(context, chosen, RUN_POSTS)
            for finished in for_each_bucket(lambda bucket: build_originals(context, bucket, YEAR), list(chosen)):
                assert finished.error is None, finished.error
        rates: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(ROUNDS):
            for count in (1, 2):
                for number in range(1, count + 1):
                    stack.start("worker", instance=number, extra=("-n", f"worker{number}@%h"))
                    # One core each, like two machines: otherwise a worker uses part of the other's core.
                    os.sched_setaffinity(stack.running[f"worker{number}"].pid, {number - 1})
                time.sleep(20)  # until they wait for work
                shutil.rmtree(layout.store / "512px")
                begun = [stack.backfill(["images_512px"], [f"{bucket}|{YEAR}" for bucket in part]) for part in parts]
                states = [stack.wait_backfill(backfill, seconds=1200) for backfill in begun]
                assert all(state["status"] == "COMPLETED_SUCCESS" for state in states), states
                runs = [run for state in states for run in state["runs"]]
                seconds = max(run["endTime"] for run in runs) - min(run["startTime"] for run in runs)
                images = sum(1 for _ in (layout.store / "512px").rglob("*.jpg"))
                rates[count].append(images / seconds)
                say(f"{count} worker(s): {images:,} images of {len(chosen)} buckets in {seconds:.1f} s")
                for number in range(1, count + 1):
                    stack.kill(f"worker{number}")
    say(f"two workers / one, medians of {ROUNDS}: {statistics.median(rates[2]) / statistics.median(rates[1]):.2f}")


def main() -> None:
    """Run the requested rows."""
    wanted = sys.argv[1:] or ["idle", "work", "workers"]
    with (
        tempfile.TemporaryDirectory() as name,
        start_booru(posts=40, year=YEAR, files=Path(name) / "booru", rate_limit=False) as booru,
    ):
        settings = Settings(root=Path(name), api_url=booru.api_url, cdn_url=booru.cdn_url, workers=os.cpu_count() or 1)
        ways = {
            "idle": partial(measure_idle, booru),
            "work": partial(measure_work, settings),
            "workers": partial(measure_workers, booru),
        }
        for each in wanted:
            folder = Path(name) / each
            folder.mkdir()
            ways[each](folder)


if __name__ == "__main__":
    main()

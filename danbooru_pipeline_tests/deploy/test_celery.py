"""Two Celery workers on one store, as docker-compose.celery.yml has them; one is killed in the middle of a bucket."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.layout import BUCKETS, Layout
from danbooru_pipeline.store.ledger import read_ledger
from danbooru_pipeline_tests.support.processes import wait_until
from danbooru_pipeline_tests.support.stack import Stack, running_stack

pytestmark = [
    pytest.mark.slow(600),
    pytest.mark.long,
    pytest.mark.timeout(3600),
    pytest.mark.needs("pg_ctlcluster", "psql", "redis-server"),
]
FILES = ("docker-compose.yml", "docker-compose.celery.yml")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, shop: BooruProcess) -> Iterator[Stack]:
    """Production with Redis and two workers."""
    settings = {
        "DANBOORU_API_URL": shop.api_url,
        "DANBOORU_CDN_URL": shop.cdn_url,
        "DANBOORU_AUTOMATION": "off",
        "DANBOORU_EXCLUDE_TAGS": "",
        "DANBOORU_PNG_LEVEL": "0",
    }
    with running_stack(tmp_path_factory.mktemp("celery"), settings, files=FILES) as stack:
        for number in (1, 2):
            stack.start("worker", instance=number, extra=("-n", f"worker{number}@%h"))
            wait_until(lambda n=number: "ready." in stack.logs(f"worker{n}"), seconds=60, what="worker")  # type: ignore[misc] # bound
        yield stack


def statuses(stack: Stack, backfill_id: str) -> list[str]:
    """States of the runs of a backfill."""
    return [run["status"] for run in stack.backfill_state(backfill_id).get("runs", [])]


def children(pid: int) -> list[int]:
    """Processes that a process started."""
    text = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], check=False, capture_output=True, text=True).stdout
    return [int(word) for word in text.split()]


def test_killed_worker_loses_nothing(stack: Stack, shop: BooruProcess) -> None:
    """The processes that execute runs are killed in mid bucket: the run fails, is queued again, and is completed."""
    assert stack.wait_backfill(stack.backfill(["posts", "posts_by_bucket"], ["2021"]))["status"] == "COMPLETED_SUCCESS"
    for post in [post for post in shop.truth(2021) if post.get("md5")][:30]:
        shop.set_fault(post["md5"], "slow")
    backfill = stack.backfill(["original_images"], [f"{bucket}|2021" for bucket in BUCKETS[:60]])
    wait_until(lambda: "STARTED" in statuses(stack, backfill), seconds=120, every=0.2, what="run")
    for number in (1, 2):
        for child in children(stack.running[f"worker{number}"].pid):
            os.kill(child, signal.SIGKILL)
    state = stack.wait_backfill(backfill, seconds=240)
    shop.clear_faults()
    if state["status"] != "COMPLETED_SUCCESS":
        state = stack.wait_backfill(stack.retry(backfill), seconds=240)
    assert state["status"] == "COMPLETED_SUCCESS"
    layout = Layout(stack.root)
    rows = [row for path in (layout.store / "ledger").glob("[0-9]*.parquet") for row in read_ledger(path).values()]
    assert len(rows) > 35
    assert all(str(row.status) != "pending" for row in rows)

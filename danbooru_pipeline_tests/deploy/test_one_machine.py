"""One machine with SQLite, as `danbooru-pipeline ui` serves it: a backfill of a whole release by clicks."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from danbooru_pipeline.demo.process import BooruProcess, start_booru
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline_tests.support.processes import free_port, wait_until
from danbooru_pipeline_tests.support.webserver import Webserver

pytestmark = [pytest.mark.slow(240), pytest.mark.long, pytest.mark.timeout(3600)]
#: What an operator can still look through. With events written one by one there were 71.
MOST_RUNS = 20


@pytest.fixture
def booru(tmp_path: Path) -> Iterator[BooruProcess]:
    """A booru with posts in all buckets; a file each of buckets 0006 and 0129 cannot be had."""
    with start_booru(posts=2600, year=2021, files=tmp_path / "booru") as booru:
        for bucket in (6, 129):
            post = next(post for post in booru.truth(2021) if post.get("md5") and post["id"] % 1000 == bucket)
            booru.set_fault(post["md5"], "error")
        yield booru


@pytest.fixture
def webserver(tmp_path: Path, booru: BooruProcess) -> Iterator[Webserver]:
    """The UI and the daemon of an empty root."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("DANBOORU_", "DAGSTER_"))}
    environ |= {
        "DANBOORU_ROOT": str(tmp_path / "root"),
        "DANBOORU_CONTACT": "a@example.org",
        "DANBOORU_AUTOMATION": "off",
    }
    environ |= {"DANBOORU_API_URL": booru.api_url, "DANBOORU_CDN_URL": booru.cdn_url, "DANBOORU_PNG_LEVEL": "0"}
    port = free_port()
    command = [sys.executable, "-m", "danbooru_pipeline", "ui", "--port", str(port)]
    process = subprocess.Popen(command, cwd=tmp_path, env=environ, start_new_session=True)
    webserver = Webserver(f"http://127.0.0.1:{port}")
    try:
        wait_until(webserver.is_up, seconds=180, every=1, what="the UI")
        yield webserver
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def test_backfill_of_a_release_is_few_runs(webserver: Webserver) -> None:
    """All buckets of both image assets take at most twenty runs, though two buckets fail, and the others are green."""
    posts = webserver.wait_backfill(webserver.backfill(["posts", "posts_by_bucket"], ["2021"]), seconds=600)
    assert posts["status"] == "COMPLETED_SUCCESS"
    keys = [f"{bucket}|2021" for bucket in BUCKETS]
    state = webserver.wait_backfill(webserver.backfill(["original_images", "images_512px"], keys), seconds=2400)
    counts = state["assetBackfillData"]["assetBackfillStatuses"]
    assert [asset["numPartitionsMaterialized"] for asset in counts] == [998, 998]
    assert [asset["numPartitionsFailed"] for asset in counts] == [2, 2]
    assert len(state["runs"]) <= MOST_RUNS

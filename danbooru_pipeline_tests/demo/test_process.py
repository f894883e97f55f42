"""Starting, rate-limiting and stopping the demo booru."""

import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from danbooru_pipeline.demo.process import start_booru
from danbooru_pipeline.demo.site.limits import LeakyBucket


def test_api_accepts_a_burst_and_then_ten_a_second(tmp_path: Path, client: httpx.Client) -> None:
    """About fifty requests pass at once, the next is a 429, and some pass after a pause; files are not limited."""
    with start_booru(posts=12, year=2021, files=tmp_path) as booru:
        url = f"{booru.api_url}/posts.json?limit=1"
        statuses = [client.get(url).status_code for _ in range(75)]
        assert statuses[:50] == [200] * 50
        refused = client.get(url)
        assert refused.status_code == 429
        assert refused.headers["content-type"].startswith("text/html")
        assert booru.requests()["throttled"] == statuses.count(429) + 1
        time.sleep(0.35)
        assert client.get(url).status_code == 200
        assert {client.get(f"{booru.cdn_url}/original/x.jpg").status_code for _ in range(70)} == {404}


def test_bucket_leaks_at_its_rate() -> None:
    """A burst of two and one more pass; a refused request does not fill the bucket."""
    bucket = LeakyBucket(rate=20, burst=2)
    assert [bucket.take() for _ in range(5)] == [True, True, True, False, False]
    time.sleep(0.06)
    assert bucket.take()


def test_years_before_the_first_show_less(tmp_path: Path) -> None:
    """The site can be shown as of an earlier year, and grows in later years."""
    with start_booru(posts=40, year=2015, files=tmp_path) as booru:
        sizes = [len(booru.truth(year)) for year in (2012, 2015, 2021, 2022)]
        assert sizes == sorted(set(sizes))


def test_booru_ends_when_its_parent_does(tmp_path: Path) -> None:
    """Closing its standard input ends the process silently, with exit code 0."""
    command = [
        sys.executable,
        "-m",
        "danbooru_pipeline.demo",
        "--posts",
        "2",
        "--files",
        str(tmp_path),
        "--exit-with-stdin",
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert set(json.loads(process.stdout.readline())) == {"api_url", "cdn_url"}
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, b"")


def test_booru_that_cannot_start_says_so(tmp_path: Path) -> None:
    """An unusable folder is an error for the caller instead of an endless wait."""
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(RuntimeError, match="did not start"), start_booru(posts=2, year=2021, files=file):
        pass

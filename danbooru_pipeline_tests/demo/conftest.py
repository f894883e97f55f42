"""One small booru for all tests of this folder; each test gets it in its initial state."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from danbooru_pipeline.demo.process import BooruProcess, start_booru

AGENT = {"User-Agent": "danbooru-pipeline-tests/1 (tests@example.org)"}


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BooruProcess]:
    """A booru of 40 posts without a rate limit."""
    with start_booru(posts=40, year=2021, files=Path(tmp_path_factory.mktemp("files")), rate_limit=False) as booru:
        yield booru


@pytest.fixture
def booru(running: BooruProcess) -> Iterator[BooruProcess]:
    """The booru of 40 posts as of 2021, without faults and with counters at zero."""
    running.forget_changes()
    running.set_year(2021)
    running.clear_faults()
    running.reset_requests()
    yield running
    running.clear_faults()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """A client with an accepted User-Agent."""
    with httpx.Client(headers=AGENT, trust_env=False, timeout=10) as client:
        yield client

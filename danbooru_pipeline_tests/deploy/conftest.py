"""One production for all tests of this folder, with an embedded booru of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from danbooru_pipeline.demo.process import BooruProcess, start_booru
from danbooru_pipeline_tests.support.stack import Stack, running_stack


@pytest.fixture(scope="module")
def shop(booru_files: Path) -> Iterator[BooruProcess]:
    """A booru as of the newest year that is over, which is what automation would take."""
    with start_booru(posts=40, year=2021, files=booru_files, rate_limit=False) as booru:
        yield booru


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, shop: BooruProcess) -> Iterator[Stack]:
    """Production with its sensors switched off."""
    settings = {
        "DANBOORU_API_URL": shop.api_url,
        "DANBOORU_CDN_URL": shop.cdn_url,
        "DANBOORU_AUTOMATION": "off",
        "DANBOORU_EXCLUDE_TAGS": "",
        "DANBOORU_PNG_LEVEL": "0",
        "DANBOORU_RETRY_SECONDS": "2",
    }
    with running_stack(tmp_path_factory.mktemp("production"), settings) as stack:
        yield stack

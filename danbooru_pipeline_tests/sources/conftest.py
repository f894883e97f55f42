"""A site of made-up records, and sources that read it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import ApiSource
from danbooru_pipeline_tests.support.raw_server import RawServer, json_by, serving
from danbooru_pipeline_tests.support.sites import Give


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Paths below a root of the test's own."""
    return Layout(tmp_path / "root")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[..., tuple[ApiSource, RawServer]]]:
    """Starts a server that answers with JSON, and opens a source that reads it.

    Pages come from `give`; a site that counts its posts answers that with `counts`.
    """
    with ExitStack() as stack:

        def start(give: Give, *, counts: object = None) -> tuple[ApiSource, RawServer]:
            def answer(path: str, params: dict[str, str]) -> object:
                return counts if path == "/counts/posts.json" else give(path, params)

            server = stack.enter_context(serving(json_by(answer)))
            settings = Settings(root=tmp_path / "root", api_url=server.url, cdn_url=server.url, retry_seconds=1.0)
            return ApiSource(stack.enter_context(BooruClient(settings))), server

        yield start

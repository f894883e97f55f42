"""A site of made-up records, and sources that read it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import ApiSource
from danbooru_pipeline_tests.support.raw_server import RawServer, json_by, serving

Give = Callable[[str, dict[str, str]], Any]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Paths below a root of the test's own."""
    return Layout(tmp_path / "root")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[[Give], tuple[ApiSource, RawServer]]]:
    """Starts a server that answers with JSON, and opens a source that reads it."""
    with ExitStack() as stack:

        def start(give: Give) -> tuple[ApiSource, RawServer]:
            server = stack.enter_context(serving(json_by(give)))
            settings = Settings(root=tmp_path / "root", api_url=server.url, cdn_url=server.url, retry_seconds=1.0)
            return ApiSource(stack.enter_context(BooruClient(settings))), server

        yield start


def give_posts(records: list[dict[str, Any]], *, most: int = 200, ascending: bool = False) -> Give:
    """A site with these posts, in the order of their true ids, and at most so many a page.

    A record may hold its true id as ``_id`` and show another one, or none.
    """

    def true_id(record: dict[str, Any]) -> int:
        return int(record.get("_id", record.get("id", 0)))

    def give(path: str, params: dict[str, str]) -> Any:
        if path != "/posts.json":
            return None
        ordered = sorted(records, key=true_id)
        page, size = params.get("page", "b999999999999"), min(int(params["limit"]), most)
        page = "b999999999999" if page.isdigit() else page
        if page[0] == "a":
            chosen = [record for record in ordered if true_id(record) > int(page[1:])][:size]
        else:
            chosen = [record for record in ordered if true_id(record) < int(page[1:])][-size:]
        shown = [{key: value for key, value in record.items() if key != "_id"} for record in chosen]
        return shown if ascending else shown[::-1]

    return give

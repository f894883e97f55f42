"""Clients for this room's tests, and servers that answer with anything."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.settings import Settings


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., BooruClient]]:
    """Open clients for any two addresses; they retry for at most a second."""
    with ExitStack() as stack:

        def open_client(
            api_url: str, cdn_url: str | None = None, *, json_seconds: float = 120, **more: Any
        ) -> BooruClient:
            values = {"root": tmp_path / "root", "retry_seconds": 1.0, **more}
            settings = Settings(api_url=api_url, cdn_url=cdn_url or api_url, **values)
            return stack.enter_context(BooruClient(settings, json_seconds=json_seconds))

        yield open_client

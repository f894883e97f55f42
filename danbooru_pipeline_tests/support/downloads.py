"""What tests of downloads share: a small file, the `Fetch` that names it, and what opens servers and clients."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline_tests.support.raw_server import Answer, RawServer

#: The fixtures ``serve`` and ``connect`` of `fetch/`.
Serve = Callable[[Answer], RawServer]
Connect = Callable[..., BooruClient]

#: Not a picture, but bytes that start as one: enough for a downloader.
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8


def post_of(data: bytes = PNG, *, file_url: str | None = "/file.png", **more: Any) -> Fetch:
    """A post whose file is `data`."""
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    values: dict[str, Any] = {"id": 7, "md5": md5, "ext": "png", "file_size": len(data), "rating": "s"} | more
    return Fetch(file_url=file_url, **values)


def assert_nothing_left(target: Path) -> None:
    """Neither the file nor a part of it."""
    assert not target.parent.exists() or list(target.parent.iterdir()) == []

"""Resources of one process, opened lazily and shared by its buckets. They carry no results: work returns those.

Nothing is opened before it is used: a plan needs no connection, a status no workers.
"""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeVar

from danbooru_pipeline import stop
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.images import ImagePool, ImageSettings
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.takedowns import read_takedowns
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import ApiSource, BulkSource, Source
from danbooru_pipeline.sources.excluding import BulkSourceWithout, SourceWithout
from danbooru_pipeline.sources.open import open_bulk
from danbooru_pipeline.sources.quick_look import QuickLook
from danbooru_pipeline.sources.rechecker import Rechecker

T = TypeVar("T")


def _now() -> datetime:
    return datetime.now(UTC)


class RunContext:
    """Settings, paths, the HTTP client, sources, download threads and image workers. Use it as a context manager.

    Args:
        settings: the operator's choices.
        now: its clock; tests pass their own.
    """

    def __init__(self, settings: Settings, *, now: Callable[[], datetime] = _now) -> None:
        self.settings = settings
        self.layout = Layout(settings.root)
        self.now = now
        self._stack = contextlib.ExitStack()
        self._opened: dict[str, Any] = {}
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if "client" in self._opened:
            self.client.limiter.close()  # threads that wait for their turn must not hold up the shutdown
        self._stack.__exit__(kind, error, trace)

    def _once(self, name: str, make: Callable[[], T]) -> T:
        """The resource of that name, made the first time; threads of several buckets may ask at once."""
        with self._lock:
            if name not in self._opened:
                self._opened[name] = make()
            made: T = self._opened[name]
            return made

    @property
    def client(self) -> BooruClient:
        """Rate-limited requests to the booru."""
        return self._once("client", self._open_client)

    def _open_client(self) -> BooruClient:
        client = self._stack.enter_context(BooruClient(self.settings))
        self._stack.enter_context(stop.on_stop(client.limiter.close))
        return client

    @property
    def source(self) -> Source | BulkSource:
        """Where posts come from, without those that were taken down."""
        return self._source(self.settings.posts_source)

    def source_within(self, seconds: float) -> Source | BulkSource:
        """The source of posts; one of whole tables says within so many seconds what it has, and gives no rows."""
        if self.settings.posts_source == "api":
            return self.source
        hasty = self.settings.replace(retry_seconds=min(seconds, self.settings.retry_seconds))
        source = open_bulk(hasty.posts_source, hasty, now=self.now(), shows_only=True)
        return QuickLook(source, seconds=seconds)

    @property
    def tables_source(self) -> Source | BulkSource:
        """Where side tables come from, without what was taken down."""
        return self._source(self.settings.side_tables_source)

    @property
    def site(self) -> Source:
        """The booru itself page by page, wherever the posts of a release come from; without what was taken down."""
        return SourceWithout(ApiSource(self.client), read_takedowns(self.layout).ids)

    def _source(self, name: str) -> Source | BulkSource:
        gone = read_takedowns(self.layout).ids
        if name == "api":
            return self.site
        return BulkSourceWithout(self._once(name, lambda: open_bulk(name, self.settings, now=self.now())), gone)

    @property
    def rechecker(self) -> Rechecker:
        """Asks the booru again about posts whose file could not be fetched."""
        return self._once("rechecker", lambda: Rechecker(self.client))

    @property
    def downloads(self) -> ThreadPoolExecutor:
        """Threads that download; as many as there may be parallel downloads."""
        return self._once("downloads", self._start_downloads)

    def _start_downloads(self) -> ThreadPoolExecutor:
        threads = ThreadPoolExecutor(self.settings.downloads, thread_name_prefix="download")
        self._stack.callback(threads.shutdown, cancel_futures=True)
        return threads

    @property
    def images(self) -> ImagePool:
        """Image workers, in processes that can be killed."""
        return self._once("images", self._start_workers)

    def _start_workers(self) -> ImagePool:
        pool = self._stack.enter_context(ImagePool(self.settings.workers))
        self._stack.enter_context(stop.on_stop(pool.stop))
        return pool

    @cached_property
    def image_settings(self) -> ImageSettings:
        """Everything that decides what image bytes look like."""
        chosen = self.settings
        return ImageSettings(
            png_level=chosen.png_level,
            jpg_archive=chosen.jpg_archive,
            px512_quality=chosen.px512_quality,
            background=chosen.px512_background,
            max_pixels=chosen.max_pixels,
        )

    @cached_property
    def exclude_tags(self) -> frozenset[str]:
        """Tags whose posts get no file."""
        return self.settings.excluded

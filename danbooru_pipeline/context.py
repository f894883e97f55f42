"""What work on a release needs at hand, opened once and shared by all buckets of a process.

Nothing is opened before it is used: a plan needs no connection, a status no workers.
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from danbooru_pipeline.errors import DanbooruPipelineError, SourceBlocked, SourceError
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.images import ImagePool, ImageSettings
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.report import load_posts_report
from danbooru_pipeline.posts.takedowns import read_takedowns
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import ApiSource, BulkSource, PostUpdates, Source, recheck_posts
from danbooru_pipeline.sources.excluding import BulkSourceWithout, SourceWithout
from danbooru_pipeline.sources.open import open_bulk

if TYPE_CHECKING:
    from danbooru_pipeline.progress import Watch

T = TypeVar("T")


def _now() -> datetime:
    return datetime.now(UTC)


class RunContext:
    """Settings, paths, the client, the downloads and the image workers. Use it as a context manager.

    Args:
        settings: the operator's choices.
        now: the clock of the whole project; tests pass their own.

    Attributes:
        worked_seconds: CPU time that the threads of runs spent in the work itself, and not in orchestrating it.
        stopped_by: the error that ended the last piece of work, if one did.
        counted: sums over all buckets that were worked on, those that failed as well.
        watch: is shown how work on buckets goes on; None when nobody looks.
    """

    def __init__(self, settings: Settings, *, now: Callable[[], datetime] = _now) -> None:
        self.settings = settings
        self.layout = Layout(settings.root)
        self.now = now
        self.worked_seconds = 0.0
        self.stopped_by: DanbooruPipelineError | None = None
        self.counted: Counter[str] = Counter()
        self.watch: Watch | None = None
        self._api_is_silent = False
        self._stack = contextlib.ExitStack()
        self._opened: dict[str, Any] = {}
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if "client" in self._opened:
            self.client.limiter.close()  # nobody who waits for the pace may hold up the end
        self._stack.__exit__(kind, error, trace)

    def _once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` makes, the first time; threads of several buckets may ask at once."""
        with self._lock:
            if name not in self._opened:
                self._opened[name] = make()
            made: T = self._opened[name]
            return made

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Count the time of the work itself, and keep the error that ended it for whoever started the run."""
        began = time.thread_time()
        try:
            yield
        except DanbooruPipelineError as error:
            self.stopped_by = error
            raise
        finally:
            spent = time.thread_time() - began
            with self._lock:
                self.worked_seconds += spent

    @property
    def client(self) -> BooruClient:
        """Paced requests to the booru."""
        return self._once("client", lambda: self._stack.enter_context(BooruClient(self.settings)))

    @property
    def source(self) -> Source | BulkSource:
        """Where posts come from, less what was taken down."""
        return self._source(self.settings.posts_source)

    @property
    def tables_source(self) -> Source | BulkSource:
        """Where side tables come from, less what was taken down."""
        return self._source(self.settings.tables_source or self.settings.posts_source)

    def _source(self, name: str) -> Source | BulkSource:
        gone = read_takedowns(self.layout).ids
        if name == "api":
            return SourceWithout(ApiSource(self.client), gone)
        return BulkSourceWithout(self._once(name, lambda: open_bulk(name, self.settings, now=self.now())), gone)

    def recheck_posts(self, ids: Sequence[int], *, control_id: int | None, year: int) -> PostUpdates:
        """What the booru says of posts now; no news from one whose API does not answer, which is asked once only.

        Args:
            ids: of posts whose files could not be had.
            control_id: another post of theirs that the booru should know; without one the last of the year is.
            year: of the release.

        Raises:
            SourceBlocked: the booru refuses us as a client.
        """
        if self._api_is_silent:
            return PostUpdates()
        try:
            return recheck_posts(self.client, ids, control_id=control_id or self._last_id(year))
        except SourceBlocked:
            raise
        except SourceError:
            self._api_is_silent = True
            return PostUpdates()

    def _last_id(self, year: int) -> int | None:
        return load_posts_report(self.layout, year).max_id

    @property
    def downloads(self) -> ThreadPoolExecutor:
        """Threads that download; their number is the number of parallel downloads."""
        return self._once("downloads", self._start_downloads)

    def _start_downloads(self) -> ThreadPoolExecutor:
        threads = ThreadPoolExecutor(self.settings.downloads, thread_name_prefix="download")
        self._stack.callback(threads.shutdown, cancel_futures=True)
        return threads

    @property
    def images(self) -> ImagePool:
        """Killable image workers."""
        return self._once("images", lambda: self._stack.enter_context(ImagePool(self.settings.workers)))

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

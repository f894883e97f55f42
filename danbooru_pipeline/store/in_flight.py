"""Files of a bucket in flight: downloads and image workers are kept busy, some files at a time.

Threads take values and return values; they share nothing.
"""

from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import DiskFull
from danbooru_pipeline.fetch import Downloaded, download_file
from danbooru_pipeline.images import ImageJob, ImageResult
from danbooru_pipeline.layout import ARCHIVE_EXTENSION
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.store.adoption import Obtained, adopt_file
from danbooru_pipeline.store.ledger import LedgerRow
from danbooru_pipeline.years import sfw_ratings

#: Files of a bucket in flight for each parallel download: enough to keep the image workers busy as well. All of a
#: large bucket at once cost 5 ms a post in waiting alone.
WINDOW_PER_DOWNLOAD: Final = 4
JPG_NAMES: Final = frozenset({"jpg", "jpeg"})


@dataclass(frozen=True, slots=True)
class Processed:
    """A file after its download or adoption, and after its image job if it is in place."""

    fetch: Fetch
    obtained: Obtained
    result: ImageResult | None = None


def process_files(
    context: RunContext, files: Iterable[Fetch], *, known: Mapping[int, LedgerRow], year: int, meter: Meter
) -> Generator[Processed, None, None]:
    """Obtain files, optimise them and make their 512px images; yield each when it is done.

    Close the generator when you leave it: nothing may go on writing once the bucket's lock is gone.

    Args:
        context: its downloads and image workers do the work.
        files: of the bucket.
        known: rows of earlier builds by id, for adoption.
        year: of the release, which says whose 512px images are wanted.
        meter: counts the files as they arrive.

    Raises:
        SourceError: the file host as a whole cannot be used.
    """
    left, window = iter(files), WINDOW_PER_DOWNLOAD * context.settings.downloads
    downloads: dict[Future[Obtained], Fetch] = {}
    images: dict[Future[ImageResult], Processed] = {}
    try:
        while True:
            for fetch in islice(left, max(0, window - len(downloads) - len(images))):
                downloads[context.downloads.submit(_obtain, context, fetch, known.get(fetch.id))] = fetch
            if not downloads and not images:
                return
            _wait_for_one(downloads, images)
            for download in [future for future in downloads if future.done()]:
                ready = Processed(downloads.pop(download), download.result())
                meter.count_file(ready.obtained.got.size or 0, ready.obtained.got.reason)
                if ready.obtained.got.in_place:
                    images[context.images.submit(_job(context, ready, year))] = ready
                else:
                    yield ready
            for image in [future for future in images if future.done()]:
                ready = images.pop(image)
                yield Processed(ready.fetch, ready.obtained, image.result())
    finally:
        unfinished: list[Future[Any]] = [*downloads, *images]
        wait([future for future in unfinished if not future.cancel()])


def _wait_for_one(downloads: Iterable[Future[Obtained]], images: Iterable[Future[ImageResult]]) -> None:
    running: list[Future[Any]] = [*downloads, *images]
    wait(running, return_when=FIRST_COMPLETED)


def _obtain(context: RunContext, fetch: Fetch, known: LedgerRow | None) -> Obtained:
    """The file of a post: adopted when the right one is there, else downloaded. Runs in a thread of its own."""
    try:
        adopted = adopt_file(context, fetch, known)
        target = context.layout.original(fetch.id, fetch.ext)
        return adopted or Obtained(got=download_file(context.client, fetch, target))
    except DiskFull as error:  # smaller files may fit, and files of the store make room when they shrink
        return Obtained(got=Downloaded(reason=Reason.DISK_FULL), full=error)


def _job(context: RunContext, ready: Processed, year: int) -> ImageJob:
    """The image job of a file that is in place; one that has already been optimised is left alone."""
    fetch, obtained = ready.fetch, ready.obtained
    archive = context.layout.original(fetch.id, ARCHIVE_EXTENSION)
    path = archive if obtained.is_archive else context.layout.original(fetch.id, fetch.ext)
    archives_jpgs = context.image_settings.jpg_archive == "jxl"
    return ImageJob(
        source=path,
        original=None if obtained.is_archive or obtained.was_optimized else path,
        archive=archive if archives_jpgs and fetch.ext in JPG_NAMES else None,
        px512=context.layout.px512(fetch.id) if fetch.rating in sfw_ratings(year) else None,
        settings=context.image_settings,
    )

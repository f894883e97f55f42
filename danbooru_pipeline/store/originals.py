"""A bucket's originals: ask for what is new or changed, check it, optimise it, and write down what became of it.

Order on disk, so that a kill at any moment leaves no lie: the file under its final name first, its ledger row after.
A file that has no row is looked at again and taken over when it is what the metadata say.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import DiskFull, SourceError, StoreError, full_disk_named, is_disk_full
from danbooru_pipeline.fetch import Downloaded, download_file, part_names
from danbooru_pipeline.images import IMAGE_TYPES, ImageJob, ImageResult
from danbooru_pipeline.io.atomic import fsync_folder, remove_parts
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.io.sha256 import sha256_or_none
from danbooru_pipeline.layout import ARCHIVE_EXTENSION, STORED_EXTENSIONS
from danbooru_pipeline.outcomes import REASONS, Reason, Status
from danbooru_pipeline.posts import Post, read_posts
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.sources import PostUpdates, save_updates
from danbooru_pipeline.store.adoption import Adopter
from danbooru_pipeline.store.journal import Journal
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger, write_ledger
from danbooru_pipeline.store.plan import BucketPlan, list_files, plan_bucket
from danbooru_pipeline.years import sfw_ratings

#: Work that a kill may cost to look at again, in seconds.
CHECKPOINT_SECONDS: Final = 10.0
#: Posts of a bucket in work at once, for each parallel download: enough to keep the image workers busy as well. All of
#: a large bucket at once cost 5 ms a post in waiting alone.
WINDOW_PER_DOWNLOAD: Final = 4
#: Outcomes that may have a cause upstream: the post was replaced, hidden or expunged since the sweep.
RECHECK_REASONS: Final = frozenset(
    reason
    for reason, (status, _) in REASONS.items()
    if status is Status.PENDING or reason in {Reason.GONE, Reason.TOO_LARGE}
)
JPG_NAMES: Final = frozenset({"jpg", "jpeg"})
#: What the decoder says of a file that is broken.
DAMAGE: Final = frozenset({"truncated", "corrupt"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalsReport:
    """What work on a bucket's originals came to. Sizes in bytes.

    Attributes:
        posts: of the release in this bucket.
        files: originals in the store for them.
        requests: how often the file host was asked.
        fetched: files that came; `changed` of the planned ones replace another file.
        adopted: files that were there already and only lacked their row.
        reasons: of all rows of this release's posts that have one.
    """

    posts: int
    files: int
    requests: int
    fetched: int
    changed: int
    adopted: int
    bytes_fetched: int
    bytes_stored: int
    bytes_saved: int
    px512_made: int
    reasons: Mapping[str, int]
    pending: int
    seconds: float


def build_originals(context: RunContext, bucket: str, year: int, *, meter: Meter | None = None) -> OriginalsReport:
    """Complete a bucket's originals up to the cutoff of a release; `meter` counts the files as they come.

    Raises:
        SourceBlocked: the file host refuses us.
        DiskFull: there was no room for some files; those that fit are there, and the ledger says which are not.
    """
    # Where not even the ledger can be written, the next run adopts what is whole. The lock is for runs of two years,
    # which may meet in one bucket.
    with exclusive(context.layout.bucket_lock(bucket)), full_disk_named(context.layout.root):
        return _OriginalsOfBucket(context, bucket, year, meter or Meter()).run()


def read_bucket_posts(context: RunContext, bucket: str, year: int) -> list[Post]:
    """The posts of a bucket, with what was learned since the sweep; none when the split made no file for it."""
    layout = context.layout
    return read_posts(layout.posts_bucket(year, bucket), refreshed=layout.refreshed(year, bucket))


def plan_originals(context: RunContext, bucket: str, year: int) -> BucketPlan:
    """What `build_originals` would do. Touches nothing."""
    return _plan(context, bucket, year, read_ledger(context.layout.ledger(bucket)))


def _plan(context: RunContext, bucket: str, year: int, ledger: Mapping[int, LedgerRow]) -> BucketPlan:
    return plan_bucket(
        read_bucket_posts(context, bucket, year),
        ledger,
        list_files(context.layout.original_bucket(bucket)),
        exclude_tags=context.exclude_tags,
        release=year,
    )


class _OriginalsOfBucket:
    """One bucket in work, its lock held."""

    def __init__(self, context: RunContext, bucket: str, year: int, meter: Meter) -> None:
        self.context, self.bucket, self.year, self.meter = context, bucket, year, meter
        self.folder = context.layout.original_bucket(bucket)
        self.journal = Journal(context.layout.ledger_journal(bucket))
        self.saved = read_ledger(context.layout.ledger(bucket))
        self.old = self.saved | {row.id: row for row in self.journal.read() if self._row_matches_file(row)}
        self.rows = dict(self.old)
        self.adopter = Adopter(context, self.old)
        self.count: Counter[str] = Counter()
        self.full: DiskFull | None = None
        self.saved_at = self.began = time.monotonic()

    def run(self) -> OriginalsReport:
        plan = _plan(self.context, self.bucket, self.year, self.old)
        remove_parts(self.folder, keep=_parts_of(plan.fetch))
        remove_parts(self.context.layout.px512_bucket(self.bucket))
        self.rows |= {row.id: row for row in (*plan.keep, *plan.settle)}
        try:
            self._fetch_all(plan.fetch)
            self._fetch_all(self._ask_again(plan.fetch))
        except (SourceError, StoreError):
            with contextlib.suppress(OSError):  # a full disk may not take even this
                self._write_ledger()  # what was learned before the source or the disk gave out stays known
            raise
        finally:
            self.journal.close()
        self._write_ledger()
        self._remove_superseded()
        if self.full is not None:
            raise self.full
        return self._report(plan)

    def _row_matches_file(self, row: LedgerRow) -> bool:
        """Whether a row that a killed run left speaks of the very file that is there."""
        if row.status is not Status.OK or row.held_ext not in STORED_EXTENSIONS:
            return row.status is not Status.OK
        return (
            row.sha256 is not None and sha256_or_none(self.context.layout.original(row.id, row.held_ext)) == row.sha256
        )

    def _fetch_all(self, posts: tuple[Post, ...]) -> None:
        """Keep downloads and image workers busy, some posts at a time; write the ledger now and then."""
        left = iter(posts)
        downloads: dict[Future[Downloaded], Post] = {}
        images: dict[Future[ImageResult], tuple[Post, Downloaded]] = {}
        window = WINDOW_PER_DOWNLOAD * self.context.settings.downloads
        try:
            while True:
                for post in islice(left, max(0, window - len(downloads) - len(images))):
                    downloads[self.context.downloads.submit(self._obtain, post)] = post
                if not downloads and not images:
                    return
                running: list[Future[Any]] = [*downloads, *images]
                wait(running, return_when=FIRST_COMPLETED)
                for download in [future for future in downloads if future.done()]:
                    self._take_download(downloads.pop(download), download.result(), images)
                for image in [future for future in images if future.done()]:
                    self._take_image(*images.pop(image), image.result())
                self._checkpoint()
        finally:
            # After an error nothing may go on writing once the bucket's lock is gone.
            unfinished: list[Future[Any]] = [*downloads, *images]
            wait([future for future in unfinished if not future.cancel()])

    def _ask_again(self, posts: tuple[Post, ...]) -> tuple[Post, ...]:
        """Ask the source about posts whose file could not be had. Returns those that have another file now."""
        doubtful = [post.id for post in posts if self.rows[post.id].reason in RECHECK_REASONS]
        others = (post.id for post in self._posts() if post.id not in doubtful and post.visible)
        news = (
            self.context.recheck_posts(doubtful, control_id=next(others, None), year=self.year)
            if doubtful
            else PostUpdates()
        )
        if not news.rows and not news.expunged:
            return ()
        save_updates(self.context.layout, self.year, self.bucket, news)
        plan = _plan(self.context, self.bucket, self.year, self.rows)
        self.rows |= {row.id: row for row in plan.settle}
        return tuple(post for post in plan.fetch if post.id in news.rows and self.rows[post.id].md5 != post.md5)

    def _posts(self) -> list[Post]:
        return read_bucket_posts(self.context, self.bucket, self.year)

    def _obtain(self, post: Post) -> Downloaded:
        """The file that is there already, when it is the right one; else a download."""
        assert post.ext is not None, "planned posts name a file"
        target = self.context.layout.original(post.id, post.ext)
        try:
            return self.adopter.adopt(post) or download_file(self.context.client, post, target)
        except DiskFull as error:  # smaller files may fit, and files of the store make room when they shrink
            self.full = error
            return Downloaded(reason=Reason.DISK_FULL)

    def _take_download(
        self, post: Post, got: Downloaded, images: dict[Future[ImageResult], tuple[Post, Downloaded]]
    ) -> None:
        self.count["requests"] += got.requests
        self.meter.count_file(got.size or 0, got.reason)
        if not got.in_place:
            self._record(post, got, reason=got.reason)
            return
        self.count["fetched" if got.requests else "adopted"] += 1
        self.count["bytes_fetched"] += (got.size or 0) if got.requests else 0
        images[self.context.images.submit(self._job(post))] = (post, got)

    def _job(self, post: Post) -> ImageJob:
        assert post.ext is not None, "planned posts name a file"
        archive = self.context.layout.original(post.id, ARCHIVE_EXTENSION)
        path = archive if post.id in self.adopter.archived else self.context.layout.original(post.id, post.ext)
        wanted = post.rating in sfw_ratings(self.year)
        return ImageJob(
            source=path,
            original=None if self.adopter.is_done(post.id) else path,
            archive=archive if self.context.image_settings.jpg_archive == "jxl" and post.ext in JPG_NAMES else None,
            px512=self.context.layout.px512(post.id) if wanted else None,
            settings=self.context.image_settings,
        )

    def _take_image(self, post: Post, got: Downloaded, result: ImageResult) -> None:
        reason = Reason.MD5_DIFFERS if got.md5 != post.md5 else Reason.REPLACED if post.replaced else None
        flags = result.facts.flags if result.facts else ()
        wanted = post.rating in sfw_ratings(self.year)
        made = wanted and result.px512_reason is None
        if not made:
            self.context.layout.px512(post.id).unlink(missing_ok=True)  # that of an earlier file, if any
        if reason is Reason.MD5_DIFFERS and (not DAMAGE.isdisjoint(flags) or _looks_cut_off(post, got, result)):
            held = result.stored_ext or post.ext
            assert held is not None, "planned posts name a file"
            self.context.layout.original(post.id, held).unlink()
            self._record(post, replace(got, in_place=False), reason=Reason.MD5_MISMATCH)
            return
        self.count["px512_made"] += made
        self._record(post, got, reason=reason, result=result, px512_wanted=wanted)

    def _record(
        self,
        post: Post,
        got: Downloaded,
        *,
        reason: Reason | None,
        result: ImageResult | None = None,
        px512_wanted: bool = False,
    ) -> None:
        old = self.old.get(post.id)
        first = self.year if old is None or old.first_release is None else min(old.first_release, self.year)
        tries = got.requests + (old.attempts if old is not None and old.md5 == post.md5 else 0)
        row = LedgerRow(
            id=post.id,
            md5=post.md5,
            ext=post.ext,
            reason=reason,
            attempts=tries,
            http_status=got.http_status,
            fetched_at=self.context.now(),
            first_release=first,
        )
        self._keep(
            row if result is None else _with_result(row, got, result, px512_wanted=px512_wanted, context=self.context)
        )
        if old is not None and result is not None and post.id in self.adopter.optimized:
            self.rows[post.id] = replace(self.rows[post.id], optimized_by=old.optimized_by, kept=old.kept)

    def _keep(self, row: LedgerRow) -> None:
        self.rows[row.id] = row
        try:
            self.journal.add(row)
        except OSError as error:
            if not is_disk_full(error):
                raise
            # After a kill the file is adopted without its row, by a hash.

    def _checkpoint(self) -> None:
        if time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
            self._write_ledger()
            self.saved_at = time.monotonic()

    def _write_ledger(self) -> None:
        if self.rows != self.saved:
            if self.folder.is_dir():
                fsync_folder(self.folder)  # names first: no row may outlive the file that it speaks of
            write_ledger(self.context.layout.ledger(self.bucket), self.rows.values())
            self.saved = dict(self.rows)
        self.journal.clear()

    def _remove_superseded(self) -> None:
        """Remove files of posts that have another extension now; releases that hold them keep their own link."""
        for name in list_files(self.folder):
            stem, _, ext = name.partition(".")
            row = self.rows.get(int(stem)) if stem.isdigit() else None
            if row is None or row.status is not Status.OK:
                continue
            if ext in STORED_EXTENSIONS and ext != row.held_ext:
                (self.folder / name).unlink(missing_ok=True)

    def _report(self, plan: BucketPlan) -> OriginalsReport:
        ids = {post.id for post in plan.fetch} | {row.id for row in (*plan.keep, *plan.settle)}
        rows = [row for row in self.rows.values() if row.id in ids and row.reason is not Reason.EXPUNGED]
        stored = [row for row in rows if row.status is Status.OK]
        return OriginalsReport(
            posts=len(rows),
            files=len(stored),
            requests=self.count["requests"],
            fetched=self.count["fetched"],
            changed=plan.changed,
            adopted=self.count["adopted"],
            bytes_fetched=self.count["bytes_fetched"],
            bytes_stored=sum(row.size or 0 for row in stored),
            bytes_saved=sum((row.source_size or 0) - (row.size or 0) for row in stored),
            px512_made=self.count["px512_made"],
            reasons=dict(Counter(str(row.reason) for row in rows if row.reason is not None)),
            pending=sum(row.status is Status.PENDING for row in rows),
            seconds=time.monotonic() - self.began,
        )


def _parts_of(posts: Iterable[Post]) -> frozenset[str]:
    """Names of the parts that downloads of these posts can go on with."""
    return frozenset(name for post in posts for name in part_names(f"{post.id}.{post.ext}", str(post.md5)))


def _looks_cut_off(post: Post, got: Downloaded, result: ImageResult) -> bool:
    """Whether a file that no decoder can vouch for has another length than the metadata announce."""
    decoded = result.facts is not None and result.facts.file_type in IMAGE_TYPES
    return (not decoded and post.file_size not in {None, got.size}) or result.px512_reason is Reason.UNDECODABLE


def _with_result(
    row: LedgerRow, got: Downloaded, result: ImageResult, *, px512_wanted: bool, context: RunContext
) -> LedgerRow:
    facts = result.facts
    return replace(
        row,
        stored_ext=result.stored_ext,
        size=result.size,
        sha256=result.sha256,
        source_size=got.size,
        fetched_md5=got.md5,
        file_type=facts.file_type if facts else None,
        width=facts.width if facts else None,
        height=facts.height if facts else None,
        pages=facts.pages if facts else None,
        flags=facts.flags if facts else (),
        alpha=facts.alpha if facts else None,
        color_space=facts.color_space if facts else None,
        has_profile=facts.has_profile if facts else None,
        orientation=facts.orientation if facts else None,
        optimized_by=result.optimized_by,
        kept=result.kept,
        optimized=result.optimized or result.size != got.size,
        px512_reason=result.px512_reason,
        px512_size=result.px512_size,
        px512_sha256=result.px512_sha256,
        px512_background=result.background,
        px512_flags=result.px512_flags,
        px512_settings=context.image_settings.fingerprint() if px512_wanted else None,
    )

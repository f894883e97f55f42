"""A bucket's originals: fetch what is new or changed, check it, optimise it, and record each outcome in the ledger.

`plan` decides what to do, from what `planning` reads; `in_flight` does it, `recheck` asks the source about files that
could not be fetched, and `open_ledger` keeps the rows. This module joins them and turns each outcome into a row.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import DiskFull, full_disk_named
from danbooru_pipeline.fetch import Downloaded
from danbooru_pipeline.images import IMAGE_TYPES, Flag, ImageResult
from danbooru_pipeline.layout import STORED_EXTENSIONS
from danbooru_pipeline.outcomes import Reason, Status
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.store.columns import Origin, values_from
from danbooru_pipeline.store.in_flight import Processed, process_files
from danbooru_pipeline.store.ledger import DAMAGE, LEDGER_COLUMNS, LedgerRow, with_px512
from danbooru_pipeline.store.leftovers import clear_leftovers
from danbooru_pipeline.store.open_ledger import OpenLedger, open_ledger
from danbooru_pipeline.store.plan import BucketPlan, list_files
from danbooru_pipeline.store.planning import plan_stored_bucket, require_posts
from danbooru_pipeline.store.recheck import (
    RECHECK_REASONS,
    ask_before_fetching,
    failed_ids,
    recheck_bucket,
    seen_in_sweep,
)
from danbooru_pipeline.years import sfw_ratings

#: Numbers of a report that the two steps of a build add up to.
_SUMMED: Final = ("requests", "fetched", "adopted", "bytes_fetched", "px512_made", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalsReport:
    """What a build did for a bucket's originals, and what they are now. Sizes in bytes.

    Attributes:
        posts: of the release in this bucket.
        files: originals in the store for them.
        requests: to the file host.
        fetched: files that came; `changed` of the planned ones replace another file.
        adopted: files that were there already and only lacked their row.
        reasons: of all rows of this release's posts that have one.
        failed: ids of posts that the source has still to be asked about; `ask_about_failed` does.
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
    failed: tuple[int, ...] = ()


def build_originals(
    context: RunContext,
    bucket: str,
    year: int,
    *,
    meter: Meter | None = None,
    recheck: frozenset[Reason] = frozenset(),
    ask_later: bool = False,
) -> OriginalsReport:
    """Complete a bucket's originals up to the cutoff of a release.

    Args:
        context: what the process has open.
        bucket: its name.
        year: of the release.
        meter: counts the files as they come.
        recheck: reasons whose posts are asked about again, though a build of this release has asked already.
        ask_later: leave it to `ask_about_failed` to ask the source about files that could not be fetched.

    Raises:
        StoreError: the posts of the year were not brought yet.
        SourceBlocked: the file host refuses us.
        DiskFull: there was no room for some files; those that fit are there, and the ledger says which are not.
    """
    layout = context.layout
    require_posts(layout, year)
    # Where not even the ledger can be written, the next build adopts what is whole.
    with open_ledger(layout, bucket) as ledger, full_disk_named(layout.root):
        began = time.monotonic()
        plan = _settle(context, ledger, bucket, year, recheck=recheck)
        clear_leftovers(layout, bucket, plan.fetch)
        work = _Originals(context, ledger, year, meter or Meter())
        full = work.process(plan.fetch)
        failed = failed_ids(ledger, plan.fetch, asked=plan.recheck)
        if not ask_later:
            full = work.process(recheck_bucket(context, ledger, bucket, year, failed=failed)) or full
        work.finish(bucket, full)
        report = _report(plan, ledger.rows, work.count, year=year, seconds=time.monotonic() - began)
        return replace(report, failed=failed if ask_later else ())


def ask_about_failed(
    context: RunContext, bucket: str, year: int, *, before: OriginalsReport, meter: Meter | None = None
) -> OriginalsReport:
    """Ask the source about what a build of a bucket could not fetch, and fetch what it shows instead.

    Apart from the build, so that the buckets of a run share requests (see `Rechecker.expect`).

    Args:
        context: what the process has open.
        bucket: its name.
        year: of the release.
        before: the report of the build.
        meter: counts the files as they come.

    Raises:
        SourceBlocked: the booru refuses us.
        DiskFull: there was no room for some files.
    """
    with open_ledger(context.layout, bucket) as ledger, full_disk_named(context.layout.root):
        began = time.monotonic()
        plan = plan_stored_bucket(context.layout, bucket, year, ledger=ledger.known, exclude_tags=context.exclude_tags)
        work = _Originals(context, ledger, year, meter or Meter())
        changed = recheck_bucket(context, ledger, bucket, year, failed=before.failed)
        work.finish(bucket, work.process(changed))
        after = _report(plan, ledger.rows, work.count, year=year, seconds=time.monotonic() - began)
    sums = {name: getattr(before, name) + getattr(after, name) for name in _SUMMED}
    return replace(after, changed=before.changed, **sums)


@dataclass(frozen=True, slots=True)
class Ahead:
    """Files that were fetched ahead of their release.

    Attributes:
        files, bytes: that came.
        left: ids of posts whose file did not come, or is not the one that its MD5 names.
        full: the error, when the disk had no room for one of them.
    """

    files: int
    bytes: int
    left: frozenset[int]
    full: DiskFull | None


def fetch_ahead(
    context: RunContext, ledger: OpenLedger, files: Iterable[Fetch], *, year: int, meter: Meter | None = None
) -> Ahead:
    """Fetch files of posts that the ledger has no row of, before the release that will hold them.

    What comes is stored as a build stores it. Anything but the file that the MD5 names leaves no trace, so the build
    finds nothing that it would have decided otherwise.

    Args:
        context: what the process has open.
        ledger: of the bucket; the caller writes it.
        files: to fetch.
        year: of the release.
        meter: counts the files as they come.

    Raises:
        SourceError: the file host cannot be used.
    """
    work = _Originals(context, ledger, year, meter or Meter(), proven_only=True)
    full = work.process(files)
    return Ahead(work.count["fetched"] + work.count["adopted"], work.count["bytes_fetched"], frozenset(work.left), full)


def _settle(
    context: RunContext, ledger: OpenLedger, bucket: str, year: int, *, recheck: frozenset[Reason]
) -> BucketPlan:
    """Plan a bucket, ask about what is not held, and settle what needs no file. Returns the plan of what is left."""
    layout, excluded = context.layout, context.exclude_tags
    plan = plan_stored_bucket(layout, bucket, year, ledger=ledger.known, exclude_tags=excluded, recheck=recheck)
    ledger.settle((*plan.keep, *plan.settle))
    plan = ask_before_fetching(context, ledger, bucket, year, plan=plan, recheck=recheck)
    ledger.settle(seen_in_sweep((ledger.rows[row.id] for row in (*plan.keep, *plan.settle)), layout, year))
    return plan


@dataclass(frozen=True, slots=True)
class _Originals:
    """Processes the files of one bucket, records the outcome of each, and counts."""

    context: RunContext
    ledger: OpenLedger
    year: int
    meter: Meter
    count: Counter[str] = field(default_factory=Counter)
    proven_only: bool = False
    left: set[int] = field(default_factory=set)

    def process(self, files: Iterable[Fetch]) -> DiskFull | None:
        """Process files. Returns the error of the last one that did not fit on the disk."""
        full: DiskFull | None = None
        processed = process_files(self.context, files, known=self.ledger.known, year=self.year, meter=self.meter)
        with contextlib.closing(processed):
            for done in processed:
                full = done.obtained.full or full
                if self.proven_only and done.obtained.got.md5 != done.fetch.md5:
                    self._leave(done)
                    continue
                self._count(done.obtained.got)
                row, requests = self._row_of(done), done.obtained.got.requests
                is_open = row.reason in RECHECK_REASONS  # until the source has answered; see `recheck_bucket`
                self.ledger.record(self._checked(row, was_asked=requests > 0 and not is_open))
        return full

    def finish(self, bucket: str, full: DiskFull | None) -> None:
        """Write the ledger, and raise the error of files that did not fit."""
        self.ledger.write()
        _remove_superseded(self.context, bucket, self.ledger)
        if full is not None:
            raise full

    def _leave(self, done: Processed) -> None:
        """Leave a post as if its file had not been asked for."""
        self.left.add(done.fetch.id)
        if done.result is not None:
            self.context.layout.original(done.fetch.id, done.result.stored_ext or done.fetch.ext).unlink()
            self.context.layout.px512(done.fetch.id).unlink(missing_ok=True)

    def _count(self, got: Downloaded) -> None:
        self.count["requests"] += got.requests
        if got.in_place:
            self.count["fetched" if got.requests else "adopted"] += 1
            self.count["bytes_fetched"] += (got.size or 0) if got.requests else 0

    def _row_of(self, done: Processed) -> LedgerRow:
        """The row of a processed file; a file that must be the wrong one is removed first."""
        fetch, got, result = done.fetch, done.obtained.got, done.result
        if result is None:
            return self._attempt(fetch, got, reason=got.reason)
        layout = self.context.layout
        px512_wanted = fetch.rating in sfw_ratings(self.year)
        px512_made = px512_wanted and result.px512_reason is None
        if not px512_made:
            layout.px512(fetch.id).unlink(missing_ok=True)  # of an earlier file
        if got.md5 != fetch.md5 and _is_damaged(fetch, got, result):
            layout.original(fetch.id, result.stored_ext or fetch.ext).unlink()
            return self._attempt(fetch, got, reason=Reason.MD5_MISMATCH)
        self.count["px512_made"] += px512_made
        reason = Reason.MD5_DIFFERS if got.md5 != fetch.md5 else Reason.REPLACED if fetch.replaced else None
        settings = self.context.image_settings.fingerprint() if px512_wanted else None
        row = with_px512(_with_file(self._attempt(fetch, got, reason=reason), got, result), result, settings=settings)
        old = self.ledger.known.get(fetch.id)
        if old is not None and done.obtained.was_optimized:
            return replace(row, optimized_by=old.optimized_by, kept=old.kept)
        return row

    def _attempt(self, fetch: Fetch, got: Downloaded, *, reason: Reason | None) -> LedgerRow:
        """The row of a post after an attempt at its file, without facts of the file."""
        old = self.ledger.known.get(fetch.id)
        first = self.year if old is None or old.first_release is None else min(old.first_release, self.year)
        same = old if old is not None and old.md5 == fetch.md5 else None
        return LedgerRow(
            id=fetch.id,
            md5=fetch.md5,
            ext=fetch.ext,
            reason=reason,
            source_pixel_hash=fetch.pixel_hash or (same.source_pixel_hash if same else None),
            attempts=got.requests + (same.attempts if same else 0),
            http_status=got.http_status,
            fetched_at=self.context.now(),
            first_release=first,
        )

    def _checked(self, row: LedgerRow, *, was_asked: bool) -> LedgerRow:
        """A row that says when the source was last asked about its file: now, or as the last row says."""
        last = self.ledger.rows.get(row.id)
        row = row if last is None else replace(row, checked_at=last.checked_at, checked_release=last.checked_release)
        return row.checked(at=self.context.now(), release=self.year) if was_asked else row


def _with_file(row: LedgerRow, got: Downloaded, result: ImageResult) -> LedgerRow:
    """A row with the facts of the file that is in place; see `columns` for where each comes from."""
    return replace(
        row,
        **values_from(got, Origin.DOWNLOAD, LEDGER_COLUMNS),
        **values_from(result, Origin.RESULT, LEDGER_COLUMNS),
        **({} if result.facts is None else values_from(result.facts, Origin.FILE, LEDGER_COLUMNS)),
        optimized=result.optimized or result.size != got.size,
    )


def _is_damaged(fetch: Fetch, got: Downloaded, result: ImageResult) -> bool:
    """Whether a file whose MD5 is not the metadata's is broken or cut off, as far as can be told."""
    flags = result.facts.flags if result.facts else ()
    decoded = (
        result.facts is not None
        and result.facts.file_type in IMAGE_TYPES
        and not result.unprocessed
        and Flag.TOO_MANY_SCANS not in flags
    )
    has_other_length = not decoded and fetch.file_size not in {None, got.size}  # no decoder can tell
    return not DAMAGE.isdisjoint(flags) or has_other_length or result.px512_reason is Reason.UNDECODABLE


def _remove_superseded(context: RunContext, bucket: str, ledger: OpenLedger) -> None:
    """Remove files of posts that have another extension now; releases that hold them keep their own link."""
    folder = context.layout.original_bucket(bucket)
    for name in list_files(folder):
        stem, _, ext = name.partition(".")
        row = ledger.rows.get(int(stem)) if stem.isdigit() else None
        if row is None or row.status is not Status.OK:
            continue
        if ext in STORED_EXTENSIONS and ext != row.held_ext:
            (folder / name).unlink(missing_ok=True)


def _report(
    plan: BucketPlan, rows: Mapping[int, LedgerRow], count: Counter[str], *, year: int, seconds: float
) -> OriginalsReport:
    ids = {fetch.id for fetch in plan.fetch} | {row.id for row in (*plan.keep, *plan.settle)}
    ours = [row for row in rows.values() if row.id in ids and (row.first_release or year) <= year]
    released = [row for row in ours if row.reason is not Reason.EXPUNGED]
    stored = [row for row in released if row.status is Status.OK]
    return OriginalsReport(
        posts=len(released),
        files=len(stored),
        requests=count["requests"],
        fetched=count["fetched"],
        changed=plan.changed,
        adopted=count["adopted"],
        bytes_fetched=count["bytes_fetched"],
        bytes_stored=sum(row.size or 0 for row in stored),
        bytes_saved=sum((row.source_size or 0) - (row.size or 0) for row in stored),
        px512_made=count["px512_made"],
        reasons=dict(Counter(str(row.reason) for row in released if row.reason is not None)),
        pending=sum(row.status is Status.PENDING for row in released),
        seconds=seconds,
    )

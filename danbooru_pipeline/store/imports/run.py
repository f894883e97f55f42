"""Runs an import, bucket by bucket: find what the store lacks, prove it, give it its name, then write its row.

The order on disk is that of a build: the file under its final name first, its row after, under the bucket's lock. A
file that its MD5 proves gets no row here: the next build adopts it by that MD5, and optimises it. So a kill at any
point leaves a store that a build or another import completes.
"""

import contextlib
import os
import stat
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import DiskFull, StoreError, full_disk_named
from danbooru_pipeline.io.atomic import (
    READ_ONLY,
    commit_part,
    copy_file,
    fsync_file,
    fsync_folder,
    link_or_copy,
    part_path,
)
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import BUCKET_COUNT, BUCKETS, Layout
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.progress import Meter, human_bytes
from danbooru_pipeline.store.imports.candidates import Candidate, Finder, Holding, Skipped
from danbooru_pipeline.store.imports.held import Held
from danbooru_pipeline.store.imports.proof import Judged, Outcome, judge, row_of
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger
from danbooru_pipeline.store.open_ledger import OpenLedger, open_ledger
from danbooru_pipeline.store.plan import list_files
from danbooru_pipeline.store.planning import plan_stored_bucket
from danbooru_pipeline.years import sfw_ratings

_TAKEN = frozenset({Outcome.SHA256, Outcome.MD5, Outcome.PIXEL_HASH})
#: Candidates that are read ahead for each worker.
_WAITING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did. Sizes in bytes.

    Attributes:
        wanted: files that the store lacked, for posts that show one.
        outcomes: candidates by what became of them.
        taken, bytes: files that the store has now, or would have.
        linked: of those, how many share their bytes with what was imported.
        px512: 512px images that came with them.
        left, left_bytes: files that a build will fetch; sizes as far as the metadata has them.
        problems: one line for each path that could not be read, or whose files could not be removed.
    """

    year: int
    wanted: int
    outcomes: Mapping[str, int]
    taken: int
    linked: int
    px512: int
    bytes: int
    left: int
    left_bytes: int
    problems: tuple[str, ...]
    dry_run: bool

    def lines(self) -> list[str]:
        """The report for people."""
        counts = ", ".join(f"{name} {count:,}" for name, count in sorted(self.outcomes.items())) or "nothing found"
        would = "would take" if self.dry_run else "took"
        return [
            *self.problems,
            f"{self.year}: the store lacked {self.wanted:,} files; candidates: {counts}",
            f"{would} {self.taken:,} files, {human_bytes(self.bytes)}"
            + ("" if self.dry_run else f"; {self.linked:,} of them as links, which take no space")
            + (f"; {self.px512:,} 512px images with them" if self.px512 else ""),
            f"left to fetch: {self.left:,} files, {human_bytes(self.left_bytes)}",
        ]


def newest_year(context: RunContext) -> int:
    """The newest year whose posts are here.

    Raises:
        StoreError: no year's are.
    """
    years = [year for year in context.layout.metadata_years if context.layout.posts_by_bucket(year).is_dir()]
    if not years:
        raise StoreError(
            "there are no posts to prove files with; bring those of a year first: "
            "danbooru-pipeline build YEAR --buckets none"
        )
    return years[-1]


def import_files(
    context: RunContext,
    holdings: Sequence[Holding],
    *,
    year: int | None = None,
    move: bool = False,
    dry_run: bool = False,
    meter: Meter | None = None,
) -> ImportReport:
    """Take what the store lacks from some holdings.

    Args:
        context: its layout and image workers are used; nothing is requested.
        holdings: in the order in which they are tried.
        year: whose posts say what is wanted; the newest one by default.
        move: remove files that were taken from where they were, once the ledger is written.
        dry_run: judge, and change nothing.
        meter: counts files, and buckets as steps.

    Raises:
        StoreError: there are no posts of the year, or a holding must not be moved.
        DiskFull: the disk of the root is full; what was taken stays.
    """
    chosen = _check(context, holdings, year=year, move=move)
    work = _Import(context, chosen, move=move, dry_run=dry_run, meter=meter or Meter())
    wanted, wanted_bytes = work.lacking()
    work.meter.total = len(holdings) * BUCKET_COUNT
    problems = []
    with full_disk_named(context.layout.root), ThreadPoolExecutor(context.settings.workers) as work.threads:
        for holding in holdings:
            try:
                work.take_from(holding)
            except DiskFull:
                raise
            except StoreError as error:
                problems.append(str(error))
            problems += work.passed_over(holding)
    return _report(work, wanted + work.count["repaired"], wanted_bytes, problems)


def _check(context: RunContext, holdings: Sequence[Holding], *, year: int | None, move: bool) -> int:
    """The year whose posts are there, for holdings that may be treated like this."""
    chosen = newest_year(context) if year is None else year
    if not context.layout.posts_by_bucket(chosen).is_dir():
        raise StoreError(
            f"there are no posts of {chosen} to prove files with; bring them first: "
            f"danbooru-pipeline build {chosen} --buckets none"
        )
    fixed = [holding.title for holding in holdings if not holding.can_move] if move else []
    if fixed:
        raise StoreError(f"{fixed[0]} cannot be moved; import it without --move")
    own = [holding.title for holding in holdings if _is_own(context.layout, holding.place)] if move else []
    if own:
        raise StoreError(f"{own[0]} is part of this root, which keeps its files; import it without --move")
    return chosen


def _is_own(layout: Layout, folder: Path) -> bool:
    """Whether a folder belongs to the root's store or releases, whose files nothing may move away."""
    real = folder.resolve()
    return any(real.is_relative_to(own.resolve()) for own in (layout.store, layout.releases))


def _report(work: "_Import", wanted: int, wanted_bytes: int, problems: Sequence[str]) -> ImportReport:
    return ImportReport(
        year=work.year,
        wanted=wanted,
        outcomes=dict(work.outcomes) | ({Outcome.PRESENT: work.held.present} if work.held.present else {}),
        taken=work.count["taken"],
        linked=work.count["linked"],
        px512=work.count["px512"],
        bytes=work.count["bytes"],
        left=wanted - work.count["taken"],
        left_bytes=max(0, wanted_bytes - work.count["declared"]),
        problems=tuple(problems),
        dry_run=work.dry_run,
    )


@dataclass(slots=True)
class _Import:
    """One import: what it counts, and how it takes a bucket's files."""

    context: RunContext
    year: int
    move: bool
    dry_run: bool
    meter: Meter
    count: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    unreadable: Skipped = field(default_factory=Skipped)  # of the holding that is taken from
    unmoved: Skipped = field(default_factory=Skipped)  # likewise
    threads: Any = None
    held: Held = field(init=False)

    def __post_init__(self) -> None:
        self.held = Held(self.context.layout)

    def lacking(self) -> tuple[int, int]:
        """How many files the store has no name for, and their bytes."""
        missing = [fetch.file_size or 0 for bucket in BUCKETS for fetch in self._missing(bucket)]
        return len(missing), sum(missing)

    def _missing(self, bucket: str) -> list[Fetch]:
        layout = self.context.layout
        if not layout.posts_bucket(self.year, bucket).exists():
            return []
        names = list_files(layout.original_bucket(bucket))
        wanted = self._wanted(bucket, read_ledger(layout.ledger(bucket)))
        return [fetch for fetch in wanted if f"{fetch.id}.{fetch.ext}" not in names]

    def _wanted(self, bucket: str, known: Mapping[int, LedgerRow]) -> tuple[Fetch, ...]:
        """Files that a build would fetch: of posts that show one, whatever is known about the others."""
        excluded = self.context.exclude_tags
        return plan_stored_bucket(self.context.layout, bucket, self.year, ledger=known, exclude_tags=excluded).fetch

    def take_from(self, holding: Holding) -> None:
        """Take what a holding has, bucket by bucket."""
        steps = 0
        try:
            for bucket, find in holding.buckets():
                if self.context.layout.posts_bucket(self.year, bucket).exists():
                    self._take_bucket(bucket, find)
                steps += 1
                self.meter.count_step()
        finally:
            self.meter.total -= max(0, BUCKET_COUNT - steps)  # a tar has one bucket, a release those of its posts

    def passed_over(self, holding: Holding) -> Iterator[str]:
        """A line for what could not be read in a holding, and one for what could not be removed from it."""
        if self.unreadable.count:
            yield self.unreadable.line(holding.title)
        if self.unmoved.count:
            yield f"{self.unmoved.count} files were taken and could not be removed: {self.unmoved.first}"
        self.unreadable, self.unmoved = Skipped(), Skipped()

    def _take_bucket(self, bucket: str, find: Finder) -> None:
        layout = self.context.layout
        with contextlib.ExitStack() as stack:
            ledger: OpenLedger | None = None
            if self.dry_run:
                scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                known: Mapping[int, LedgerRow] = read_ledger(layout.ledger(bucket))
            else:
                ledger = stack.enter_context(open_ledger(layout, bucket))
                known, scratch = ledger.known, layout.original_bucket(bucket)
                scratch.mkdir(parents=True, exist_ok=True)
            wanted = (fetch for fetch in self._wanted(bucket, known) if not self.held.has(fetch))
            with contextlib.closing(self._judged(find(wanted, scratch))) as judgements:
                taken = self._take_first_proven(judgements, ledger)
            if ledger is not None:
                for folder in (scratch, layout.px512_bucket(bucket)):
                    if folder.is_dir():
                        fsync_folder(folder)
                ledger.write()
                for candidate in taken if self.move else ():
                    self._remove(candidate)

    def _take_first_proven(self, judgements: Iterator[Judged], ledger: OpenLedger | None) -> list[Candidate]:
        """Take one candidate for each file, the first that is proven. Returns those that were taken."""
        taken: dict[int, Candidate] = {}
        for judged in judgements:
            candidate = judged.candidate
            if candidate.fetch.id not in taken and self._take(judged, ledger):
                taken[candidate.fetch.id] = candidate
            if candidate.is_copy:
                candidate.path.unlink(missing_ok=True)
        return list(taken.values())

    def _remove(self, candidate: Candidate) -> None:
        """Remove a file that was taken from where it was, if the store's own name of it certainly stays."""
        layout, source = self.context.layout, candidate.path
        target = layout.original(candidate.fetch.id, candidate.ext)
        # One folder may have two paths: by links, which `resolve` follows, or by mounts, which it does not.
        if _is_own(layout, source.parent) or source.parent.samefile(target.parent):
            return
        try:
            if source.stat().st_nlink > 1 or not source.samefile(target):
                source.unlink()
        except FileNotFoundError:
            pass  # two posts may have one file
        except OSError as error:
            self.unmoved.note(source, error.strerror)

    def _judged(self, candidates: Iterator[Candidate]) -> Generator[Judged, None, None]:
        """Judgements of candidates, in their order, some ahead."""
        waiting: list[Future[Judged]] = []
        most = _WAITING * self.context.settings.workers
        while True:
            waiting += (
                self.threads.submit(judge, self.context, candidate)
                for candidate in islice(candidates, max(0, most - len(waiting)))
            )
            if not waiting:
                return
            yield waiting.pop(0).result()

    def _take(self, judged: Judged, ledger: OpenLedger | None) -> bool:
        """Take a proven candidate, and count it either way. Returns whether it was taken."""
        candidate, fetch = judged.candidate, judged.candidate.fetch
        outcome, size = judged.outcome, 0
        if outcome in _TAKEN:
            size = candidate.path.stat().st_size
            # What had its name already, with other bytes, or with no row after a kill, was not counted as lacking.
            self.count["repaired"] += self.context.layout.original(fetch.id, fetch.ext).exists()
            if ledger is not None and not self._place(judged):
                outcome = Outcome.UNPROVEN  # it changed while it was copied
        self.outcomes[outcome] += 1
        if outcome is Outcome.UNREADABLE:
            self.unreadable.note(candidate.path, "cannot be read")
        self.meter.count_file(size, None if outcome in _TAKEN else outcome.value)
        if outcome not in _TAKEN:
            return False
        self.held.add(fetch)
        px512 = self._place_px512(judged)
        if ledger is not None and judged.facts is not None:
            known = ledger.known.get(fetch.id)
            ledger.record(row_of(self.context, judged, known, year=self.year, px512=px512))
        self.count.update(taken=1, bytes=size, declared=fetch.file_size or 0)
        return True

    def _place(self, judged: Judged) -> bool:
        """Give a file its name in the store. Returns False if a copy does not have the proven bytes."""
        candidate = judged.candidate
        target = self.context.layout.original(candidate.fetch.id, candidate.ext)
        if candidate.is_copy:
            fsync_file(candidate.path)
            commit_part(candidate.path, target, flush_folder=False)
            return True
        linked = _link(candidate.path, target, sha256=judged.sha256, move=self.move)
        self.count["linked"] += bool(linked)
        return linked is not None

    def _place_px512(self, judged: Judged) -> Mapping[str, Any]:
        """Give a 512px image its name in the store. Returns what its post's row says of it; nothing without one.

        A dry run only counts it.
        """
        found, fetch = judged.px512, judged.candidate.fetch
        if found is None or fetch.rating not in sfw_ratings(self.year):
            return {}
        self.count["px512"] += self.dry_run and found.path is not None
        if found.path is not None and not self.dry_run:
            target = self.context.layout.px512(fetch.id)
            target.parent.mkdir(parents=True, exist_ok=True)
            if _link(found.path, target, sha256=found.sha256, move=False) is None:
                return {}
            self.count["px512"] += 1
        return found.facts


def _link(source: Path, target: Path, *, sha256: str | None, move: bool) -> bool | None:
    """Give a file another name, or copy it. Returns whether it is a link; None if a copy has other bytes."""
    part = part_path(target)
    try:
        if linked := _may_be_linked(source, move=move):
            linked = link_or_copy(source, part)
        else:
            copy_file(source, part, flush=True)
        if not linked and sha256_of(part) != sha256:
            return None
        commit_part(part, target, flush_folder=False)
    finally:
        part.unlink(missing_ok=True)  # renaming onto another name of the same file leaves both
    return linked


def _may_be_linked(source: Path, *, move: bool) -> bool:
    """Whether a release may make a file read-only for all, which it then is under its other names as well.

    Most are readable for all and lose no more than the leave to be written; to copy those, terabytes, would be the
    greater surprise. What others may not read is not opened to them, and another user's mode is not ours to set.
    """
    facts = source.stat()
    mode, is_ours = stat.S_IMODE(facts.st_mode), os.geteuid() in {0, facts.st_uid}
    return mode == READ_ONLY or (is_ours and (move or mode & READ_ONLY == READ_ONLY))

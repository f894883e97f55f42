"""Runs an import, bucket by bucket: find what the store lacks, prove it, give it its name, then write its row.

The order on disk is that of a build: the file under its final name first, its row after, under the bucket's lock. A
file that its MD5 proves gets no row here: the next build adopts it by that MD5, and optimises it. So a kill at any
point leaves a store that a build or another import completes.
"""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import DiskFull, StoreError, full_disk_named
from danbooru_pipeline.io.atomic import commit_part, fsync_file, fsync_folder
from danbooru_pipeline.layout import BUCKET_COUNT, BUCKETS
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.progress import Meter, counted, human_bytes
from danbooru_pipeline.store.imports.candidates import Candidate, Finder, Holding, Skipped
from danbooru_pipeline.store.imports.held import Held
from danbooru_pipeline.store.imports.moving import files_held, is_own, is_removable, judge_leftover, remove_source
from danbooru_pipeline.store.imports.placing import place_proven
from danbooru_pipeline.store.imports.proof import Judged, Outcome, judge, row_of
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger
from danbooru_pipeline.store.leftovers import clear_leftovers
from danbooru_pipeline.store.open_ledger import OpenLedger, open_ledger
from danbooru_pipeline.store.plan import BucketPlan, list_files
from danbooru_pipeline.store.planning import plan_stored_bucket
from danbooru_pipeline.years import sfw_ratings

_TAKEN = frozenset({Outcome.SHA256, Outcome.MD5, Outcome.PIXEL_HASH})
#: Candidates that are read ahead for each worker.
_WAITING = 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did. Sizes in bytes.

    Attributes:
        wanted: files that the store lacked when it began, for posts that show one.
        outcomes: candidates by what became of them.
        taken, bytes: files that the store has now, or would have.
        linked: of those, how many share their bytes with what was imported.
        px512: 512px images that came with them.
        cleared: of a move, files that the store had already, and that were removed from where they were, or would be.
        kept: of a move, files of posts that the store has; they stay, since it does not certainly have their bytes.
        left, left_bytes: files that a build will fetch, whoever took the others; sizes as far as the metadata has them.
        problems: one line for each path that could not be read, or whose files could not be removed.
    """

    year: int
    wanted: int
    outcomes: Mapping[str, int]
    taken: int
    linked: int
    px512: int
    bytes: int
    cleared: int
    kept: int
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
            f"{self.year}: the store lacked {counted(self.wanted, 'file')}; candidates: {counts}",
            f"{would} {counted(self.taken, 'file')}, {human_bytes(self.bytes)}"
            + ("" if self.dry_run else f"; {self.linked:,} of them as links, which take no space")
            + (f"; {self.px512:,} 512px images with them" if self.px512 else ""),
            *self._moved_lines(),
            f"left to fetch: {counted(self.left, 'file')}, {human_bytes(self.left_bytes)}",
        ]

    def _moved_lines(self) -> Iterator[str]:
        if self.cleared:
            removed = "would remove" if self.dry_run else "removed"
            yield f"{removed} {counted(self.cleared, 'file')} that the store had already"
        if self.kept:
            yield f"left in place: {counted(self.kept, 'file')} whose bytes the store is not proven to have"


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
    own = [holding.title for holding in holdings if is_own(context.layout, holding.place)] if move else []
    if own:
        raise StoreError(f"{own[0]} is part of this root, which keeps its files; import it without --move")
    return chosen


def _report(work: "_Import", wanted: int, wanted_bytes: int, problems: Sequence[str]) -> ImportReport:
    if work.dry_run:  # nothing was taken, so what would be is taken off
        left, left_bytes = wanted - work.count["taken"], max(0, wanted_bytes - work.count["declared"])
    else:  # looked at anew, since another import or a build may have worked beside this one
        left, left_bytes = work.lacking()
    return ImportReport(
        year=work.year,
        wanted=wanted,
        outcomes=dict(work.outcomes) | ({Outcome.PRESENT: work.held.present} if work.held.present else {}),
        taken=work.count["taken"],
        linked=work.count["linked"],
        px512=work.count["px512"],
        bytes=work.count["bytes"],
        cleared=work.count["cleared"],
        kept=work.count["kept"],
        left=left,
        left_bytes=left_bytes,
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
        wanted = self._plan(bucket, read_ledger(layout.ledger(bucket))).fetch
        return [fetch for fetch in wanted if f"{fetch.id}.{fetch.ext}" not in names]

    def _plan(self, bucket: str, known: Mapping[int, LedgerRow]) -> BucketPlan:
        """What a build would fetch: files of posts that show one, whatever is known about the others."""
        excluded = self.context.exclude_tags
        return plan_stored_bucket(self.context.layout, bucket, self.year, ledger=known, exclude_tags=excluded)

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
            files = counted(self.unmoved.count, "file was", "files were")
            yield f"{files} taken and could not be removed: {self.unmoved.first}"
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
            plan = self._plan(bucket, known)
            if ledger is not None:
                clear_leftovers(layout, bucket, plan.fetch)
            wanted = (fetch for fetch in plan.fetch if not self.held.has(fetch))
            judgements = self._ahead(partial(judge, self.context), find(wanted, scratch))
            with contextlib.closing(judgements):
                taken = self._take_first_proven(judgements, ledger)
            if ledger is not None:
                for folder in (scratch, layout.px512_bucket(bucket)):
                    if folder.is_dir():
                        fsync_folder(folder)
                ledger.write()
            if self.move:
                for judged in taken if ledger is not None else ():
                    self._remove(judged)
                rows = known if ledger is None else ledger.rows
                self._clear(find, plan, rows, {judged.candidate.path for judged in taken})

    def _take_first_proven(self, judgements: Iterator[Judged], ledger: OpenLedger | None) -> list[Judged]:
        """Take one candidate for each file, the first that is proven. Returns those that were taken."""
        taken: dict[int, Judged] = {}
        for judged in judgements:
            candidate = judged.candidate
            if candidate.fetch.id not in taken and self._take(judged, ledger):
                taken[candidate.fetch.id] = judged
            if candidate.is_copy:
                candidate.path.unlink(missing_ok=True)
        return list(taken.values())

    def _remove(self, judged: Judged) -> None:
        """Remove a file that was taken from where it was."""
        layout, candidate = self.context.layout, judged.candidate
        target = layout.original(candidate.fetch.id, candidate.ext)
        if is_removable(layout, candidate.path, target):
            remove_source(candidate.path, target, judged.seen, self.unmoved)

    def _clear(self, find: Finder, plan: BucketPlan, rows: Mapping[int, LedgerRow], taken: Collection[Path]) -> None:
        """Remove what the store has of a bucket, as after a move that was killed or had no room."""
        layout = self.context.layout
        judge_one = partial(judge_leftover, layout, self.held, rows)
        # Nothing is read out of an archive, since none can be moved.
        candidates = (each for each in find(files_held(plan, self.held), layout.store) if each.path not in taken)
        with contextlib.closing(self._ahead(judge_one, candidates)) as judgements:
            for left in judgements:
                if not is_removable(layout, left.candidate.path, left.target):
                    continue
                if left.seen is None:
                    self.count["kept"] += 1
                else:
                    self.count["cleared"] += self.dry_run or remove_source(
                        left.candidate.path, left.target, left.seen, self.unmoved
                    )

    def _ahead(self, judge_one: Callable[[Candidate], T], candidates: Iterator[Candidate]) -> Generator[T, None, None]:
        """Judgements of candidates, in their order, some ahead."""
        waiting: list[Future[T]] = []
        most = _WAITING * self.context.settings.workers
        while True:
            waiting += (
                self.threads.submit(judge_one, candidate)
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
            size = judged.seen.size if judged.seen is not None else 0
            # What had its name already, with other bytes, or with no row after a kill, was not counted as lacking.
            self.count["repaired"] += self.context.layout.original(fetch.id, fetch.ext).exists()
            if ledger is not None and not self._place(judged):
                outcome = Outcome.UNPROVEN  # it changed meanwhile
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
        """Give a file its name in the store. Returns False if it is not what was proven any more."""
        candidate = judged.candidate
        target = self.context.layout.original(candidate.fetch.id, candidate.ext)
        if candidate.is_copy:
            fsync_file(candidate.path)
            commit_part(candidate.path, target, flush_folder=False)
            return True
        linked = place_proven(candidate.path, target, sha256=judged.sha256, seen=judged.seen, move=self.move)
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
            if place_proven(found.path, target, sha256=found.sha256, seen=found.seen, move=False) is None:
                return {}
            self.count["px512"] += 1
        return found.facts

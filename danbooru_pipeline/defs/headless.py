"""A build without the UI: the same assets, run one after the other, recorded in the same instance.

What the daemon would do with backfills is done here with one run for some hundred buckets. The instance is that of
DAGSTER_HOME, so whoever opens the UI on it sees every run and every partition.
"""

import contextlib
import os
import shutil
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagster as dg
from dagster._core.storage.dagster_run import RunsFilter

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.images import ORIGINALS_PER_RUN, PX512_PER_RUN
from danbooru_pipeline.defs.lanes import OWNER_TAG, Lane, LaneProcesses, RunOrder, RunReport, open_lanes
from danbooru_pipeline.defs.partitions import bucket_releases
from danbooru_pipeline.errors import DanbooruPipelineError, SettingsError, SourceBlocked
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.operate.preflight import check_root, check_space
from danbooru_pipeline.operate.terminal import TerminalLine
from danbooru_pipeline.outcomes import Status
from danbooru_pipeline.posts import Post
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger
from danbooru_pipeline.store.originals import plan_originals

Say = Callable[[str], None]
PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dataclass(slots=True)
class StageResult:
    """The runs of one stage of a build."""

    reports: list[RunReport] = field(default_factory=list)

    @property
    def partitions(self) -> int:
        """How many partitions were worked on."""
        return sum(report.order.partitions for report in self.reports)

    @property
    def numbers(self) -> Counter[str]:
        """Sums of what the buckets counted, and posts by reason as ``reason:NAME``."""
        return sum((Counter(report.numbers) for report in self.reports), Counter())


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """A whole build.

    Attributes:
        stages: by name.
        seconds: wall time.
        pending_elsewhere: posts left pending in buckets that were not worked on.
    """

    stages: dict[str, StageResult]
    seconds: float
    pending_elsewhere: int = 0

    @property
    def reports(self) -> list[RunReport]:
        """All runs."""
        return [report for stage in self.stages.values() for report in stage.reports]

    @property
    def failed(self) -> list[str]:
        """Everything that did not succeed."""
        return [line for report in self.reports for line in report.failed]

    @property
    def partitions(self) -> int:
        """Partitions of all runs."""
        return sum(report.order.partitions for report in self.reports)

    @property
    def dagster_cpu_seconds(self) -> float:
        """What Dagster itself cost, without the work."""
        return sum(report.dagster_cpu_seconds for report in self.reports)


class HeadlessBuild:
    """Runs the assets of one release on an instance."""

    def __init__(self, context: RunContext, instance: dg.DagsterInstance, year: int, *, say: Say) -> None:
        self.context, self.year = context, year
        self.line = TerminalLine()
        # Where there is no terminal, whole lines go to whoever asked for them.
        self.say = self.line.write if self.line.is_live else say
        if self.line.is_live:
            context.watch = lambda gauge: self.line.show("", gauge)
        self.lane = Lane(context, instance)
        self.stages: dict[str, StageResult] = {}
        self.stopped_by: DanbooruPipelineError | None = None
        self.began = time.monotonic()

    def run_metadata(self) -> bool:
        """Bring posts and side tables. Tables that cannot be had leave something to do, and do not hold up the rest."""
        if not self._run_year("metadata", "posts", "posts_by_bucket"):
            return False
        self._run_year("side_tables", "side_tables")
        if not isinstance(self.stopped_by, SourceBlocked):
            self.stopped_by = None
        return self.stopped_by is None

    def run_images(self, buckets: Sequence[str]) -> None:
        """Work on buckets: originals, then 512px images."""
        if not buckets:
            return
        stages = {
            "original_images": self._orders("original_images", buckets, ORIGINALS_PER_RUN),
            "images_512px": self._orders("images_512px", buckets, PX512_PER_RUN),
        }
        if len(stages["original_images"]) == 1 or self.context.settings.workers == 1:
            for name, orders in stages.items():
                self._collect(name, (self.lane.run(order) for order in orders), len(buckets))
            return
        with open_lanes(self.context.settings, show=self.line.show if self.line.is_live else None) as lanes:
            self._run_beside(lanes, stages, len(buckets))

    def run_release(self) -> bool:
        """Reconcile, snapshot and publish."""
        return self._run_year("release", "release_manifest", "release_snapshot", "publication")

    def result(self) -> BuildResult:
        """What was done so far."""
        return BuildResult(stages=self.stages, seconds=time.monotonic() - self.began)

    def _run_year(self, name: str, *assets: str) -> bool:
        order = RunOrder(assets=assets, tags={PARTITION: str(self.year)}, partitions=len(assets))
        report = self.lane.run(order)
        self._take(name, report)
        return report.success

    def _orders(self, asset: str, buckets: Sequence[str], per_run: int) -> list[RunOrder]:
        return [
            RunOrder(
                assets=(asset,),
                tags={RANGE_START: f"{chunk[0]}|{self.year}", RANGE_END: f"{chunk[-1]}|{self.year}"},
                partitions=len(chunk),
            )
            for chunk in contiguous(buckets, per_run)
        ]

    def _run_beside(self, lanes: LaneProcesses, stages: dict[str, list[RunOrder]], buckets: int) -> None:
        for name, orders in stages.items():
            self._collect(name, lanes.run_all(orders), buckets)
            if self.stopped_by is not None:
                raise self.stopped_by  # ends the lanes, which would go on with what they were given

    def _collect(self, name: str, reports: Iterator[RunReport], buckets: int) -> None:
        self.line.begin(f"{name} {self.year}", buckets)
        for report in reports:
            self._take(name, report)
            if self.stopped_by is not None:
                return
            self.say(f"{name} {self.year}: {self.stages[name].partitions:,}/{buckets:,} buckets")

    def _take(self, name: str, report: RunReport) -> None:
        self.stages.setdefault(name, StageResult()).reports.append(report)
        self.stopped_by = report.stopped_by or self.stopped_by


def build_release(
    context: RunContext,
    instance: dg.DagsterInstance,
    year: int,
    *,
    buckets: Sequence[str] = BUCKETS,
    retry: bool = False,
    say: Say,
) -> BuildResult:
    """Build a release, or as much of it as these buckets allow; `preflight.check_build` comes before.

    With `retry` the posts are those of the last sweep, and only buckets with something left are worked on.

    Raises:
        DanbooruPipelineError: the build was stopped; what was done so far is kept, and a rerun goes on from there.
    """
    end_orphaned_runs(instance)
    build = HeadlessBuild(context, instance, year, say=say)
    if retry:
        buckets = buckets_left(context, year, buckets)
        say(f"looking at {len(buckets):,} buckets, those with something left among them")
    if retry or build.run_metadata():
        check_space(context, year)
        build.run_images(buckets)
        check_root(context.layout.root, min_free_bytes=context.settings.min_free_bytes)
    others = _Others(0, 0)
    if build.stopped_by is None:
        others = _look_at_others(context, year, buckets)
        if others.untouched:
            say(f"no release yet: {others.untouched:,} other buckets have posts that were not worked on")
        else:
            build.run_release()
    if build.stopped_by is not None:
        raise build.stopped_by
    return replace(build.result(), pending_elsewhere=others.pending)


def buckets_left(context: RunContext, year: int, buckets: Sequence[str]) -> list[str]:
    """Those of the buckets that a build would still work on, and their neighbours, so that few runs cover them.

    A neighbour with nothing left costs milliseconds and no request.

    Raises:
        SettingsError: the posts of the year were never swept.
    """
    if not context.layout.posts_report(year).exists():
        raise SettingsError(f"there is nothing to retry of {year}; run danbooru-pipeline build {year}")
    hundreds = {bucket[:2] for bucket in buckets if plan_originals(context, bucket, year).changes_ledger}
    return [bucket for bucket in buckets if bucket[:2] in hundreds]


@dataclass(frozen=True, slots=True)
class _Others:
    """The buckets that were not chosen: how many have posts without a row, and posts that are pending in the rest."""

    untouched: int
    pending: int


def _look_at_others(context: RunContext, year: int, buckets: Sequence[str]) -> _Others:
    chosen = set(buckets)
    untouched = pending = 0
    for bucket in (bucket for bucket in BUCKETS if bucket not in chosen):
        plan = plan_originals(context, bucket, year)
        known = plan.changes_ledger and read_ledger(context.layout.ledger(bucket))
        left = [post for post in plan.fetch if known and _is_pending(known.get(post.id), post)]
        pending += len(left)
        untouched += len(left) < len(plan.fetch) or bool(plan.settle)
    return _Others(untouched, pending)


def _is_pending(row: LedgerRow | None, post: Post) -> bool:
    return row is not None and row.status is Status.PENDING and (row.md5, row.ext) == (post.md5, post.ext)


def open_instance(home: Path) -> contextlib.AbstractContextManager[dg.DagsterInstance]:
    """The Dagster instance of a home folder; gives it a dagster.yaml when it has none."""
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        shutil.copyfile(INSTANCE_YAML, config)
    os.environ["DAGSTER_HOME"] = str(home.resolve())
    return dg.DagsterInstance.get()


#: The instance of one machine; production brings its own, with Postgres.
INSTANCE_YAML = Path(__file__).with_name("dagster.yaml")


def end_orphaned_runs(instance: dg.DagsterInstance) -> int:
    """Mark runs of builds that were killed as failed, so that the UI does not show them as running for ever."""
    host = socket.gethostname()
    ended = 0
    for run in instance.get_runs(RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])):
        owner_host, _, pid = run.tags.get(OWNER_TAG, "").partition(":")
        if owner_host == host and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            instance.report_run_failed(run, "The process of this build is gone; run the build again, it resumes.")
            ended += 1
    return ended


def parse_buckets(text: str) -> list[str]:
    """``0000-0009``, ``0123`` or a list of both, as bucket names in order.

    Raises:
        ValueError: not buckets.
    """
    chosen: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        numbers = [int(name) for name in (first, last or first)]
        if not 0 <= numbers[0] <= numbers[1] < len(BUCKETS):
            raise ValueError(part)
        chosen.update(range(numbers[0], numbers[1] + 1))
    return [BUCKETS[number] for number in sorted(chosen)]


def contiguous(buckets: Sequence[str], per_run: int) -> Iterator[Sequence[str]]:
    """Cut into runs of neighbours, since a run takes a range."""
    start = 0
    for end in range(1, len(buckets) + 1):
        broken = end == len(buckets) or int(buckets[end]) != int(buckets[end - 1]) + 1
        if broken or end - start == per_run:
            yield buckets[start:end]
            start = end


def count_green_buckets(year: int) -> dict[str, int]:
    """How many buckets of a release each image asset has materialised, in the instance of DAGSTER_HOME."""
    green: dict[str, int] = {}
    with dg.DagsterInstance.get() as instance:
        for asset in ("original_images", "images_512px"):
            keys = [f"{bucket}|{year}" for bucket in BUCKETS]
            states = instance.get_status_by_partition(dg.AssetKey(asset), keys, bucket_releases) or {}
            green[asset] = sum(state is not None and state.name == "MATERIALIZED" for state in states.values())
    return green

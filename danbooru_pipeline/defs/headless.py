"""A build without the UI: the same assets, run one after the other, recorded in the same instance.

Where the daemon would launch backfills, this executes one run for every two hundred buckets. The instance is that of
DAGSTER_HOME, so whoever opens the UI on it sees every run and every partition.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import dagster as dg

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.images import ORIGINALS_PER_RUN, PX512_PER_RUN, RECHECK_TAG
from danbooru_pipeline.defs.instance import end_orphaned_runs
from danbooru_pipeline.defs.lanes import Lane, LaneProcesses, RunOrder, RunReport, open_lanes
from danbooru_pipeline.defs.metadata import WITHOUT_TABLES_TAG
from danbooru_pipeline.errors import DanbooruPipelineError, SettingsError, SourceBlocked
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.operate.preflight import check_root, check_space
from danbooru_pipeline.operate.repairs import require_swept
from danbooru_pipeline.operate.state_files import read_repairing
from danbooru_pipeline.operate.terminal import TerminalLine
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.progress import Gauge, Say
from danbooru_pipeline.store.planning import YearPlan, plan_year, with_neighbours
from danbooru_pipeline.store.root import bring_up_to_date

PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dataclass(slots=True)
class StageResult:
    """The runs of one stage of a build."""

    reports: list[RunReport] = field(default_factory=list)

    @property
    def partitions(self) -> int:
        """How many partitions its runs worked on."""
        return sum(report.order.partitions for report in self.reports)

    @property
    def numbers(self) -> Counter[str]:
        """Sums of what the buckets counted (see `RunLog.numbers`)."""
        return sum((Counter(report.numbers) for report in self.reports), Counter())


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOrder:
    """What a build was asked for.

    Attributes:
        buckets: to work on.
        retry: take the posts of the last sweep, and work only on buckets with something left; that includes posts to
            ask about again, for the reasons of `recheck`.
        recheck: reasons whose posts are asked about again.
        without_tables: make the release without side tables, and ask for none.
    """

    buckets: Sequence[str] = BUCKETS
    retry: bool = False
    recheck: frozenset[Reason] = frozenset()
    without_tables: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """A whole build.

    Attributes:
        stages: by name.
        seconds: wall time.
        pending_elsewhere: posts left pending in buckets that were not worked on.
        stopped_by: the error that ended it, or that cost buckets whose absence no release can have.
    """

    stages: dict[str, StageResult]
    seconds: float
    pending_elsewhere: int = 0
    stopped_by: DanbooruPipelineError | None = None

    @property
    def reports(self) -> list[RunReport]:
        """All runs."""
        return [report for stage in self.stages.values() for report in stage.reports]

    @property
    def failed(self) -> list[str]:
        """One line for each step that failed, and for each run that did without a step that says why."""
        return [line for report in self.reports for line in (report.failed or _unexplained(report))]

    @property
    def partitions(self) -> int:
        """Partitions of all runs."""
        return sum(report.order.partitions for report in self.reports)

    @property
    def dagster_cpu_seconds(self) -> float:
        """CPU time of Dagster itself, without the work."""
        return sum(report.dagster_cpu_seconds for report in self.reports)


def _unexplained(report: RunReport) -> list[str]:
    return [] if report.success else [f"{', '.join(report.order.assets)}: {report.stopped_by or 'the run failed'}"]


class HeadlessBuild:
    """Runs the assets of one release on an instance.

    Attributes:
        stages: the runs so far, by stage.
        stopped_by: the error of ours that ended the last run that had one; the build goes no further.
        broken_by: the first error that cost a bucket; the other buckets are finished, and no release is made.
        without_release_by: why the side tables did not come; images are worked on, and no release is made.
    """

    def __init__(
        self,
        context: RunContext,
        instance: dg.DagsterInstance,
        year: int,
        *,
        order: BuildOrder,
        say: Say,
    ) -> None:
        self.context, self.year = context, year
        self.tags = {RECHECK_TAG: ",".join(sorted(order.recheck))} if order.recheck else {}
        self.line = TerminalLine()
        # Without a terminal whole lines go to the caller.
        self.say = self.line.write if self.line.is_live else say
        self.lane = Lane(context, instance, watch=self._show if self.line.is_live else None)
        self.stages: dict[str, StageResult] = {}
        self.stopped_by: DanbooruPipelineError | None = None
        self.broken_by: DanbooruPipelineError | None = None
        self.without_release_by: DanbooruPipelineError | None = None
        self.began = time.monotonic()

    def run_metadata(self, *, without_tables: bool = False) -> bool:
        """Bring posts and side tables. Images go on without tables that do not come; a release does not.

        Returns whether the posts are there and nothing stopped the build.
        """
        if not self._run_year("metadata", "posts", "posts_by_bucket"):
            return False
        self._run_year("side_tables", "side_tables", tags={WITHOUT_TABLES_TAG: "yes"} if without_tables else {})
        if self.stopped_by is not None and not isinstance(self.stopped_by, SourceBlocked):
            self.without_release_by, self.stopped_by = self.stopped_by, None
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
        """Reconcile, snapshot and publish; not without side tables that did not come.

        Raises:
            DanbooruPipelineError: why the tables did not come.
        """
        if self.without_release_by is not None:
            raise self.without_release_by
        return self._run_year("release", "release_manifest", "release_snapshot", "publication")

    def result(self) -> BuildResult:
        """The runs so far."""
        return BuildResult(stages=self.stages, seconds=time.monotonic() - self.began, stopped_by=self.stopped_by)

    def raise_if_stopped(self) -> None:
        """Raise the error that stopped a run or cost a bucket, if one did."""
        error = self.stopped_by or self.broken_by
        if error is not None:
            raise error

    def _show(self, gauge: Gauge) -> None:
        self.line.show("", gauge)

    def _run_year(self, name: str, *assets: str, tags: Mapping[str, str] | None = None) -> bool:
        order = RunOrder(assets=assets, tags={PARTITION: str(self.year), **(tags or {})}, partitions=len(assets))
        report = self.lane.run(order)
        self._take(name, report)
        return report.success

    def _orders(self, asset: str, buckets: Sequence[str], per_run: int) -> list[RunOrder]:
        return [
            RunOrder(
                assets=(asset,),
                tags={**self.tags, RANGE_START: f"{chunk[0]}|{self.year}", RANGE_END: f"{chunk[-1]}|{self.year}"},
                partitions=len(chunk),
            )
            for chunk in contiguous(buckets, per_run)
        ]

    def _run_beside(self, lanes: LaneProcesses, stages: dict[str, list[RunOrder]], buckets: int) -> None:
        for name, orders in stages.items():
            self._collect(name, lanes.run_all(orders), buckets)
            if self.stopped_by is not None:
                raise self.stopped_by  # kills the lanes, which would execute the runs that they already have

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
        self.broken_by = self.broken_by or report.broken_by


def build_release(
    context: RunContext, instance: dg.DagsterInstance, year: int, *, order: BuildOrder, say: Say
) -> BuildResult:
    """Build a release, or as much of it as the order allows; `preflight.check_build` comes before.

    What stopped it is in the result, beside what was done until then; the next build resumes there.
    Without buckets it brings the metadata alone.

    Raises:
        SettingsError: there is nothing to retry.
        Stopped: a signal came.
    """
    _require_sweep(context, year, needed=order.retry)
    bring_up_to_date(context.layout)
    end_orphaned_runs(instance)
    build = HeadlessBuild(context, instance, year, order=order, say=say)
    pending = 0
    try:
        pending = _build(build, order, say)
    except DanbooruPipelineError as error:
        build.stopped_by = error
    return replace(build.result(), pending_elsewhere=pending)


def _build(build: HeadlessBuild, order: BuildOrder, say: Say) -> int:
    """Run the stages. Returns how many posts are pending in buckets that were not worked on."""
    context, year = build.context, build.year
    has_posts = order.retry or build.run_metadata(without_tables=order.without_tables)
    build.raise_if_stopped()
    if not order.buckets:
        return 0
    layout = context.layout
    if order.retry:
        require_swept(layout, year)
    # The one plan of this build. For buckets that it does not work on, it stays true to the end.
    plan = read_repairing(layout, lambda: _plan(context, year))
    asking = _plan(context, year, order.recheck) if order.recheck else plan
    chosen = buckets_left(asking, order.buckets) if order.retry else order.buckets
    if order.retry:
        say(f"looking at {len(chosen):,} buckets: those with something left, and their neighbours")
    if has_posts:
        _build_images(build, asking, chosen)
    others = plan.without(chosen)
    if untouched := sum(each.is_untouched for each in others.buckets):
        say(f"no release yet: {untouched:,} other buckets have posts that no build has worked on")
    else:
        build.run_release()
    build.raise_if_stopped()
    return sum(each.pending for each in others.buckets)


def _plan(context: RunContext, year: int, recheck: frozenset[Reason] = frozenset()) -> YearPlan:
    return plan_year(context.layout, year, exclude_tags=context.exclude_tags, recheck=recheck)


def _require_sweep(context: RunContext, year: int, *, needed: bool) -> None:
    if needed and not context.layout.posts_report(year).exists():
        raise SettingsError(f"there is nothing to retry of {year}; run danbooru-pipeline build {year}")


def _build_images(build: HeadlessBuild, plan: YearPlan, buckets: Sequence[str]) -> None:
    check_space(build.context, plan)
    build.run_images(buckets)
    build.raise_if_stopped()
    check_root(build.context.layout.root, min_free_bytes=build.context.settings.min_free_bytes)


def buckets_left(plan: YearPlan, buckets: Sequence[str]) -> list[str]:
    """Those of the buckets that a build would still work on, and their neighbours."""
    return with_neighbours(buckets, {each.bucket for each in plan.buckets if each.has_work})


def parse_buckets(text: str) -> list[str]:
    """``0000-0009``, ``0123`` or a list of both, as bucket names in order; ``none`` for no bucket.

    Raises:
        ValueError: not buckets.
    """
    chosen: set[int] = set()
    if text.strip() == "none":
        return []
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

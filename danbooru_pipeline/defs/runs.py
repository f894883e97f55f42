"""Runs the core for an asset: errors become clear failures, and buckets succeed or fail one by one."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import dagster as dg

from danbooru_pipeline import stop
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.event_log import log_materializations
from danbooru_pipeline.defs.partitions import bucket_releases
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.errors import DanbooruPipelineError, ReleaseRefused, is_disk_full
from danbooru_pipeline.operate.faults import as_ours
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.store.buckets import Finished, for_each_bucket

#: Lines shown of a long list; the files on disk have the rest.
SHOWN = 20


class BucketReport(Protocol):
    """The core's report on a bucket."""

    @property
    def reasons(self) -> Mapping[str, int]:
        """Rows with a reason, counted."""


R = TypeVar("R", bound=BucketReport)
R_co = TypeVar("R_co", bound=BucketReport, covariant=True)


class BucketWork(Protocol[R_co]):
    """The core's work on one bucket."""

    def __call__(self, bucket: str, year: int, meter: Meter) -> R_co:
        """Do it; the meter counts files."""


class SharedStep(Protocol[R]):
    """What the buckets of a run do together, so that it takes few requests."""

    def begin(self, buckets: Sequence[str], year: int, /) -> None:
        """Prepare, before the work on the first bucket."""

    def is_left(self, report: R, /) -> bool:
        """Whether the work on a bucket left something for `finish`."""

    def gather(self, reports: Iterable[R], /) -> None:
        """Take what is left of all buckets."""

    def finish(self, bucket: str, year: int, report: R, meter: Meter, /) -> R:
        """Finish a bucket. Returns its new report."""


@contextmanager
def clear_failures(context: RunContext, log: RunLog) -> Iterator[None]:
    """Turn an error into a failure that the UI shows as one line; a retry by itself would not help."""
    try:
        with log.working(), _as_ours(context.layout.root):
            yield
    except DanbooruPipelineError as error:
        metadata = {}
        if isinstance(error, ReleaseRefused) and error.rows:
            metadata["rows"] = dg.MetadataValue.md("\n".join(f"- {row}" for row in error.rows[:SHOWN]))
        raise dg.Failure(description=str(error), metadata=metadata, allow_retries=False) from error


@contextmanager
def _as_ours(root: Path) -> Iterator[None]:
    try:
        yield
    except dg.Failure:
        raise
    except Exception as error:  # noqa: BLE001 - an asset says what it is, in one line
        stop.check()  # what ended the work under it is a signal
        ours = as_ours(error, root)
        raise ours from (None if ours is error else error)


@dataclass(frozen=True, slots=True)
class _Results(Generic[R]):
    """What came of the partitions of a run, by their key.

    Attributes:
        numbers: turns a report into Dagster metadata.
        pending: how many posts a report leaves pending.
        done: metadata of finished partitions.
        failed: what is wrong with the others.
    """

    numbers: Callable[[R], dict[str, Any]]
    pending: Callable[[R], int]
    log: RunLog
    root: Path
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, key: str, finished: Finished[R]) -> None:
        """Take a bucket that is over.

        Raises:
            Exception: its error, if that concerns every bucket.
        """
        if finished.report is None:
            stop.check()
            _stop_if_hopeless(finished.error)
            broken = as_ours(finished.error or RuntimeError("no report"), self.root)
            self.log.broken_by = self.log.broken_by or broken
            self.failed[key] = str(broken)
            return
        numbers = self.numbers(finished.report)
        self.log.count(numbers, finished.report.reasons)  # here, since Dagster drops those of a failed step
        if self.pending(finished.report):
            self.failed[key] = _reasons_text(finished.report.reasons)
        else:
            self.done[key] = numbers


def materialize_buckets(
    context: dg.AssetExecutionContext,
    resources: RunContext,
    log: RunLog,
    work: BucketWork[R],
    *,
    numbers: Callable[[R], dict[str, Any]],
    pending: Callable[[R], int],
    shared: SharedStep[R] | None = None,
) -> dg.MaterializeResult:
    """Do `work(bucket, year, meter)` for every partition of the run, and a step that its buckets share.

    A bucket with posts left pending fails; the others are materialised even then. Dagster drops the materialisations
    of a step that fails, so those of the finished buckets are logged by hand before it does.
    """
    results = _Results(numbers, pending, log, resources.layout.root)
    try:
        with clear_failures(resources, log):
            _work_on_partitions(context, work, results, shared=shared)
    except BaseException:
        log_materializations(
            context,
            [
                dg.AssetMaterialization(context.asset_key, partition=key, metadata=metadata)
                for key, metadata in results.done.items()
            ],
        )
        raise
    for key, metadata in results.done.items():
        context.add_asset_metadata(metadata, partition_key=key)
    return dg.MaterializeResult()


def _work_on_partitions(
    context: dg.AssetExecutionContext,
    work: BucketWork[R],
    results: _Results[R],
    *,
    shared: SharedStep[R] | None,
) -> None:
    """Work on the buckets of each year of the run; a meter logs how far it is.

    Raises:
        Failure: some have posts left.
    """
    keys = _partitions(context)
    for year in sorted({year for _, year in keys.values()}):
        key_of = {bucket: key for key, (bucket, its_year) in keys.items() if its_year == year}
        title = f"{context.asset_key.to_user_string()} {year}"
        with (
            Meter(title, total=len(key_of), report=context.log.info, watch=results.log.watch) as meter,
            closing(
                _finished(partial(work, year=year, meter=meter), list(key_of), year=year, meter=meter, shared=shared)
            ) as buckets,
        ):
            for finished in buckets:
                stop.check()
                results.add(key_of[finished.bucket], finished)
    if results.failed:
        raise _buckets_failed(results.failed)


def _finished(
    work: Callable[[str], R], buckets: Sequence[str], *, year: int, meter: Meter, shared: SharedStep[R] | None
) -> Generator[Finished[R], None, None]:
    """The buckets as they finish: those with something left for the shared step after it, the others before."""
    if shared is not None:
        shared.begin(buckets, year)
    left: dict[str, R] = {}
    with for_each_bucket(work, buckets) as worked_on:
        for finished in worked_on:
            meter.count_step()
            if shared is not None and finished.report is not None and shared.is_left(finished.report):
                left[finished.bucket] = finished.report
            else:
                yield finished
    if shared is not None and left:
        shared.gather(left.values())
        step = shared.finish
        with for_each_bucket(lambda bucket: step(bucket, year, left[bucket], meter), list(left)) as completed:
            yield from completed


def _partitions(context: dg.AssetExecutionContext) -> dict[str, tuple[str, int]]:
    """Partition key -> bucket and year. Dagster computes the keys anew at every access, so they are read once."""
    keys: dict[str, tuple[str, int]] = {}
    for text in context.partition_keys:
        dimensions = bucket_releases.get_partition_key_from_str(str(text)).keys_by_dimension
        keys[str(text)] = (dimensions["bucket"], int(dimensions["release"]))
    return keys


def _stop_if_hopeless(error: Exception | None) -> None:
    """Raise an error about the source or the store, which concerns every bucket."""
    if error is not None and (isinstance(error, DanbooruPipelineError) or is_disk_full(error)):
        raise error


def _reasons_text(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(reasons.items(), key=lambda item: -item[1]))


def _buckets_failed(failed: Mapping[str, str]) -> dg.Failure:
    shown = sorted(failed)[:SHOWN]
    rows = "\n".join(f"| {key} | {failed[key]} |" for key in sorted(failed)[: 5 * SHOWN])
    return dg.Failure(
        description=(
            f"{len(failed)} bucket partition(s) have posts left: {', '.join(shown)}"
            f"{' …' if len(failed) > SHOWN else ''}. Backfill the failed ones: only what is pending is fetched again."
        ),
        metadata={
            "failed_buckets": len(failed),
            "what_is_left": dg.MetadataValue.md(f"| partition | reasons |\n|---|---|\n{rows}"),
        },
        allow_retries=False,
    )

"""How an asset runs the core: errors become clear failures, and buckets succeed or fail one by one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

import dagster as dg

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.partitions import bucket_releases
from danbooru_pipeline.errors import DanbooruPipelineError, ReleaseRefused, full_disk_named, is_disk_full
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.store.buckets import Finished, for_each_bucket

#: Names shown of a long list; the rest is in the files on disk.
SHOWN = 20


class BucketReport(Protocol):
    """What the core says of a bucket it worked on."""

    @property
    def reasons(self) -> Mapping[str, int]:
        """Rows with a reason, counted."""


R = TypeVar("R", bound=BucketReport)
R_co = TypeVar("R_co", bound=BucketReport, covariant=True)


class BucketWork(Protocol[R_co]):
    """The core's work on one bucket."""

    def __call__(self, bucket: str, year: int, meter: Meter) -> R_co:
        """Do it; the meter counts files."""


@contextmanager
def clear_failures(context: RunContext) -> Iterator[None]:
    """Turn an error of ours into a failure that the UI shows as one line. Running it again by itself would not help."""
    try:
        with context.working(), full_disk_named(context.layout.root):
            yield
    except DanbooruPipelineError as error:
        metadata = {}
        if isinstance(error, ReleaseRefused) and error.rows:
            metadata["rows"] = dg.MetadataValue.md("\n".join(f"- {row}" for row in error.rows[:SHOWN]))
        raise dg.Failure(description=str(error), metadata=metadata, allow_retries=False) from error


def materialize_buckets(
    context: dg.AssetExecutionContext,
    resources: RunContext,
    work: BucketWork[R],
    *,
    numbers: Callable[[R], dict[str, Any]],
    pending: Callable[[R], int],
) -> dg.MaterializeResult:
    """Do `work(bucket, year, meter)` for every partition of the run.

    A bucket with posts left pending fails; the others are materialised even then. Dagster drops the materialisations
    of a step that fails, so those of the finished buckets are logged by hand before it does.
    """
    keys = _partitions(context)
    done: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    complete = False
    try:
        with clear_failures(resources):
            for year in sorted({year for _, year in keys.values()}):
                of_bucket = {bucket: key for key, (bucket, its_year) in keys.items() if its_year == year}
                title = f"{context.asset_key.to_user_string()} {year}"
                meter = Meter(title, total=len(of_bucket), report=context.log.info, watch=resources.watch)
                for finished in _work_on(work, list(of_bucket), year, meter):
                    meter.count_step()
                    key = of_bucket[finished.bucket]
                    if finished.report is None:
                        _stop_if_hopeless(finished.error)
                        failed[key] = repr(finished.error)
                    elif pending(finished.report):
                        failed[key] = _reasons_text(finished.report.reasons)
                    else:
                        done[key] = numbers(finished.report)
                    if finished.report is not None:
                        _count(resources, numbers(finished.report), finished.report.reasons)
        if failed:
            raise _buckets_failed(failed)
        complete = True
    finally:
        if not complete:
            for key, metadata in done.items():
                context.log_event(dg.AssetMaterialization(context.asset_key, partition=key, metadata=metadata))
    for key, metadata in done.items():
        context.add_asset_metadata(metadata, partition_key=key)
    return dg.MaterializeResult()


def _work_on(work: BucketWork[R], buckets: list[str], year: int, meter: Meter) -> Iterator[Finished[R]]:
    with meter:
        yield from for_each_bucket(partial(work, year=year, meter=meter), buckets)


def _count(context: RunContext, numbers: Mapping[str, Any], reasons: Mapping[str, int]) -> None:
    """Add a bucket to the sums of the run, which whoever started it reports; Dagster drops those of a failed step."""
    context.counted.update({name: value for name, value in numbers.items() if isinstance(value, int)})
    context.counted.update({f"reason:{name}": count for name, count in reasons.items()})


def _partitions(context: dg.AssetExecutionContext) -> dict[str, tuple[str, int]]:
    """Partition key -> bucket and year. The keys are computed anew at every access, so they are read once."""
    keys: dict[str, tuple[str, int]] = {}
    for text in context.partition_keys:
        dimensions = bucket_releases.get_partition_key_from_str(str(text)).keys_by_dimension
        keys[str(text)] = (dimensions["bucket"], int(dimensions["release"]))
    return keys


def _stop_if_hopeless(error: Exception | None) -> None:
    """An error about the source or the store concerns every bucket: go no further."""
    if isinstance(error, DanbooruPipelineError) or is_disk_full(error):
        assert error is not None
        raise error


def _reasons_text(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(reasons.items(), key=lambda item: -item[1]))


def _buckets_failed(failed: Mapping[str, str]) -> dg.Failure:
    shown = sorted(failed)[:SHOWN]
    rows = "\n".join(f"| {key} | {failed[key]} |" for key in sorted(failed)[: 5 * SHOWN])
    return dg.Failure(
        description=(
            f"{len(failed)} bucket partition(s) have posts left: {', '.join(shown)}"
            f"{' …' if len(failed) > SHOWN else ''}. Backfill the failed ones: only what is pending is asked for again."
        ),
        metadata={
            "failed_buckets": len(failed),
            "what_is_left": dg.MetadataValue.md(f"| partition | reasons |\n|---|---|\n{rows}"),
        },
        allow_retries=False,
    )

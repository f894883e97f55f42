"""Assets of the image chain, partitioned by bucket and release.

The two stages take different numbers of buckets a run. With the same number Dagster would put both into one run, where
one bad bucket would hold up its neighbours downstream.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import dagster as dg

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.automation import FOLLOW_ALL_ORIGINALS, FOLLOW_NEWEST_RELEASE, OWNERS
from danbooru_pipeline.defs.described import described, where
from danbooru_pipeline.defs.metadata import posts_by_bucket
from danbooru_pipeline.defs.partitions import bucket_releases
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.defs.runs import materialize_buckets
from danbooru_pipeline.outcomes import Reason, parse_recheck
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.store.originals import OriginalsReport, ask_about_failed, build_originals
from danbooru_pipeline.store.px512 import Px512Report, build_px512
from danbooru_pipeline.store.recheck import expect_rechecks

GROUP = "images"
#: A release is five runs of originals, and at most as many of 512px images, whatever storage Dagster has.
ORIGINALS_PER_RUN = 200
#: Of a run that asks again about posts without a file: their reasons, or `all`.
RECHECK_TAG = "danbooru/recheck"
PX512_PER_RUN = 250


def _numbers(report: OriginalsReport | Px512Report) -> dict[str, Any]:
    """A report as Dagster metadata: every number, and a table of reasons if there are any."""
    numbers = asdict(report)
    reasons = numbers.pop("reasons")
    numbers.pop("failed", None)
    if isinstance(report, Px512Report):
        numbers |= where(numbers.pop("folder"))
    sheet = numbers.pop("sheet", None)
    if sheet is not None:
        picture = base64.b64encode(sheet).decode()
        numbers["contact_sheet"] = dg.MetadataValue.md(f"![some of the 512px images](data:image/jpeg;base64,{picture})")
    if isinstance(report, OriginalsReport) and report.fetched and report.seconds:
        numbers["files_per_second"] = report.fetched / report.seconds
        numbers["bytes_per_second"] = report.bytes_fetched / report.seconds
    if reasons:
        rows = "\n".join(f"| {name} | {count} |" for name, count in sorted(reasons.items()))
        numbers["reasons"] = dg.MetadataValue.md(f"| reason | posts |\n|---|---:|\n{rows}")
    return numbers


@dataclass(frozen=True, slots=True)
class _Rechecks:
    """Questions about posts without a file, pooled over the buckets of a run: 200 posts a request."""

    run_context: RunContext
    reasons: frozenset[Reason]

    def begin(self, buckets: Sequence[str], year: int) -> None:
        """Name the posts that are asked about before anything is fetched."""
        expect_rechecks(self.run_context, buckets, year, recheck=self.reasons)

    def is_left(self, report: OriginalsReport) -> bool:
        """Whether a file could not be fetched."""
        return bool(report.failed)

    def gather(self, reports: Iterable[OriginalsReport]) -> None:
        """Name the posts whose files could not be fetched."""
        self.run_context.rechecker.expect(id_ for report in reports for id_ in report.failed)

    def finish(self, bucket: str, year: int, report: OriginalsReport, meter: Meter) -> OriginalsReport:
        """Ask about those of a bucket."""
        return ask_about_failed(self.run_context, bucket, year, before=report, meter=meter)


@dg.asset(
    partitions_def=bucket_releases,
    group_name=GROUP,
    owners=OWNERS,
    metadata=described(runbook="files-that-are-missing"),
    automation_condition=FOLLOW_NEWEST_RELEASE,
    kinds={"file"},
    deps=[posts_by_bucket],
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=ORIGINALS_PER_RUN),
    pool="booru",
)
def original_images(
    context: dg.AssetExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.MaterializeResult:
    """The uploaded files of a bucket, checked against their MD5 and losslessly optimised, up to a release's cutoff.

    Fails when a post is left pending; another run fetches only those. A run with the tag danbooru/recheck, say
    "gone,refused" or "all", asks again about posts with these reasons.
    """
    recheck = parse_recheck(context.run.tags.get(RECHECK_TAG, ""))
    return materialize_buckets(
        context,
        run_context,
        run_log,
        lambda bucket, year, meter: build_originals(
            run_context, bucket, year, meter=meter, recheck=recheck, ask_later=True
        ),
        numbers=_numbers,
        pending=lambda report: report.pending,
        shared=_Rechecks(run_context, recheck),
    )


@dg.asset(
    partitions_def=bucket_releases,
    group_name=GROUP,
    owners=OWNERS,
    metadata=described(runbook="a-run-died"),
    automation_condition=FOLLOW_ALL_ORIGINALS,
    kinds={"jpeg"},
    deps=[original_images],
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=PX512_PER_RUN),
    pool="image_cpu",
)
def images_512px(
    context: dg.AssetExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.MaterializeResult:
    """A 512×512 JPEG, on white unless that hides it, for every single-frame image with an SFW rating of the release.

    Most come from the same read as the original; this makes those that new ratings, new settings or lost files require.
    """
    return materialize_buckets(
        context,
        run_context,
        run_log,
        lambda bucket, year, meter: build_px512(run_context, bucket, year),  # noqa: ARG005 - only buckets are counted, no files
        numbers=_numbers,
        pending=lambda _report: 0,
    )

"""The weekly scrub as a job; its findings are those of an asset, so that Dagster plots them over the years.

The asset is external: no run of assets makes it, so *Materialize all* of the UI does not begin a scrub.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.automation import OWNERS, SCHEDULE_STATUS
from danbooru_pipeline.defs.described import described
from danbooru_pipeline.defs.jobs import Desk, Report, operator_job
from danbooru_pipeline.defs.reports import bullets, show
from danbooru_pipeline.defs.runs import SHOWN
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.operate.scrub import ScrubReport, buckets_of_week, scrub_bucket
from danbooru_pipeline.progress import counted
from danbooru_pipeline.store.buckets import for_each_bucket

scrubbed_store = dg.AssetSpec(
    "scrubbed_store",
    group_name="store",
    kinds={"file"},
    owners=OWNERS,
    metadata=described(runbook="bit-rot-a-file-changed-on-disk"),
    description=(
        "What each weekly scrub found: it hashes every file of a 52nd of the buckets; damaged ones go to the "
        "quarantine and are fetched again. The job scrub_store makes it."
    ),
)


class ScrubConfig(dg.Config):
    """Which buckets are hashed."""

    buckets: list[str] = Field(default=[], description="like 0123; by default those of this week, a 52nd of all")


@operator_job(
    "scrub_store", description="Hashes a 52nd of the store and repairs damaged files.", config=ScrubConfig, pool="booru"
)
def scrub_buckets_of_the_week(desk: Desk, config: ScrubConfig) -> Report:
    """Hash every file of some buckets, and repair what is damaged."""
    unknown = sorted(set(config.buckets) - set(BUCKETS))
    if unknown:
        raise SettingsError(f"{unknown[0]} is not a bucket like 0123; correct the run's config and launch it again")
    buckets = sorted(config.buckets) or buckets_of_week(desk.run_context.now().date())
    reports, errors = _scrub(desk.run_context, buckets)
    left = sorted([*errors, *(line for report in reports for line in report.left)])
    counts: dict[str, Any] = {
        "damaged": sum(report.damaged for report in reports),
        "repaired": sum(report.repaired for report in reports),
        "left": len(left),
    }
    files = sum(report.files for report in reports)
    numbers = {
        "buckets": len(reports),
        "files": files,
        "bytes": sum(report.bytes for report in reports),
        **counts,
        "worst": show(bullets(left[:SHOWN])),
    }
    desk.run.log_event(dg.AssetMaterialization(scrubbed_store.key, metadata=numbers))
    outcome: Any = dg.AssetCheckEvaluation(  # which Dagster takes, though its annotation does not say so
        asset_key=scrubbed_store.key, check_name="nothing_is_left_damaged", passed=not left, metadata=counts
    )
    desk.run.log_event(outcome)
    found = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    return Report([f"scrubbed {buckets[0]} to {buckets[-1]}: {counted(files, 'file')}, {found}", *left])


def _scrub(context: RunContext, buckets: Sequence[str]) -> tuple[list[ScrubReport], list[str]]:
    """The reports of buckets, and the errors of those that have none."""
    reports, errors = [], []
    with for_each_bucket(partial(scrub_bucket, context), buckets) as scrubbed:
        for finished in scrubbed:
            if finished.error is not None:
                errors.append(f"{finished.bucket}: {finished.error}")
            elif finished.report is not None:
                reports.append(finished.report)
    return reports, errors


@dg.asset_check(asset=scrubbed_store.key)
def nothing_is_left_damaged(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Every file that the last scrub found damaged is repaired, in the store and in every release."""
    event = context.instance.get_latest_materialization_event(scrubbed_store.key)
    metadata = event.asset_materialization.metadata if event and event.asset_materialization else {}
    counts = {name: metadata[name].value for name in ("damaged", "repaired", "left") if name in metadata}
    return dg.AssetCheckResult(passed=not counts.get("left"), metadata=counts)


weekly_scrub = dg.ScheduleDefinition(
    name="weekly_scrub",
    job=scrub_buckets_of_the_week,
    cron_schedule="30 3 * * 0",
    execution_timezone="UTC",
    default_status=SCHEDULE_STATUS,
    description="Every Sunday night: hashes a 52nd of the store and repairs damaged files.",
)

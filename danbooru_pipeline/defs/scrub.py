"""The weekly scrub as a job; its findings are those of an asset, so that Dagster plots them over the years.

The asset is external: no run of assets makes it, so *Materialize all* of the UI does not begin a scrub.
"""

from functools import partial
from typing import Any

import dagster as dg

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.automation import OWNERS, SCHEDULE_STATUS
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.defs.runs import SHOWN, clear_failures
from danbooru_pipeline.operate.scrub import buckets_of_week, scrub_bucket
from danbooru_pipeline.store.buckets import for_each_bucket

scrubbed_store = dg.AssetSpec(
    "scrubbed_store",
    group_name="store",
    kinds={"file"},
    owners=OWNERS,
    description=(
        "What each weekly scrub found: it hashes every file of a 52nd of the buckets; damaged ones go to the "
        "quarantine and are fetched again. The job scrub_store makes it."
    ),
)


@dg.op(out=dg.Out(dg.Nothing), pool="booru")
def scrub_buckets_of_the_week(
    context: dg.OpExecutionContext, toolbox: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> None:
    """Hash every file of a 52nd of the buckets, and repair what is damaged."""
    buckets = buckets_of_week(toolbox.now().date())
    reports, errors = [], []
    with clear_failures(toolbox, run_log), for_each_bucket(partial(scrub_bucket, toolbox), buckets) as scrubbed:
        for finished in scrubbed:
            if finished.error is not None:
                errors.append(f"{finished.bucket}: {finished.error}")
            elif finished.report is not None:
                reports.append(finished.report)
    left = sorted([*errors, *(line for report in reports for line in report.left)])
    context.log.info("scrubbed %s to %s", buckets[0], buckets[-1])
    numbers: dict[str, Any] = {
        "buckets": len(reports),
        "files": sum(report.files for report in reports),
        "bytes": sum(report.bytes for report in reports),
        "damaged": sum(report.damaged for report in reports),
        "repaired": sum(report.repaired for report in reports),
        "left": len(left),
        "worst": dg.MetadataValue.md("\n".join(f"- {line}" for line in left[:SHOWN]) or "nothing"),
    }
    context.log_event(dg.AssetMaterialization(scrubbed_store.key, metadata=numbers))
    counts = {name: numbers[name] for name in ("damaged", "repaired", "left")}
    outcome: Any = dg.AssetCheckEvaluation(  # which Dagster takes, though its annotation does not say so
        asset_key=scrubbed_store.key, check_name="nothing_is_left_damaged", passed=not left, metadata=counts
    )
    context.log_event(outcome)


@dg.asset_check(asset=scrubbed_store.key)
def nothing_is_left_damaged(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Every file that the last scrub found damaged is repaired, in the store and in every release."""
    event = context.instance.get_latest_materialization_event(scrubbed_store.key)
    metadata = event.asset_materialization.metadata if event and event.asset_materialization else {}
    counts = {name: metadata[name].value for name in ("damaged", "repaired", "left") if name in metadata}
    return dg.AssetCheckResult(passed=not counts.get("left"), metadata=counts)


@dg.job(description="Hashes a 52nd of the store and repairs damaged files.")
def scrub_store() -> None:
    """One op."""
    scrub_buckets_of_the_week()


weekly_scrub = dg.ScheduleDefinition(
    name="weekly_scrub",
    job=scrub_store,
    cron_schedule="30 3 * * 0",
    execution_timezone="UTC",
    default_status=SCHEDULE_STATUS,
    description="Every Sunday night: hashes a 52nd of the store and repairs damaged files.",
)

"""What a release waits for, as one asset check and one daily message: the store's side and Dagster's in one list.

Nothing is silent: missing and failed buckets, pending posts by id, checks that block or warn, a source that is not
ready, a late release, weeks without a scrub. Each line ends by saying what to do.
"""

from datetime import datetime, timedelta
from typing import Final

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.checks import CHECKS
from danbooru_pipeline.defs.images import images_512px, original_images
from danbooru_pipeline.defs.metadata import posts_by_bucket
from danbooru_pipeline.defs.partitions import bucket_releases, releases
from danbooru_pipeline.defs.release import publication
from danbooru_pipeline.defs.reports import bullets, show
from danbooru_pipeline.defs.scrub import scrubbed_store
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.operate.readiness import Memory, decide, look_at
from danbooru_pipeline.operate.waiting import lateness, what_is_left
from danbooru_pipeline.posts.takedowns import unfinished_takedowns
from danbooru_pipeline.progress import counted
from danbooru_pipeline.release import published

_MADE: Final = dg.DagsterEventType.ASSET_MATERIALIZATION
#: A scrub is due each week.
SCRUB_DUE: Final = timedelta(days=8)


def unfinished_buckets(instance: dg.DagsterInstance, year: int) -> dict[str, bool]:
    """Buckets of a release that are missing or failed in either image asset, and whether they failed in one."""
    keys = {f"{bucket}|{year}": bucket for bucket in BUCKETS}
    found: dict[str, bool] = {}
    for asset in (original_images, images_512px):
        states = instance.get_status_by_partition(asset.key, list(keys), bucket_releases) or {}
        for key, bucket in keys.items():
            state = states.get(key)
            if state is None or state.name != "MATERIALIZED":
                found[bucket] = found.get(bucket, False) or (state is not None and state.name == "FAILED")
    return found


def outdated_buckets(instance: dg.DagsterInstance, year: int) -> set[str]:
    """Buckets whose originals were made before the posts of their release last changed."""
    of_posts = dg.EventRecordsFilter(_MADE, asset_key=posts_by_bucket.key, asset_partitions=[str(year)])
    changed: int | None = None
    version: str | None = None
    for record in instance.event_log_storage.get_event_records(of_posts):  # the newest first
        made = record.asset_materialization
        this = (made.tags or {}).get("dagster/data_version") if made else None
        if version is not None and this != version:
            break
        version, changed = this or "", record.storage_id
    if changed is None:
        return set()
    keys = {f"{bucket}|{year}": bucket for bucket in BUCKETS}
    latest = instance.event_log_storage.get_latest_storage_id_by_partition(original_images.key, _MADE, set(keys))
    return {keys[key] for key, storage_id in latest.items() if storage_id < changed}


def failed_checks(instance: dg.DagsterInstance, year: int, *, warnings: bool = True) -> list[str]:
    """One line for each check of a release whose newest outcome is not good."""
    keys = [key for check in CHECKS for key in check.check_keys]
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys, PartitionKeyFilter(key=str(year)))
    lines = []
    for key, record in found.items():
        evaluation = record.evaluation
        if (
            not isinstance(evaluation, dg.AssetCheckEvaluation) or evaluation.passed
        ):  # a run that goes on has only planned it
            continue
        warns = evaluation.severity is dg.AssetCheckSeverity.WARN
        if warns and not warnings:
            continue
        verb = "warns" if warns else "failed"
        why = evaluation.description or f"look at the asset {key.asset_key.to_user_string()}"
        lines.append(f"the check {key.name} {verb}: {why}")
    return lines


def what_it_waits_for(instance: dg.DagsterInstance, context: RunContext, year: int) -> list[str]:
    """All of it, one line each; empty for a release that is published and has nothing left."""
    left = what_is_left(context.layout, year, exclude_tags=context.exclude_tags)
    lines = left.lines()
    if not left.has_posts:
        return lines
    unfinished = unfinished_buckets(instance, year)
    if unfinished:
        buckets = counted(len(unfinished), "bucket is", "buckets are")
        lines.append(
            f"{buckets} missing or failed in Dagster, from {min(unfinished)} on; launch the job build_what_is_left"
        )
    outdated = outdated_buckets(instance, year)
    if outdated:
        buckets = counted(len(outdated), "bucket was", "buckets were")
        lines.append(f"{buckets} made of older posts; launch the job build_what_is_left")
    lines += failed_checks(instance, year)
    if year not in published(context.layout) and not lines:
        lines.append("its manifest, snapshot and publication are not made; launch the job finish_release")
    return lines


def everything_that_waits(instance: dg.DagsterInstance, context: RunContext) -> tuple[int | None, list[str]]:
    """The newest year that is over, and what its release and the store wait for: what an operator should hear of."""
    now = context.now()
    lines = _scrub_lines(instance, now) if context.settings.automation else []
    held = unfinished_takedowns(context.layout)
    looked = decide(
        Memory(),
        now=now,
        first_year=context.settings.first_year,
        settling_days=context.settings.settling_days,
        look=lambda year: look_at(context.source, year),
    )
    year = looked.year
    if year is None or year in published(context.layout):
        return year, [*held, *lines]
    if context.layout.posts_by_bucket(year).is_dir():
        lines = [*what_it_waits_for(instance, context, year), *lines]
    elif "cannot start" in looked.why:
        lines = [looked.why, *lines]
    return year, list(dict.fromkeys([*held, *lateness(context.layout, year, now=now), *lines]))


def _scrub_lines(instance: dg.DagsterInstance, now: datetime) -> list[str]:
    event = instance.get_latest_materialization_event(scrubbed_store.key)
    if event is None or now.timestamp() - event.timestamp < SCRUB_DUE.total_seconds():
        return []
    days = int((now.timestamp() - event.timestamp) / 86_400)
    what_to_do = "launch the job scrub_store, or start the schedule weekly_scrub"
    return [f"the store was last scrubbed {days} days ago; {what_to_do}"]


@dg.asset_check(asset=publication, partitions_def=releases)
def nothing_holds_up_the_release(
    context: dg.AssetCheckExecutionContext, run_context: dg.ResourceParam[RunContext]
) -> dg.AssetCheckResult:
    """The release waits for nothing; else each line says what it waits for, and how to go on or to overrule it."""
    lines = what_it_waits_for(context.instance, run_context, int(context.partition_key))
    return dg.AssetCheckResult(
        passed=not lines,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(lines) or None,
        metadata={"waits_for": len(lines), "what": show(bullets(lines))},
    )

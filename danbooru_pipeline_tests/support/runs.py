"""Dagster runs in this process, as the UI would launch them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import dagster as dg

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.build import build_defs
from danbooru_pipeline.defs.run_log import RunLog

METADATA = ["posts", "posts_by_bucket", "side_tables"]
RELEASE = ["release_manifest", "release_snapshot", "publication"]


def run(
    context: RunContext,
    instance: dg.DagsterInstance,
    assets: list[str],
    tags: dict[str, str],
    *,
    log: RunLog | None = None,
) -> dg.ExecuteInProcessResult:
    """Execute assets as one run, as the UI would; with a log, as a headless build does."""
    resources = {"run_context": context} | ({"run_log": log} if log else {})
    job = build_defs(resources=resources).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(asset) for asset in assets],
        tags=tags,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )


def run_year(
    context: RunContext, instance: dg.DagsterInstance, assets: list[str], year: int
) -> dg.ExecuteInProcessResult:
    """Execute assets that are partitioned by release."""
    return run(context, instance, assets, {"dagster/partition": str(year)})


def run_buckets(
    context: RunContext,
    instance: dg.DagsterInstance,
    asset: str,
    year: int,
    first: str,
    last: str,
    *,
    tags: Mapping[str, str] = MappingProxyType({}),
) -> dg.ExecuteInProcessResult:
    """Execute a range of buckets in one run."""
    chosen = {
        **tags,
        "dagster/asset_partition_range_start": f"{first}|{year}",
        "dagster/asset_partition_range_end": f"{last}|{year}",
    }
    return run(context, instance, [asset], chosen)


def run_job(context: RunContext, instance: dg.DagsterInstance, name: str, **config: Any) -> dg.ExecuteInProcessResult:
    """Execute a job of one op with its options, as its launchpad would."""
    job = build_defs(resources={"run_context": context}).resolve_job_def(name)
    (op,) = (node.name for node in job.nodes)
    run_config: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    if config:
        run_config["ops"] = {op: {"config": config}}
    return job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False)


def numbers_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The metadata of the one materialisation that a job of one op made."""
    (event,) = (event for event in result.all_events if event.event_type_value == "ASSET_MATERIALIZATION")
    return dict(event.step_materialization_data.materialization.metadata)


def report_of(result: dg.ExecuteInProcessResult) -> str:
    """The report that a job shows in its run, whether it succeeded or not."""
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.user_failure_data is not None:
            return str(event.step_failure_data.user_failure_data.metadata["report"].value)
        if event.event_type_value == "STEP_OUTPUT" and "report" in event.step_output_data.metadata:
            return str(event.step_output_data.metadata["report"].value)
    raise LookupError("the run shows no report")


def sensor_context(
    instance: dg.DagsterInstance, *, cursor: str | None = None, **more: Any
) -> dg.SensorEvaluationContext:
    """What a sensor is called with, of a code location or a repository, which `build_sensor_context` does not take."""
    return dg.SensorEvaluationContext(
        instance_ref=None,
        last_tick_completion_time=None,
        last_run_key=None,
        repository_name=None,
        instance=instance,
        cursor=cursor,
        **more,
    )

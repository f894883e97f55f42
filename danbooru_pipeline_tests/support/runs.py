"""Dagster runs in this process, as the UI would launch them."""

from collections.abc import Mapping
from types import MappingProxyType

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
    resources = {"toolbox": context} | ({"run_log": log} if log else {})
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

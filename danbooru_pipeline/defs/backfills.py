"""Jobs that find the partitions a release still needs, and launch them: what no single filter of the UI can select.

They look at the store (the plan of a build) and at Dagster (missing, failed and outdated partitions). What they launch
is an ordinary backfill, which the UI shows, cancels and re-executes like any other.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.utils import make_new_backfill_id
from dagster._utils.warnings import disable_dagster_warnings
from pydantic import Field

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.images import RECHECK_TAG, images_512px, original_images
from danbooru_pipeline.defs.operations import DRY_RUN, YEAR
from danbooru_pipeline.defs.release import publication, release_manifest, release_snapshot
from danbooru_pipeline.defs.reports import bullets, show
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.defs.runs import clear_failures
from danbooru_pipeline.defs.waiting import outdated_buckets, unfinished_buckets
from danbooru_pipeline.errors import ReleaseRefused, SettingsError
from danbooru_pipeline.operate.waiting import what_is_left
from danbooru_pipeline.outcomes import parse_recheck
from danbooru_pipeline.store.planning import plan_year, require_posts


class LeftConfig(dg.Config):
    """Which release is looked at."""

    year: int = YEAR
    dry_run: bool = DRY_RUN


class RecheckConfig(dg.Config):
    """The option ``--recheck`` of ``danbooru-pipeline build``."""

    year: int = YEAR
    reasons: str = Field(default="gone,refused", description="of posts without a file, or all")
    dry_run: bool = DRY_RUN


@dg.op(out=dg.Out(dg.Nothing))
def launch_what_is_left(
    context: dg.OpExecutionContext,
    config: LeftConfig,
    toolbox: dg.ResourceParam[RunContext],
    run_log: dg.ResourceParam[RunLog],
) -> None:
    """Launch the buckets of a release that are missing, failed, outdated by newer posts, or have work left."""
    with clear_failures(toolbox, run_log):
        require_posts(toolbox.layout, config.year)
        left = what_is_left(toolbox.layout, config.year, exclude_tags=toolbox.exclude_tags)
    found = {
        "missing or failed": unfinished_buckets(context.instance, config.year),
        "made of older posts": outdated_buckets(context.instance, config.year),
        "with work left": set(left.with_work),
    }
    buckets = sorted(set().union(*found.values()))
    lines = [f"{len(buckets):,} buckets of {config.year}: {', '.join(f'{len(v):,} {k}' for k, v in found.items())}"]
    _launch_buckets(context, config.year, buckets, lines=[*lines, *left.lines()], dry_run=config.dry_run)


@dg.op(out=dg.Out(dg.Nothing))
def launch_rechecks(
    context: dg.OpExecutionContext,
    config: RecheckConfig,
    toolbox: dg.ResourceParam[RunContext],
    run_log: dg.ResourceParam[RunLog],
) -> None:
    """Launch the buckets with posts without a file for some reasons; the source is asked about those posts again."""
    layout, year = toolbox.layout, config.year
    with clear_failures(toolbox, run_log):
        require_posts(layout, year)
        try:
            reasons = parse_recheck(config.reasons)
        except ValueError as error:
            raise SettingsError(f"{error}; correct the run's config and launch it again") from None
        plan = plan_year(layout, year, exclude_tags=toolbox.exclude_tags, recheck=reasons)
    buckets = [each.bucket for each in plan.buckets if each.recheck]
    count = sum(each.recheck for each in plan.buckets)
    lines = [f"{count:,} posts of {year} in {len(buckets):,} buckets have no file for these reasons: {config.reasons}"]
    tags = {RECHECK_TAG: ",".join(sorted(reasons))}
    _launch_buckets(context, year, buckets, lines=lines, dry_run=config.dry_run, tags=tags)


@dg.op(out=dg.Out(dg.Nothing))
def launch_release(
    context: dg.OpExecutionContext,
    config: LeftConfig,
    toolbox: dg.ResourceParam[RunContext],
    run_log: dg.ResourceParam[RunLog],
) -> None:
    """Launch manifest, snapshot and publication of a release whatever is pending; its checks must pass nevertheless."""
    with clear_failures(toolbox, run_log):
        left = what_is_left(toolbox.layout, config.year, exclude_tags=toolbox.exclude_tags)
        if not left.can_finish:
            raise ReleaseRefused("; ".join(left.lines()), rows=left.lines())
    _launch(
        context,
        [release_manifest, release_snapshot, publication],
        [str(config.year)],
        lines=[f"the release of {config.year} with {len(left.pending):,} posts pending", *left.lines()],
        dry_run=config.dry_run,
    )


def _launch_buckets(
    context: dg.OpExecutionContext,
    year: int,
    buckets: Sequence[str],
    *,
    lines: list[str],
    dry_run: bool,
    tags: Mapping[str, str] | None = None,
) -> None:
    keys = [f"{bucket}|{year}" for bucket in buckets]
    _launch(context, [original_images, images_512px], keys, lines=lines, dry_run=dry_run, tags=tags)


def _launch(
    context: dg.OpExecutionContext,
    assets: Sequence[dg.AssetsDefinition],
    partitions: Sequence[str],
    *,
    lines: list[str],
    dry_run: bool,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Hand a backfill to the daemon unless it is a dry run, and say which in the report."""
    done = "nothing to launch"
    if partitions and dry_run:
        done = "dry run: nothing was launched; switch dry_run off to do it"
    elif partitions:
        with disable_dagster_warnings():  # of its own use of what it deprecates
            backfill = PartitionBackfill.from_asset_partitions(
                backfill_id=make_new_backfill_id(),
                asset_graph=AssetGraph.from_assets(assets),
                partition_names=list(partitions),
                asset_selection=[asset.key for asset in assets],
                backfill_timestamp=datetime.now(UTC).timestamp(),
                tags=dict(tags or {}),
                dynamic_partitions_store=context.instance,
                all_partitions=False,
                title=f"{context.job_name} ({context.run_id[:8]})",
                description=lines[0],
                run_config=None,
            )
        context.instance.add_backfill(backfill)
        done = f"launched backfill {backfill.backfill_id}; the daemon starts its runs within half a minute"
    report = show(bullets([*lines, done]))
    context.add_output_metadata({"report": report, "partitions": len(partitions)})


@dg.job(description="Builds the buckets of a release that are missing, failed or outdated; shows them first (dry_run).")
def build_what_is_left() -> None:
    """One op."""
    launch_what_is_left()


@dg.job(description="Asks again about posts without a file, say gone or refused; shows how many first (dry_run).")
def recheck_missing() -> None:
    """One op."""
    launch_rechecks()


@dg.job(description="Makes and publishes a release with what is pending, as `build` does; names it first (dry_run).")
def finish_release() -> None:
    """One op."""
    launch_release()


JOBS = [build_what_is_left, recheck_missing, finish_release]

"""Jobs that launch the partitions a release still needs: what no single filter of the UI can select.

What they launch is an ordinary backfill, which the UI shows, cancels and re-executes like any other.
"""

from collections.abc import Mapping, Sequence

import dagster as dg
from pydantic import Field

from danbooru_pipeline.defs.images import RECHECK_TAG
from danbooru_pipeline.defs.jobs import Desk, Report, operator_job
from danbooru_pipeline.defs.launching import IMAGES, RELEASE, find_unfinished, request_backfill
from danbooru_pipeline.defs.operations import DRY_RUN, YEAR
from danbooru_pipeline.errors import ReleaseRefused, SettingsError
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.operate.waiting import what_is_left
from danbooru_pipeline.outcomes import parse_recheck
from danbooru_pipeline.progress import counted
from danbooru_pipeline.store.planning import plan_year, require_posts, with_neighbours


class LeftConfig(dg.Config):
    """Which release is looked at."""

    year: int = YEAR
    dry_run: bool = DRY_RUN


class RecheckConfig(dg.Config):
    """The option ``--recheck`` of ``danbooru-pipeline build``."""

    year: int = YEAR
    reasons: str = Field(default="gone,refused", description="of posts without a file, or all")
    dry_run: bool = DRY_RUN


@operator_job(
    "build_what_is_left",
    description="Builds the buckets of a release that are missing, failed or outdated; shows them first (dry_run).",
    config=LeftConfig,
)
def launch_what_is_left(desk: Desk, config: LeftConfig) -> Report:
    """Launch the buckets of a release that are missing, failed, outdated by newer posts, or have work left."""
    found = find_unfinished(desk.run.instance, desk.run_context, config.year)
    lines = found.lines()
    return _launch(desk, IMAGES, found.partitions(), lines=lines, dry_run=config.dry_run)


@operator_job(
    "recheck_missing",
    description="Asks again about posts without a file, say gone or refused; shows how many first (dry_run).",
    config=RecheckConfig,
)
def launch_rechecks(desk: Desk, config: RecheckConfig) -> Report:
    """Launch the buckets with posts without a file for some reasons; the source is asked about those posts again."""
    layout, year = desk.run_context.layout, config.year
    require_posts(layout, year)
    try:
        reasons = parse_recheck(config.reasons)
    except ValueError as error:
        raise SettingsError(f"{error}; correct the run's config and launch it again") from None
    plan = plan_year(layout, year, exclude_tags=desk.run_context.exclude_tags, recheck=reasons)
    buckets = {each.bucket for each in plan.buckets if each.recheck}
    count = sum(each.recheck for each in plan.buckets)
    posts, where = counted(count, "post"), counted(len(buckets), "bucket")
    lines = [f"{posts} of {year} in {where} without a file for these reasons: {config.reasons}"]
    keys = [f"{bucket}|{year}" for bucket in with_neighbours(BUCKETS, buckets)]
    return _launch(
        desk, IMAGES, keys, lines=lines, dry_run=config.dry_run, tags={RECHECK_TAG: ",".join(sorted(reasons))}
    )


@operator_job(
    "finish_release",
    description="Makes and publishes a release with what is pending, as `build` does; names it first (dry_run).",
    config=LeftConfig,
)
def launch_release(desk: Desk, config: LeftConfig) -> Report:
    """Launch manifest, snapshot and publication of a release whatever is pending; its checks must pass nevertheless."""
    left = what_is_left(desk.run_context.layout, config.year, exclude_tags=desk.run_context.exclude_tags)
    if not left.can_finish:
        raise ReleaseRefused("; ".join(left.lines()), rows=left.lines())
    lines = [f"the release of {config.year} with {counted(len(left.pending), 'post')} pending", *left.lines()]
    return _launch(desk, RELEASE, [str(config.year)], lines=lines, dry_run=config.dry_run)


def _launch(
    desk: Desk,
    assets: Sequence[dg.AssetsDefinition],
    partitions: Sequence[str],
    *,
    lines: Sequence[str],
    dry_run: bool,
    tags: Mapping[str, str] | None = None,
) -> Report:
    """Hand a backfill to the daemon unless it is a dry run, and say which in the report."""
    done = "nothing to launch"
    if partitions and dry_run:
        done = "dry run: nothing was launched; switch dry_run off to do it"
    elif partitions:
        title = f"{desk.run.job_name} ({desk.run.run_id[:8]})"
        launched = request_backfill(desk.run.instance, assets, partitions, title=title, why=lines[0], tags=tags)
        done = f"launched backfill {launched}; the daemon starts its runs within half a minute"
    return Report([*lines, done], numbers={"partitions": len(partitions)})


JOBS = [launch_what_is_left, launch_rechecks, launch_release]

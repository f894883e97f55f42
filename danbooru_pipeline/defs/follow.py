"""Following the running year as an asset, with a job to start it in the UI and a nightly schedule, off by default."""

import dagster as dg

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.automation import OWNERS
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.defs.runs import clear_failures
from danbooru_pipeline.operate.follow import follow, open_follower
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.settings import Settings


class FollowConfig(dg.Config):
    """The options of ``danbooru-pipeline follow``."""

    dry_run: bool = False


@dg.asset(group_name="store", kinds={"file"}, owners=OWNERS, pool="booru")
def followed_year(
    context: dg.AssetExecutionContext,
    config: FollowConfig,
    toolbox: dg.ResourceParam[RunContext],
    run_log: dg.ResourceParam[RunLog],
) -> dg.MaterializeResult:
    """Files of the running year, ahead of its release: new posts, and files that posts got since they were new."""
    with (
        clear_failures(toolbox, run_log),
        open_follower(toolbox.settings, now=toolbox.now) as follower,
        Meter("follow", report=context.log.info, watch=run_log.watch) as meter,
    ):
        report = follow(follower, dry_run=config.dry_run, meter=meter)
    for line in report.lines():
        context.log.info(line)
    return dg.MaterializeResult(
        metadata={
            "new_posts": report.posts,
            "asked_again": report.changed,
            "expunged": report.expunged,
            "files": report.files,
            "files_kept": report.kept,
            "bytes": report.bytes,
            "left": report.left,
            "given_up": report.given_up,
            "last_id": report.last_id,
            "newest_post": str(report.posts_until),
        }
    )


follow_site = dg.define_asset_job(
    "follow_site",
    selection=dg.AssetSelection.assets(followed_year),
    description="Fetches the files of the running year that have come since the last run.",
)

nightly_follow = dg.ScheduleDefinition(
    name="nightly_follow",
    job=follow_site,
    cron_schedule="15 4 * * *",
    execution_timezone="UTC",
    default_status=(
        dg.DefaultScheduleStatus.RUNNING
        if Settings.from_env_with_defaults().follow
        else dg.DefaultScheduleStatus.STOPPED
    ),
    description="Every night.",
)

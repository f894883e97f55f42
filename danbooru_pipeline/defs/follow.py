"""Following the running year: a job, a nightly schedule that is off by default, and an asset with its numbers."""

from typing import Any

import dagster as dg
from pydantic import Field

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.automation import OWNERS
from danbooru_pipeline.defs.reports import bullets, show
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.defs.runs import clear_failures
from danbooru_pipeline.operate.follow import follow, open_follower
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.settings import Settings


class FollowConfig(dg.Config):
    """The options of ``danbooru-pipeline follow``."""

    dry_run: bool = Field(default=False, description="print what would be fetched, and change nothing")


followed_year = dg.AssetSpec(
    "followed_year",
    group_name="store",
    kinds={"file"},
    owners=OWNERS,
    description=(
        "Files of the running year, ahead of its release: new posts, and files that posts got since they were new. The "
        "job follow_site makes it."
    ),
)


@dg.op(out=dg.Out(dg.Nothing), pool="booru")
def fetch_running_year(
    context: dg.OpExecutionContext,
    config: FollowConfig,
    toolbox: dg.ResourceParam[RunContext],
    run_log: dg.ResourceParam[RunLog],
) -> None:
    """Fetch what has come since the last run."""
    with (
        clear_failures(toolbox, run_log),
        open_follower(toolbox.settings, now=toolbox.now) as follower,
        Meter("follow", report=context.log.info, watch=run_log.watch) as meter,
    ):
        report = follow(follower, dry_run=config.dry_run, meter=meter)
    context.add_output_metadata({"report": show(bullets(report.lines()))})
    if config.dry_run:
        return
    numbers: dict[str, Any] = {
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
    context.log_event(dg.AssetMaterialization(followed_year.key, metadata=numbers))


@dg.job(description="Fetches the files of the running year that have come since the last run.")
def follow_site() -> None:
    """One op."""
    fetch_running_year()


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
    description="Every night: fetches the files of the running year.",
)

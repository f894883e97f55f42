"""Following the running year: a job, a nightly schedule that is off by default, and an asset with its numbers."""

from typing import Any

import dagster as dg
from pydantic import Field

from danbooru_pipeline.defs.automation import OWNERS
from danbooru_pipeline.defs.described import described
from danbooru_pipeline.defs.jobs import Desk, Report, operator_job
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
    metadata=described(runbook="following-stopped-or-files-did-not-come"),
    description=(
        "Files of the running year, ahead of its release: new posts, and files that posts got since they were new. The "
        "job follow_site makes it."
    ),
)


@operator_job(
    "follow_site",
    description="Fetches the files of the running year that have come since the last run.",
    config=FollowConfig,
    pool="booru",
)
def fetch_running_year(desk: Desk, config: FollowConfig) -> Report:
    """Fetch what has come since the last run."""
    with (
        open_follower(desk.run_context.settings, now=desk.run_context.now) as follower,
        Meter("follow", report=desk.run.log.info, watch=desk.run_log.watch) as meter,
    ):
        report = follow(follower, dry_run=config.dry_run, meter=meter)
    numbers: dict[str, Any] = {
        "new_posts": report.posts,
        "asked_again": report.changed,
        "expunged": report.expunged,
        "files": report.files,
        "files_kept": report.kept,
        "bytes": report.bytes,
        "unanswered": report.unanswered,
        "never_answered": report.never_answered,
        "left": report.left,
        "given_up": report.given_up,
        "last_id": report.last_id,
        "newest_post": str(report.posts_until),
    }
    if not config.dry_run:
        desk.run.log_event(dg.AssetMaterialization(followed_year.key, metadata=numbers))
    return Report(report.lines())


nightly_follow = dg.ScheduleDefinition(
    name="nightly_follow",
    job=fetch_running_year,
    cron_schedule="15 4 * * *",
    execution_timezone="UTC",
    default_status=(
        dg.DefaultScheduleStatus.RUNNING
        if Settings.from_env_with_defaults().follow
        else dg.DefaultScheduleStatus.STOPPED
    ),
    description="Every night: fetches the files of the running year.",
)

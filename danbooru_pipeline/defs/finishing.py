"""The sensor that finishes a release which few files hold up: it retries them once, then publishes without them.

`build` does the same. Automation alone would wait for ever: a bucket with a pending post is red, and no asset
downstream is requested while one is missing. What is left for the operator is told by `tell_of_waiting`.
"""

from typing import Final

import dagster as dg
import msgspec
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, BulkActionsFilter, BulkActionStatus
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES, RunsFilter

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.automation import SENSOR_STATUS
from danbooru_pipeline.defs.launching import IMAGES, RELEASE, Unfinished, find_unfinished, request_backfill
from danbooru_pipeline.defs.waiting import failed_checks
from danbooru_pipeline.release import published
from danbooru_pipeline.settings import Settings

ACTIVE: Final = [dg.DagsterRunStatus.QUEUED, *IN_PROGRESS_RUN_STATUSES]
#: A tick costs a plan of the year. Never more often than that, and as often as the yearly sensor if that is rarer.
_HOUR: Final = 3600


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What the sensor did for a release; its cursor.

    Attributes:
        retried: pending posts when it launched the unfinished buckets again.
        finished: pending posts when it launched the release.
    """

    year: int = 0
    retried: list[int] | None = None
    finished: list[int] | None = None


def _read(cursor: str | None, year: int) -> Tried:
    """What was done for this year; a damaged cursor is as good as none."""
    try:
        tried = msgspec.json.decode(cursor or "{}", type=Tried)
    except msgspec.MsgspecError:
        tried = Tried()
    return tried if tried.year == year else Tried(year=year)


def why_to_wait(found: Unfinished, *, most: int) -> str | None:
    """Why a release cannot be finished without the operator; None when it can."""
    left = found.left
    if not found.buckets:
        return "every bucket is finished; follow_newest_release goes on"
    if not left.can_finish:
        return f"{len(left.untouched):,} buckets have posts that no run has worked on"
    if found.outdated:
        return f"{len(found.outdated):,} buckets were made of older posts"
    if len(left.pending) > most:
        return f"{len(left.pending):,} posts are pending, more than DANBOORU_PUBLISH_PENDING, which is {most:,}"
    return None


@dg.sensor(
    minimum_interval_seconds=min(_HOUR, max(1, int(Settings.from_env_with_defaults().poll_seconds))),
    default_status=SENSOR_STATUS,
    description="Retries the failed buckets of the newest release once, then publishes it with the few posts pending.",
)
def finish_newest_release(
    context: dg.SensorEvaluationContext, toolbox: dg.ResourceParam[RunContext]
) -> dg.SensorResult | dg.SkipReason:
    """Does what an operator would: *failed and missing* again, and if that does not help, `finish_release`."""
    year = toolbox.now().year - 1  # the newest that is over
    if not toolbox.layout.posts_by_bucket(year).is_dir():
        return dg.SkipReason("no release has begun")
    if year in published(toolbox.layout):
        return dg.SkipReason(f"the release of {year} is published")
    if is_busy(context.instance):
        return dg.SkipReason("runs are at work")
    found = find_unfinished(context.instance, toolbox, year)
    failed = failed_checks(context.instance, year, warnings=False)
    why = "; ".join(failed) or why_to_wait(found, most=toolbox.settings.publish_pending)
    if why:
        return dg.SkipReason(why)
    tried, pending = _read(context.cursor, year), sorted(found.left.pending)
    if tried.finished == pending:
        return dg.SkipReason(f"the release of {year} was launched with these posts pending; see its runs and checks")
    title = f"finish_newest_release {year}"
    if tried.retried is None:
        id_ = request_backfill(context.instance, IMAGES, found.partitions(), title=title, why=found.lines()[0])
        tried, done = Tried(year=year, retried=pending), f"launched backfill {id_}: the unfinished buckets again"
    else:
        named = "; ".join(found.left.lines()) or "nothing is pending"
        id_ = request_backfill(context.instance, RELEASE, [str(year)], title=title, why=named)
        tried = Tried(year=year, retried=tried.retried, finished=pending)
        done = f"launched backfill {id_}: the release of {year}, though {named}"
    context.log.info(done)
    return dg.SensorResult(skip_reason=done, cursor=msgspec.json.encode(tried).decode())


def is_busy(instance: dg.DagsterInstance) -> bool:
    """Whether a run or a backfill is under way."""
    if instance.get_runs_count(RunsFilter(statuses=ACTIVE)):
        return True
    under_way = [status for status in BulkActionStatus if status not in BULK_ACTION_TERMINAL_STATUSES]
    return bool(instance.get_backfills(filters=BulkActionsFilter(statuses=under_way), limit=1))

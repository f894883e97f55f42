"""The sensor that finishes a release which few files hold up: it retries them once, then publishes without them.

Buckets whose runs failed as a whole, because the disk was full or the source away, it launches again and again, at
growing intervals: nobody needs to be there when the cause is gone.

`build` does the same. Automation alone would wait for ever: a bucket with a pending post is red, and no asset
downstream is requested while one is missing. What is left for the operator is told by `tell_of_waiting`.
"""

import dagster as dg
import msgspec
from msgspec.structs import replace

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.automation import DAY, SENSOR_STATUS, plan_seconds
from danbooru_pipeline.defs.launching import IMAGES, RELEASE, Unfinished, find_unfinished, request_backfill
from danbooru_pipeline.defs.locations import count_active_runs, is_backfilling
from danbooru_pipeline.defs.waiting import failed_checks
from danbooru_pipeline.progress import counted
from danbooru_pipeline.release import published


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What the sensor did for a release; its cursor.

    Attributes:
        retried: pending posts when it launched the unfinished buckets again.
        finished: pending posts when it launched the release.
        launches: how often it launched buckets again that no run has worked on, since their runs failed.
        launched_at: when it last did, in seconds of Unix time.
    """

    year: int = 0
    retried: list[int] | None = None
    finished: list[int] | None = None
    launches: int = 0
    launched_at: float = 0.0

    def next_launch(self) -> float:
        """When it may launch such buckets again: after one interval, then two, four, and so on, at most a day."""
        return self.launched_at + min(DAY, plan_seconds() * 2 ** (self.launches - 1)) if self.launches else 0.0


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
    if left.held:
        return left.held
    if not found.buckets:
        return "every bucket is finished; follow_newest_release goes on"
    if not left.can_finish:
        return f"{counted(len(left.untouched), 'bucket has', 'buckets have')} posts that no run has worked on"
    if found.outdated:
        return f"{counted(len(found.outdated), 'bucket was', 'buckets were')} made of older posts"
    if len(left.pending) > most:
        pending = counted(len(left.pending), "post is", "posts are")
        return f"{pending} pending, more than DANBOORU_PUBLISH_PENDING, which is {most:,}"
    return None


@dg.sensor(
    minimum_interval_seconds=plan_seconds(),
    default_status=SENSOR_STATUS,
    description="Retries the failed buckets of the newest release once, then publishes it with the few posts pending.",
)
def finish_newest_release(
    context: dg.SensorEvaluationContext, run_context: dg.ResourceParam[RunContext]
) -> dg.SensorResult | dg.SkipReason:
    """Does what an operator would: *failed and missing* again, and if that does not help, `finish_release`."""
    year = run_context.now().year - 1  # the newest that is over
    if why := _why_not_now(context, run_context, year):
        return dg.SkipReason(why)
    found = find_unfinished(context.instance, run_context, year)
    tried, pending = _read(context.cursor, year), sorted(found.left.pending)
    now = run_context.now().timestamp()
    if found.failed.intersection(found.left.untouched) and now >= tried.next_launch():
        return _launch_again(context, found, replace(tried, launches=tried.launches + 1, launched_at=now))
    failed = failed_checks(context.instance, year, warnings=False)
    if why := "; ".join(failed) or why_to_wait(found, most=run_context.settings.publish_pending):
        return dg.SkipReason(why)
    if tried.finished == pending:
        return dg.SkipReason(f"the release of {year} was launched with these posts pending; see its runs and checks")
    if tried.retried is None:
        return _launch_again(context, found, replace(tried, retried=pending))
    named = "; ".join(found.left.lines()) or "nothing is pending"
    id_ = request_backfill(context.instance, RELEASE, [str(year)], title=_title(year), why=named)
    return _done(
        context, replace(tried, finished=pending), f"launched backfill {id_}: the release of {year}, though {named}"
    )


def _why_not_now(context: dg.SensorEvaluationContext, run_context: RunContext, year: int) -> str | None:
    """Why there is nothing to look for; cheap."""
    if not run_context.layout.posts_by_bucket(year).is_dir():
        return "no release has begun"
    if year in published(run_context.layout):
        return f"the release of {year} is published"
    return "runs are at work" if count_active_runs(context) or is_backfilling(context) else None


def _title(year: int) -> str:
    return f"finish_newest_release {year}"


def _launch_again(context: dg.SensorEvaluationContext, found: Unfinished, tried: Tried) -> dg.SensorResult:
    title, why = _title(tried.year), found.lines()[0]
    id_ = request_backfill(context.instance, IMAGES, found.partitions(), title=title, why=why)
    return _done(context, tried, f"launched backfill {id_}: the unfinished buckets again")


def _done(context: dg.SensorEvaluationContext, tried: Tried, what: str) -> dg.SensorResult:
    context.log.info(what)
    return dg.SensorResult(skip_reason=what, cursor=msgspec.json.encode(tried).decode())

"""Sensors that start the yearly release and report failures and releases. `readiness` decides, `notify` delivers."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import dagster as dg
import msgspec
from dagster._core.event_api import RunStatusChangeRecordsFilter
from dagster._core.storage.dagster_run import RunsFilter

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.automation import DAY, SENSOR_STATUS, plan_seconds, poll_seconds
from danbooru_pipeline.defs.finishing import finish_newest_release
from danbooru_pipeline.defs.locations import count_active_runs, is_ours
from danbooru_pipeline.defs.lost_runs import fail_lost_runs
from danbooru_pipeline.defs.metadata import posts, posts_by_bucket, side_tables
from danbooru_pipeline.defs.reports import bullets
from danbooru_pipeline.defs.waiting import everything_that_waits
from danbooru_pipeline.errors import NotifyError
from danbooru_pipeline.operate.notify import deliver, send_heartbeat
from danbooru_pipeline.operate.preflight import find_wrong_clock
from danbooru_pipeline.operate.readiness import decide, look_at, read_memory, write_memory
from danbooru_pipeline.operate.waiting import what_is_left
from danbooru_pipeline.posts.takedowns import held_by_takedown
from danbooru_pipeline.progress import counted
from danbooru_pipeline.release import published, read_release
from danbooru_pipeline.release.pointer import followed
from danbooru_pipeline.release.release_json import release_lines
from danbooru_pipeline.release_paths import ANNOUNCEMENT, RELEASE_JSON, release_name
from danbooru_pipeline.settings import Settings

#: The release that a run began, so that sensor and schedule never begin one twice.
BEGAN_TAG: Final = "danbooru/begins_release"
#: A backfill that fails as a whole is told of run by run, over several looks. Dagster gives a look 60 seconds: one that
#: takes longer is forgotten with its cursor, and its messages are sent again.
_FAILURES_AT_ONCE: Final = 20
_TICK_SECONDS: Final = 15.0
#: What services take of a message varies; the run's page has the rest.
_MOST_CHARACTERS: Final = 1500
#: In the cursor of `tell_of_releases`, before the channels that took a message which another one refused.
_TOOK: Final = ", taken by "
NOBODY: Final = (
    "no notification channel is configured; set DANBOORU_WEBHOOK_URL, or DANBOORU_SMTP_URL and DANBOORU_NOTIFY_TO"
)


begin_release = dg.define_asset_job(
    "begin_release",
    selection=dg.AssetSelection.assets(posts, posts_by_bucket, side_tables),
    description="Brings posts and tables of a release. Automation follows with images, manifest and snapshot.",
)


#: A tick has a minute. A look at a source of whole tables has half of it, all its questions together.
_LOOK_SECONDS: Final = 30.0


def _began_already(instance: dg.DagsterInstance, year: int) -> bool:
    """Whether a run began this release. A failed one counts (it is re-executed by hand), a cancelled one does not."""
    begun = instance.get_runs(RunsFilter(tags={BEGAN_TAG: str(year)}))
    return any(run.status is not dg.DagsterRunStatus.CANCELED for run in begun)


def _request(year: int) -> dg.RunRequest:
    return dg.RunRequest(run_key=release_name(year), partition_key=str(year), tags={BEGAN_TAG: str(year)})


@dg.sensor(
    job=begin_release,
    minimum_interval_seconds=poll_seconds(),
    default_status=SENSOR_STATUS,
    description="Begins the release of a year once: when it is over, its metadata stable, and the source covers it.",
)
def yearly_release(
    context: dg.SensorEvaluationContext, run_context: dg.ResourceParam[RunContext]
) -> dg.SensorResult | dg.SkipReason:
    """Begins the release of a year once: when the year is over, its metadata stable, and the source covers it."""
    decision = decide(
        read_memory(context.cursor),
        now=run_context.now(),
        first_year=run_context.settings.first_year,
        settling_days=run_context.settings.settling_days,
        look=lambda year: look_at(run_context.source_within(_LOOK_SECONDS), year),
        held=held_by_takedown(run_context.layout),
        wrong_clock=lambda: find_wrong_clock(run_context),
    )
    cursor = write_memory(decision.memory)
    if not decision.begin or decision.year is None:
        return dg.SensorResult(skip_reason=decision.why, cursor=cursor)
    done = _reason_not_to_begin(context.instance, run_context, decision.year)
    if done is not None:
        return dg.SensorResult(skip_reason=done, cursor=cursor)
    context.log.info(decision.why)
    return dg.SensorResult(run_requests=[_request(decision.year)], cursor=cursor)


def _reason_not_to_begin(instance: dg.DagsterInstance, context: RunContext, year: int) -> str | None:
    if year in published(context.layout):
        return f"{release_name(year)} is published already"
    if _began_already(instance, year):
        return f"a run of begin_release began {release_name(year)} already; re-execute it if it failed"
    return None


@dg.schedule(
    job=begin_release,
    cron_schedule="0 6 25 1 *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Instead of the sensor yearly_release: last year's release on 25 January, whatever the source has.",
)
def yearly_release_on_a_date(
    context: dg.ScheduleEvaluationContext, run_context: dg.ResourceParam[RunContext]
) -> dg.RunRequest | dg.SkipReason:
    """For those who prefer a date to the sensor: last year's release on 25 January, whatever the source looks like."""
    when: datetime = context.scheduled_execution_time
    year = when.year - 1
    done = _reason_not_to_begin(context.instance, run_context, year)
    return dg.SkipReason(done) if done else _request(year)


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=SENSOR_STATUS,
    description="Sends a message for every run that failed and will not be retried.",
)
def tell_of_failures(
    context: dg.SensorEvaluationContext, run_context: dg.ResourceParam[RunContext]
) -> dg.SensorResult | dg.SkipReason:
    """Sends a message for every run that failed and will not be retried; one that nobody took is sent again, for a day.

    Not a `run_failure_sensor`: the cursor of those moves on whether or not the message was delivered.
    """
    began = time.monotonic()
    if not (context.cursor or "").isdecimal():
        newest = _failures(context.instance, limit=1, ascending=False)
        first = str(newest[0].storage_id if newest else 0)
        return dg.SensorResult(skip_reason="failures are reported from now on", cursor=first)
    said: list[str] = []
    cursor = str(context.cursor)
    for failure in _failures(context.instance, after=int(cursor), limit=_FAILURES_AT_ONCE):
        try:
            said.append(_tell_of_failure(context, run_context.settings, failure.event_log_entry))
        except NotifyError as error:
            lasts = run_context.now().timestamp() - failure.timestamp > DAY
            if not said and not lasts:
                raise
            said.append(f"nobody took it for a day: {error}" if lasts else str(error))
            if not lasts:
                break
        cursor = str(failure.storage_id)
        if time.monotonic() - began > _TICK_SECONDS:
            break
    return dg.SensorResult(skip_reason="; ".join(said) or "no run has failed since the last look", cursor=cursor)


def _failures(
    instance: dg.DagsterInstance, *, limit: int, after: int | None = None, ascending: bool = True
) -> Sequence[dg.EventLogRecord]:
    found = RunStatusChangeRecordsFilter(event_type=dg.DagsterEventType.RUN_FAILURE, after_storage_id=after)
    return instance.fetch_run_status_changes(found, limit=limit, ascending=ascending).records


def _tell_of_failure(context: dg.SensorEvaluationContext, settings: Settings, failure: dg.EventLogEntry) -> str:
    """Send the message of a run. Returns what the tick says.

    Raises:
        NotifyError: nobody took it.
    """
    run = context.instance.get_run_by_id(failure.run_id)
    if run is None:
        return f"run {failure.run_id} was deleted"
    if not is_ours(context, run):
        return f"run {run.run_id} is of another code location"
    if run.tags.get("dagster/will_retry") == "true":
        return f"run {run.run_id} will be retried"
    what = ", ".join(sorted(key.to_user_string() for key in run.asset_selection or ())) or run.job_name
    began, ended = (run.tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))
    where = f"{began} to {ended}" if began else run.tags.get("dagster/partition", "")
    why = "\n".join([*_reasons(context.instance, run.run_id), failure.message])
    why = why if len(why) <= _MOST_CHARACTERS else f"{why[:_MOST_CHARACTERS]} …"
    body = f"{why}\n{settings.ui_url}/runs/{run.run_id}"
    subject = f"danbooru-pipeline: {what} {where}".rstrip() + " failed"
    try:
        sent = deliver(settings, subject=subject, body=body)
    except NotifyError as error:
        return _half_told(error)
    return (
        f"sent the failure of run {run.run_id} by {', '.join(sent)}"
        if sent
        else f"run {run.run_id} failed, but {NOBODY}"
    )


def _reasons(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """Why the steps of a run failed, as the code that raised it says."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    events = [record.event_log_entry.dagster_event for record in records]
    steps = [event.step_failure_data for event in events if event is not None]
    return [s.user_failure_data.description for s in steps if s.user_failure_data and s.user_failure_data.description]


def _half_told(error: NotifyError) -> str:
    """Whom a message did not reach that reached somebody; what reached nobody is an error, and tried again."""
    if not error.accepted:
        raise error
    return f"told by {', '.join(error.accepted)}, but {error}"


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=SENSOR_STATUS,
    description="Sends one message for every release, and for every new version of one, that becomes current.",
)
def tell_of_releases(
    context: dg.SensorEvaluationContext, run_context: dg.ResourceParam[RunContext]
) -> dg.SensorResult | dg.SkipReason:
    """Sends one message for every release, and for every new version of one, that becomes current.

    A channel that took it does not get it again while another one refuses it: the cursor names those that did.
    """
    folder = followed(run_context.layout.current)
    if not (folder / RELEASE_JSON).exists():
        return dg.SkipReason("nothing is published yet")
    release = read_release(folder)
    name = f"{release.name} {release.version}"
    told, _, took = (context.cursor or "").partition(_TOOK)
    if told == name and not took:
        return dg.SkipReason(f"{name} was announced")
    but = took.split(", ") if told == name else []
    announcement = folder / ANNOUNCEMENT
    lines = release_lines(release, run_context.layout.release(release.year))
    body = announcement.read_text() if announcement.exists() else "\n".join(lines)
    left = what_is_left(run_context.layout, release.year, exclude_tags=run_context.exclude_tags)
    if left.pending:
        body = "\n".join(
            [body.rstrip(), "", f"for the operator: {left.named()}; the next build makes a new version with them"]
        )
    try:
        sent = deliver(run_context.settings, subject=f"{name} is published", body=body, but=but)
    except NotifyError as error:
        cursor = f"{name}{_TOOK}{', '.join((*but, *error.accepted))}"
        return dg.SensorResult(skip_reason=_half_told(error), cursor=cursor)
    took_it = (*but, *sent)
    why = f"announced {name} by {', '.join(took_it)}" if took_it else NOBODY
    return dg.SensorResult(skip_reason=why, cursor=name if took_it else context.cursor)


def _told(cursor: str | None) -> tuple[float, list[str]]:
    """When the last message went out, and its lines; a damaged cursor is as good as none."""
    try:
        return msgspec.json.decode(cursor or "", type=tuple[float, list[str]])
    except msgspec.MsgspecError:
        return 0.0, []


@dg.sensor(
    minimum_interval_seconds=plan_seconds(),
    default_status=SENSOR_STATUS,
    description="Sends what the newest release and the store wait for: when that changed, and else once a week.",
)
def tell_of_waiting(
    context: dg.SensorEvaluationContext, run_context: dg.ResourceParam[RunContext]
) -> dg.SensorResult | dg.SkipReason:
    """Sends at most one message a day; nothing while a run works on it, and nothing when nothing waits."""
    now, (sent_at, before) = run_context.now().timestamp(), _told(context.cursor)
    if now - sent_at < DAY:
        return dg.SkipReason("a message went out less than a day ago")
    if active := count_active_runs(context):
        return dg.SkipReason(f"{counted(active, 'run is', 'runs are')} at work; what is left is told afterwards")
    year, lines = everything_that_waits(context.instance, run_context)
    if not lines:
        return dg.SensorResult(skip_reason="nothing waits for the operator", cursor=None)
    if lines == before and now - sent_at < 7 * DAY:
        return dg.SkipReason(f"was told already: {'; '.join(lines)}")
    subject = f"danbooru-pipeline: {release_name(year) if year else 'the store'} waits"
    body = "\n".join([*bullets(lines), run_context.settings.ui_url])
    said = f"told of {counted(len(lines), 'thing')}"
    try:
        if not deliver(run_context.settings, subject=subject, body=body):
            return dg.SkipReason(f"{NOBODY}; it would say: {'; '.join(lines)}")
    except NotifyError as error:
        said = _half_told(error)
    return dg.SensorResult(skip_reason=said, cursor=msgspec.json.encode((now, lines)).decode())


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=SENSOR_STATUS,
    description="Asks for DANBOORU_HEARTBEAT_URL each minute, so that a monitor there notices a daemon that stopped.",
)
def heartbeat(_context: dg.SensorEvaluationContext, run_context: dg.ResourceParam[RunContext]) -> dg.SkipReason:
    """Shows red while the monitor does not answer."""
    if not run_context.settings.heartbeat_url:
        return dg.SkipReason("DANBOORU_HEARTBEAT_URL is not set, so nobody notices a daemon that stopped")
    send_heartbeat(run_context.settings)
    return dg.SkipReason("the monitor knows that the daemon lives")


follow_newest_release = dg.AutomationConditionSensorDefinition(
    "follow_newest_release",
    target=dg.AssetSelection.groups("metadata", "images", "release"),
    minimum_interval_seconds=30,
    default_status=SENSOR_STATUS,
    description="Requests each asset of the newest release once, when its inputs are complete and checked.",
)

SENSORS = [
    yearly_release,
    follow_newest_release,
    finish_newest_release,
    tell_of_failures,
    tell_of_releases,
    tell_of_waiting,
    heartbeat,
    fail_lost_runs,
]
SCHEDULES = [yearly_release_on_a_date]

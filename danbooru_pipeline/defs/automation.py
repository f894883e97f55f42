"""Automation conditions: what runs by itself once the posts of a year are there. No sensors here.

After the yearly job brought posts and tables, each asset of the newest release is requested once, when its inputs are
complete. A failed one is not requested again: that is up to the operator, or to run retries. This is not `eager()`,
which requests nothing when it is switched on after the posts came.
"""

from datetime import timedelta
from typing import Final

import dagster as dg

from danbooru_pipeline.settings import Settings

_Is = dg.AutomationCondition


def _once_ready(
    label: str, *, updated: dg.AutomationCondition, missing: dg.AutomationCondition, busy: dg.AutomationCondition
) -> dg.AutomationCondition:
    """A partition of the newest release, once each time that its inputs are `updated` or it goes missing itself.

    Not while an input is `missing` or `busy`, or the partition itself is in progress.
    """
    return (
        _Is.in_latest_time_window()
        & (_Is.newly_missing() | updated).since(_Is.newly_requested() | _Is.newly_updated())
        & ~missing
        & ~busy
        & ~_Is.in_progress()
    ).with_label(label)


FOLLOW_NEWEST_RELEASE = _once_ready(
    "newest release, once its inputs are complete",
    updated=_Is.any_deps_updated(),
    missing=_Is.any_deps_missing(),
    busy=_Is.any_deps_in_progress(),
)

#: From a bucket up to the posts of its release, and down to all of its buckets.
_originals_under_way = _Is.asset_matches(
    "original_images",
    _Is.asset_matches(
        "posts_by_bucket", _Is.asset_matches("original_images", _Is.in_progress() | _Is.will_be_requested())
    ),
)

#: Buckets of the newest release whose originals are there, once no run works on originals of that release: else each
#: tick of the sensor would start a run for the few that came since. Dagster's own conditions count what is about to be
#: requested as present, which holds for assets that share a run; these two do not share one.
FOLLOW_ALL_ORIGINALS = _once_ready(
    "newest release, once no run works on its originals",
    updated=_Is.any_deps_match(_Is.newly_updated()),
    missing=_Is.any_deps_match(_Is.missing()),
    busy=_originals_under_way,
)

#: As the first, and only if no blocking check failed upstream.
FOLLOW_CHECKED_RELEASE = (FOLLOW_NEWEST_RELEASE & _Is.all_deps_blocking_checks_passed()).with_label(
    "newest release, once its inputs are complete and checked"
)

#: Releases are made in January and February; from March on the newest one is late.
RELEASE_DEADLINE = dg.FreshnessPolicy.cron(
    deadline_cron="0 0 1 3 *", lower_bound_delta=timedelta(days=59), timezone="UTC"
)

#: Seconds that a message lasts, and the longest pause between two attempts.
DAY: Final = 86_400

#: Who is asked about an asset.
OWNERS = ["team:dataset"]


def ships_on() -> bool:
    """Whether sensors are on by default: a code location must load even when settings are wrong."""
    return Settings.from_env_with_defaults().automation


def poll_seconds() -> int:
    """Between two looks at the source: whole seconds, at least one, since Dagster takes no fractions."""
    return max(1, int(Settings.from_env_with_defaults().poll_seconds))


def plan_seconds() -> int:
    """Between two looks that plan a year, which costs seconds: an hour, or less if the source is asked more often."""
    return min(3600, poll_seconds())


SENSOR_STATUS = dg.DefaultSensorStatus.RUNNING if ships_on() else dg.DefaultSensorStatus.STOPPED
SCHEDULE_STATUS = dg.DefaultScheduleStatus.RUNNING if ships_on() else dg.DefaultScheduleStatus.STOPPED

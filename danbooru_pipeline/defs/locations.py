"""Runs of this code location, in a Dagster that other projects may share: theirs are not reported and delay nothing."""

from typing import Final

import dagster as dg
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES, RunsFilter

_ACTIVE: Final = [dg.DagsterRunStatus.QUEUED, *IN_PROGRESS_RUN_STATUSES]


def is_ours(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> bool:
    """Whether a run is of the sensor's code location; one that came from none, such as `build`, is."""
    if run.remote_job_origin is None or context.code_location_origin is None:
        return True
    return run.remote_job_origin.location_name == context.code_location_origin.location_name


def count_active_runs(context: dg.SensorEvaluationContext) -> int:
    """How many runs of the sensor's code location are queued or at work."""
    return sum(is_ours(context, run) for run in context.instance.get_runs(RunsFilter(statuses=_ACTIVE)))

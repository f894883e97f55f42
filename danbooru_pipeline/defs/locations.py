"""Runs of this code location, in a Dagster that other projects may share: theirs are not reported and delay nothing."""

from typing import Final

import dagster as dg
from dagster._core.execution.backfill import (
    BULK_ACTION_TERMINAL_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES, RunsFilter

_UNDER_WAY: Final = [status for status in BulkActionStatus if status not in BULK_ACTION_TERMINAL_STATUSES]
_ACTIVE: Final = [dg.DagsterRunStatus.QUEUED, *IN_PROGRESS_RUN_STATUSES]


def is_ours(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> bool:
    """Whether a run is of the sensor's code location; one that came from none, such as `build`, is."""
    if run.remote_job_origin is None or context.code_location_origin is None:
        return True
    return run.remote_job_origin.location_name == context.code_location_origin.location_name


def count_active_runs(context: dg.SensorEvaluationContext) -> int:
    """How many runs of the sensor's code location are queued or at work."""
    return sum(is_ours(context, run) for run in context.instance.get_runs(RunsFilter(statuses=_ACTIVE)))


def is_backfilling(context: dg.SensorEvaluationContext) -> bool:
    """Whether a backfill of assets of the sensor's code location is under way."""
    found = context.instance.get_backfills(filters=BulkActionsFilter(statuses=_UNDER_WAY))
    return any(_has_our_assets(context, backfill) for backfill in found)


def _has_our_assets(context: dg.SensorEvaluationContext, backfill: PartitionBackfill) -> bool:
    if context.repository_def is None or not backfill.asset_selection:
        return True
    return not context.repository_def.asset_graph.get_all_asset_keys().isdisjoint(backfill.asset_selection)

"""Dagster's history: which runs nothing depends on any more.

A partition is green or red by the last run that was planned for it, and has its numbers from the last run that made it;
Dagster would forget both with the run. Those runs stay, however old they are. Jobs are in `operations`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.dagster_run import FINISHED_STATUSES, RunsFilter

from danbooru_pipeline.defs.checks import CHECKS
from danbooru_pipeline.defs.partitions import releases

#: Events of an asset that its state in the UI follows from.
_KINDS: Final = (
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.ASSET_OBSERVATION,
)
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Forgettable:
    """Runs that ended long ago.

    Attributes:
        old: how many there are.
        forgotten: ids of those that no state depends on.
    """

    old: int
    forgotten: tuple[str, ...]


def runs_to_forget(instance: dg.DagsterInstance, *, before: datetime, days: int) -> Forgettable:
    """Find the runs that ended more than some days before a moment, and that no state depends on. Changes nothing."""
    limit = before - timedelta(days=days)
    finished = RunsFilter(statuses=list(FINISHED_STATUSES), updated_before=limit)
    old = [record.dagster_run.run_id for record in instance.get_run_records(finished)]
    needed = _runs_of_states(instance) if old else set()
    return Forgettable(old=len(old), forgotten=tuple(id_ for id_ in old if id_ not in needed))


def forget_runs(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> None:
    """Remove runs and their logs."""
    for run_id in run_ids:
        instance.delete_run(run_id)


def _runs_of_states(instance: dg.DagsterInstance) -> set[str]:
    """Runs from which the state of an asset, of a partition or of a check comes."""
    storage, needed = instance.event_log_storage, set[str]()
    keys = list(instance.all_asset_keys())
    for key in keys:
        for kind in _KINDS:
            latest = storage.get_event_records(dg.EventRecordsFilter(kind, asset_key=key), limit=1)
            needed.update(record.run_id for record in latest)
            ids = sorted(storage.get_latest_storage_id_by_partition(key, kind).values())
            for start in range(0, len(ids), _CHUNK):
                chosen = dg.EventRecordsFilter(kind, asset_key=key, storage_ids=ids[start : start + _CHUNK])
                needed.update(record.run_id for record in storage.get_event_records(chosen))
    return needed | _runs_of_checks(instance)


def _runs_of_checks(instance: dg.DagsterInstance) -> set[str]:
    """Runs with the newest outcome of a check, of each release and of all."""
    keys = [key for check in CHECKS for key in check.check_keys]
    filters = [None, *(PartitionKeyFilter(key=year) for year in releases.get_partition_keys())]
    return {
        record.run_id
        for chosen in filters
        for record in instance.event_log_storage.get_latest_asset_check_execution_by_key(keys, chosen).values()
    }

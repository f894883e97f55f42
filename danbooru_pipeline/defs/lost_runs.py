"""Runs whose process died together with whoever watched it, such as the code location with all of its children.

Dagster learns of the death of a run's process from the process that started it. If both are gone, nobody tells: the run
stays *started* for ever, and whatever waits for runs to end waits as long. So each run holds a lease in the store while
it works, and a sensor fails those whose lease nobody holds any more; `run_retries` then queues them again.
"""

import contextlib
from collections.abc import Iterator

import dagster as dg
from dagster._core.storage.dagster_run import RunsFilter

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.automation import SENSOR_STATUS
from danbooru_pipeline.io.leases import is_abandoned, leased
from danbooru_pipeline.layout import Layout


@contextlib.contextmanager
def shown_alive(layout: Layout, run_id: str | None) -> Iterator[None]:
    """Hold the lease of a run for the length of the block; outside of a run, or in a store that is read-only, none."""
    with contextlib.ExitStack() as held:
        if run_id is not None:
            path = layout.run_lock(run_id)
            with contextlib.suppress(OSError):
                held.enter_context(leased(path))
                held.callback(path.unlink, missing_ok=True)  # nobody ever waits for it
        yield


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=SENSOR_STATUS,
    description="Fails runs that died together with the code location, which otherwise stay started for ever.",
)
def fail_lost_runs(context: dg.SensorEvaluationContext, run_context: dg.ResourceParam[RunContext]) -> dg.SkipReason:
    """A run without a lease, because it has not begun or does not work on the store, is none of its business.

    Two looks in a row must find a lease abandoned: a machine that was suspended wakes the sensor, and whoever renews.
    """
    before = set((context.cursor or "").split())
    started = context.instance.get_runs(RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    abandoned = {run.run_id: run for run in started if is_abandoned(run_context.layout.run_lock(run.run_id))}
    lost = abandoned.keys() & before
    for run_id in lost:
        context.instance.report_run_failed(
            abandoned[run_id], "its process is gone, and so is the code location that started it"
        )
        run_context.layout.run_lock(run_id).unlink(missing_ok=True)
    context.update_cursor(" ".join(sorted(abandoned.keys() - lost)))
    if lost:
        return dg.SkipReason(f"failed {', '.join(sorted(lost))}: nobody works on them")
    suspected = f"{len(abandoned)} runs may be lost; the next look decides"
    return dg.SkipReason(suspected if abandoned else "every run that started works")

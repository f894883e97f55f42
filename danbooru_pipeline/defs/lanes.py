"""Where the runs of a headless build execute: this process, and processes beside it for stages of many runs.

Dagster runs cannot share a process (two at once deadlock in its logging), and a process a run would cost its start-up
each time. So a lane is a process that lives as long as the build and executes one run after the other. The lanes share
out the image workers; the request rate and the download slots are shared by all processes on a store anyway.
"""

import functools
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, Final

import dagster as dg

from danbooru_pipeline import stop
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.build import build_defs
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.errors import DanbooruPipelineError, InternalError, ReleaseRefused, StoreError
from danbooru_pipeline.io.processes import die_with, leave_signals_to_parent
from danbooru_pipeline.operate.faults import internal_failure
from danbooru_pipeline.progress import Show, Watch
from danbooru_pipeline.settings import Settings

#: Names the process of a run, to tell runs of killed builds from live ones.
OWNER_TAG: Final = "danbooru/process"
QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
BUILD_PROCESSES: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """A run to execute: some assets, for the partitions that the tags name."""

    assets: tuple[str, ...]
    tags: dict[str, str]
    partitions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """The outcome of a run.

    Attributes:
        failed: one line for each step that failed.
        numbers: sums of what the core counted, including buckets that failed (see `RunLog.numbers`).
        dagster_cpu_seconds: of Dagster itself, without the work.
        stopped_by: the error of ours that ended it, if one did.
        broken_by: the first error that cost a bucket, though the run went on.
    """

    order: RunOrder
    success: bool
    failed: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    dagster_cpu_seconds: float = 0.0
    stopped_by: DanbooruPipelineError | None = None
    broken_by: DanbooruPipelineError | None = None


class Lane:
    """Executes runs in this process, all with one context; `watch` is called with their progress."""

    def __init__(self, context: RunContext, instance: dg.DagsterInstance, *, watch: Watch | None = None) -> None:
        self._instance, self._watch, self._root = instance, watch, context.layout.root
        self._log = RunLog()
        # Dagster takes no resources with a run of assets: what it gets is the log of the run that begins.
        log = dg.ResourceDefinition(lambda _context: self._log)
        self._job = build_defs(
            resources={"run_context": context, "run_log": log}
        ).resolve_implicit_global_asset_job_def()

    def run(self, order: RunOrder) -> RunReport:
        """Execute one run and record it in the instance."""
        stop.check()
        log = self._log = RunLog(watch=self._watch)
        began = time.thread_time()
        result = self._job.execute_in_process(
            instance=self._instance,
            asset_selection=[dg.AssetKey(asset) for asset in order.assets],
            tags={**order.tags, OWNER_TAG: f"{socket.gethostname()}:{os.getpid()}"},
            run_config=QUIET,
            raise_on_error=False,
        )
        stop.check()
        stopped_by = log.stopped_by
        if not result.success and stopped_by is None:
            stopped_by = _why_failed(result, self._root)
        return RunReport(
            order=order,
            success=result.success,
            failed=[_failure_text(event) for event in result.all_events if event.is_step_failure],
            numbers=dict(log.numbers),
            dagster_cpu_seconds=time.thread_time() - began - log.worked_seconds,
            stopped_by=stopped_by,
            broken_by=log.broken_by,
        )


class LaneProcesses:
    """Lanes in processes of their own; they start with the first run and end with the block of `open_lanes`."""

    def __init__(self, settings: Settings, show: Show | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._gauges = context.SimpleQueue() if show else None
        if self._gauges is not None:
            threading.Thread(target=_pass_on, args=(self._gauges, show), daemon=True).start()
        share = settings.replace(workers=max(1, settings.workers // BUILD_PROCESSES))
        self._executor = ProcessPoolExecutor(
            BUILD_PROCESSES,
            mp_context=context,
            initializer=_open_lane,
            initargs=(share, os.getpid(), self._gauges),
        )

    def run_all(self, orders: Sequence[RunOrder]) -> Iterator[RunReport]:
        """Execute runs, as many at once as there are lanes; yields the reports in the order of the runs."""
        # Not `map`: it cancels what is left, and cancelling in a pool whose processes were killed raises.
        with stop.on_stop(self.kill):
            try:
                for future in [self._executor.submit(_run_in_lane, order) for order in orders]:
                    yield future.result()
            except BrokenProcessPool:
                stop.check()
                raise StoreError(
                    "a process of this build was killed (the kernel does that where memory runs out); lower "
                    "DANBOORU_WORKERS or add memory, then run again: it resumes"
                ) from None

    def close(self) -> None:
        """Wait for the lanes to finish."""
        self._executor.shutdown()

    def kill(self) -> None:
        """Kill the lanes; the next build resumes what they were doing."""
        for process in multiprocessing.active_children():
            process.kill()  # they ignore SIGTERM
        self._executor.shutdown(wait=False)


@contextmanager
def open_lanes(settings: Settings, *, show: Show | None = None) -> Iterator[LaneProcesses]:
    """Lane processes for the length of a block, killed if it ends with an error; `show` gets their progress."""
    lanes = LaneProcesses(settings, show)
    try:
        yield lanes
    except BaseException:
        lanes.kill()
        raise
    lanes.close()


_lane: Lane | None = None


def _pass_on(gauges: Any, show: Show) -> None:
    """Show what the lanes send, until this process ends."""
    while True:
        show(*gauges.get())


def _open_lane(settings: Settings, parent: int, gauges: Any) -> None:
    """Prepare a lane process: a context of its own on the shared root, and the shared instance."""
    global _lane  # noqa: PLW0603 - a process has one lane, and a pool offers no other place for it
    die_with(parent)
    leave_signals_to_parent(terminable=False)
    context = RunContext(settings)
    watch = None if gauges is None else lambda gauge: gauges.put((str(os.getpid()), gauge))
    # Image workers must be gone before the process waits for its children.
    Finalize(None, context.__exit__, args=(None, None, None), exitpriority=100)
    _lane = Lane(context, dg.DagsterInstance.get(), watch=watch)


def _run_in_lane(order: RunOrder) -> RunReport:
    lane = _lane
    assert lane is not None, "lanes are opened by their pool"
    # In a thread, since Dagster takes the signals of a main thread for itself; one at a time, and kept alive with the
    # lane, since the kernel ends what a thread has started (image workers) together with the thread.
    return _run_thread().submit(lane.run, order).result()


@functools.cache
def _run_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="run")


def _failure_text(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    return f"{event.step_key}: {_cause_text(data.error) if data.error else 'failed'}"


def _cause_text(error: Any) -> str:
    """What went wrong first; Dagster wraps it into what it was doing."""
    while error.cause is not None:
        error = error.cause
    return " ".join(error.message.split())


def _why_failed(result: dg.ExecuteInProcessResult, root: Path) -> DanbooruPipelineError | None:
    """What failed a run, where none of our assets has reported it; None where posts were left pending."""
    for check in result.get_asset_check_evaluations():
        if check.blocking and not check.passed:
            why = check.description or "its numbers are in the UI"
            return ReleaseRefused(f"the check {check.check_name} of {check.asset_key.to_user_string()} failed: {why}")
    events = result.all_events
    failures = [event.step_failure_data for event in events if event.is_step_failure]
    if any(data.user_failure_data is not None for data in failures):
        return None
    errors = [data.error for data in failures if data.error]
    errors += [
        event.job_failure_data.error for event in events if event.is_run_failure and event.job_failure_data.error
    ]
    if not errors:
        return InternalError("Dagster ended a run without a reason; look at it in the UI, then run again")
    return internal_failure(_cause_text(errors[0]), errors[0].to_string(), root)

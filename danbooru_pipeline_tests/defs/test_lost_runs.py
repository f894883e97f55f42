"""A run whose process died together with the code location that watched it is failed, and no other one is."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.lost_runs import fail_lost_runs, shown_alive

HOLDER = """
import os, signal, sys
from pathlib import Path
from danbooru_pipeline.defs.lost_runs import shown_alive
from danbooru_pipeline.layout import Layout
with shown_alive(Layout(Path(sys.argv[1])), sys.argv[2]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@dg.job
def work() -> None:
    """What a run does here."""


def grown_old(path: Path) -> None:
    """Let minutes pass without a renewal."""
    os.utime(path, (path.stat().st_mtime - 600,) * 2)


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    """What the instance says about a run now."""
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


@pytest.mark.parametrize("end", ["killed", "done", "alive", "just begun", "without a store", "woken"])
def test_only_a_run_whose_process_is_gone_is_failed(context: RunContext, end: str) -> None:
    """Killed with all that could tell of it: failed at the second look, and queued again. All others stay started."""
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(work, status=dg.DagsterRunStatus.STARTED)
        path = context.layout.run_lock(run.run_id)
        if end in {"killed", "just begun", "woken"}:
            subprocess.run([sys.executable, "-c", HOLDER, str(context.layout.root), run.run_id], check=False)
            assert path.exists()
        if end in {"killed", "woken"}:
            grown_old(path)
        if end == "done":
            with shown_alive(context.layout, run.run_id):
                assert path.exists()
            assert not path.exists()
        with shown_alive(context.layout, run.run_id if end == "alive" else None):
            sensor = dg.build_sensor_context(instance=instance, resources={"run_context": context})
            fail_lost_runs(sensor)
            assert status(instance, run) is dg.DagsterRunStatus.STARTED
            if end == "woken":
                os.utime(path)
            skipped = fail_lost_runs(sensor)
        assert isinstance(skipped, dg.SkipReason)
        assert (status(instance, run) is dg.DagsterRunStatus.FAILURE) == (end == "killed")
        assert (run.run_id in str(skipped.skip_message)) == (end == "killed")
        if end == "killed":
            assert list(path.parent.iterdir()) == []

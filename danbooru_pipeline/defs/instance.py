"""The Dagster instance of a headless build: opens it, ends the runs of killed builds, and reads its state."""

import contextlib
import os
import shutil
import socket
from pathlib import Path
from typing import Final

import dagster as dg
from dagster._core.storage.dagster_run import RunsFilter

from danbooru_pipeline.defs.event_log import BATCH_SIZE, BATCH_SIZE_VARIABLE
from danbooru_pipeline.defs.lanes import OWNER_TAG
from danbooru_pipeline.defs.partitions import bucket_releases
from danbooru_pipeline.layout import BUCKETS

#: The instance of one machine; production brings its own, with Postgres.
INSTANCE_YAML: Final = Path(__file__).with_name("dagster.yaml")


def prepare_home(home: Path) -> None:
    """Make a home folder, and give it a dagster.yaml when it has none."""
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        shutil.copyfile(INSTANCE_YAML, config)


def open_instance(home: Path) -> contextlib.AbstractContextManager[dg.DagsterInstance]:
    """The Dagster instance of a home folder; gives it a dagster.yaml when it has none."""
    prepare_home(home)
    os.environ["DAGSTER_HOME"] = str(home.resolve())
    os.environ.setdefault(BATCH_SIZE_VARIABLE, BATCH_SIZE)
    return dg.DagsterInstance.get()


def end_orphaned_runs(instance: dg.DagsterInstance) -> int:
    """Mark runs of killed builds as failed, so that the UI does not show them as running for ever. Returns how many."""
    host = socket.gethostname()
    ended = 0
    for run in instance.get_runs(RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])):
        owner_host, _, pid = run.tags.get(OWNER_TAG, "").partition(":")
        if owner_host == host and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            instance.report_run_failed(run, "The process of this build is gone; run the build again, it resumes.")
            ended += 1
    return ended


def count_green_buckets(year: int) -> dict[str, int]:
    """How many buckets of a release each image asset has materialised, in the instance of DAGSTER_HOME."""
    green: dict[str, int] = {}
    with dg.DagsterInstance.get() as instance:
        for asset in ("original_images", "images_512px"):
            keys = [f"{bucket}|{year}" for bucket in BUCKETS]
            states = instance.get_status_by_partition(dg.AssetKey(asset), keys, bucket_releases) or {}
            green[asset] = sum(state is not None and state.name == "MATERIALIZED" for state in states.values())
    return green

"""The Dagster instance of a headless build: opens it, ends the runs of killed builds, and reads its state."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import dagster as dg
from dagster._core.storage.dagster_run import RunsFilter

from danbooru_pipeline.defs.event_log import BATCH_SIZE, BATCH_SIZE_VARIABLE
from danbooru_pipeline.defs.lanes import OWNER_TAG
from danbooru_pipeline.defs.partitions import bucket_releases
from danbooru_pipeline.errors import DamagedFile, SettingsError, is_disk_full
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.operate.databases import damaged_database

#: The instance of one machine; production brings its own, with Postgres.
INSTANCE_YAML: Final = Path(__file__).with_name("dagster.yaml")
#: SQLite opens paths of up to 512 bytes, and Dagster adds the names of its files.
MAX_HOME_BYTES: Final = 440


def prepare_home(home: Path) -> None:
    """Make a home folder, and give it a dagster.yaml when it has none.

    Raises:
        SettingsError: the folder cannot be used.
    """
    config = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not config.exists():
            shutil.copyfile(INSTANCE_YAML, config)
    except OSError as error:
        raise SettingsError(
            f"DAGSTER_HOME {home} cannot be used ({error.strerror or error}); set it to a folder that can be written"
        ) from error


@contextlib.contextmanager
def open_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of a home folder; gives it a dagster.yaml when it has none.

    Raises:
        SettingsError: the folder or its dagster.yaml cannot be used.
        StoreError: its database is damaged; the message names the file.
    """
    _require_plain_path(home)
    prepare_home(home)
    config = home / "dagster.yaml"
    os.environ.setdefault(BATCH_SIZE_VARIABLE, BATCH_SIZE)
    os.environ["DAGSTER_HOME"] = str(home.resolve())
    with _damage_named(home), contextlib.ExitStack() as stack:
        try:
            instance = stack.enter_context(dg.DagsterInstance.get())
            _ = instance.run_coordinator, instance.run_launcher  # which Dagster loads when the first run begins
            instance.has_asset_key(dg.AssetKey("posts"))  # reads the event log, whose damage Dagster prints at a write
        except Exception as error:
            if _is_of_database(error) or is_disk_full(error):
                raise
            raise SettingsError(
                f"{config} cannot be used ({_last_line(error)}); correct it, or move it away: a build writes a new one"
            ) from error
        yield instance


def _require_plain_path(home: Path) -> None:
    """Refuse a folder whose path SQLite cannot open: Dagster writes it into an address, and SQLite limits its length.

    Raises:
        SettingsError: it is one, and the runs go to SQLite.
    """
    config, path = home / "dagster.yaml", str(home.absolute())
    if config.is_file() and "postgres" in config.read_text("utf-8", "replace"):
        return
    marks = sorted(set(path) & set("%?#"))
    why = f"its path has a {marks[0]}" if marks else "its path is too long"
    if marks or len(os.fsencode(path)) > MAX_HOME_BYTES:
        raise SettingsError(
            f"DAGSTER_HOME {path} cannot hold Dagster's databases, since {why}; set DAGSTER_HOME to another folder"
        )


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


@contextlib.contextmanager
def _damage_named(home: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        damaged = damaged_database(home) if _is_of_database(error) else None
        if damaged is None:
            raise
        raise DamagedFile(damaged, "SQLite cannot read it") from error


def _is_of_database(error: BaseException | None) -> bool:
    while error is not None:
        if type(error).__module__.partition(".")[0] in {"sqlite3", "sqlalchemy"}:
            return True
        error = error.__cause__ or error.__context__
    return False


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

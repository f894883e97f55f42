"""Temporary files of the tests in memory, where there is room for them."""

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30


def keep_temporary_files_in_memory() -> None:
    """Let `tempfile`, pytest and all child processes use memory, unless TMPDIR says otherwise or there is too little.

    A build makes some thousand calls of fsync, most of them by SQLite for Dagster's events. On a disk that others use
    they took two thirds of the time of such tests, and they prove nothing here: what a killed process wrote is in the
    page cache anyway, and no test cuts the power.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM:
        return
    folder = MEMORY / f"danbooru-pipeline-tests-{os.getuid()}"
    folder.mkdir(mode=0o755, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)

"""Locks between processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.io.locks import exclusive, lock_file

HOLDER = """
import sys
from pathlib import Path
from danbooru_pipeline.io.locks import exclusive

with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_holder_is_sent_away_with_the_given_message(tmp_path: Path) -> None:
    """A held lock raises the message of the caller; afterwards it is free again, and its file stays."""
    path = tmp_path / "new" / "lock"
    with exclusive(path), pytest.raises(StoreError, match="try later"), exclusive(path, busy="try later"):
        pass
    with exclusive(path, busy="try later"):
        assert path.exists()


def test_a_thread_does_not_wait_for_itself(tmp_path: Path) -> None:
    """A build whose snapshot locked a year twice hung for ever: such a fault of ours is an error, not a standstill."""
    path = tmp_path / "lock"
    with exclusive(path), pytest.raises(RuntimeError, match="by this thread already"), exclusive(path):
        pass
    with exclusive(path):
        assert path.exists()


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    """The kernel frees the lock of a process that is killed, and whoever waits for it goes on."""
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError):
            lock_file(path, wait=False)
        process.send_signal(signal.SIGKILL)
        os.close(lock_file(path, wait=True))


def test_lock_needs_its_folder(tmp_path: Path) -> None:
    """`lock_file` creates no folders: a check of a root that does not exist must leave nothing behind."""
    with pytest.raises(FileNotFoundError):
        lock_file(tmp_path / "missing" / "lock", wait=False)
    assert list(tmp_path.iterdir()) == []

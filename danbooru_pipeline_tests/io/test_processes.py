"""What a child process takes from its parent, and what its own children do."""

import signal
import subprocess
import sys

import pytest

CHILD = """
import signal, subprocess, sys
from danbooru_pipeline.io.processes import leave_signals_to_parent
leave_signals_to_parent(terminable=sys.argv[1] == "terminable")
grandchild = subprocess.Popen(["sleep", "60"])
grandchild.send_signal(int(sys.argv[2]))
print(grandchild.wait(10))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("kind", ["terminable", "not"])
def test_programs_started_by_a_child_can_be_stopped(kind: str, number: signal.Signals) -> None:
    """A child that leaves signals to its parent does not pass that on: what it starts ends by a signal."""
    command = [sys.executable, "-c", CHILD, kind, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(-number), done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_child_goes_on_after_a_signal(number: signal.Signals) -> None:
    """Signals that go to a whole group leave the child to its parent."""
    code = """
import os, signal, sys, time
from danbooru_pipeline.io.processes import leave_signals_to_parent
leave_signals_to_parent(terminable=False)
os.kill(os.getpid(), int(sys.argv[1]))
time.sleep(0.1)
print("goes on")
"""
    done = subprocess.run([sys.executable, "-c", code, str(int(number))], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "goes on"

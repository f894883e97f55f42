"""How a process stops: the main thread hears signals, whatever the work does."""

import functools
import signal
import subprocess
import sys
import time

import pytest

from danbooru_pipeline import stop

PROGRAM = """
import sys, time
from danbooru_pipeline import stop
def work():
    print("begun", flush=True)
    {work}
def last_words(stopped):
    print("last words", flush=True)
try:
    stop.run_stoppable(work, last_words=last_words)
except stop.Stopped as stopped:
    print("stopped by", stopped.name, flush=True)
    sys.exit(stopped.exit_code)
"""
WORKS = {
    "asks": "while True: stop.check(); time.sleep(0.01)",
    "computes": "while True: sum(range(1000))",
    "waits, with a hook": (
        "import threading; event = threading.Event()\n    with stop.on_stop(event.set): event.wait()\n    stop.check()"
    ),
    "waits for ever": "import threading; threading.Event().wait()",
}


def run(work: str, *signals: signal.Signals, apart: float = 0.0) -> tuple[int, str, float]:
    """Run a program, send it signals once it has begun. Returns exit code, output and seconds."""
    program = PROGRAM.format(work=WORKS[work])
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        for number in signals:
            process.send_signal(number)
            time.sleep(apart)
        out, _ = process.communicate(timeout=60)
    return process.returncode, out, time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("work", ["asks", "computes", "waits, with a hook"])
def test_work_ends_by_a_signal(work: str, number: signal.Signals) -> None:
    """Work that asks, that only computes, and that waits for something that a hook wakes: exit code 128 + n."""
    code, out, _ = run(work, number)
    assert code == 128 + number
    assert f"stopped by {number.name}" in out


def test_blocked_signal_is_heard_and_passed_on_to_no_child() -> None:
    """A supervisor may start us with signals blocked; neither we nor what we start stay deaf to them."""
    child = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    work = f"import subprocess; subprocess.run([sys.executable, '-c', {child!r}])"
    blocked = functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK, stop.SIGNALS)
    command = [sys.executable, "-c", PROGRAM.format(work=work)]
    done = subprocess.run(command, preexec_fn=blocked, capture_output=True, text=True, check=True)
    assert done.stdout == "begun\nset()\n"


def test_work_that_cannot_be_ended_ends_with_its_process() -> None:
    """Within ten seconds of the signal, after the line that says how to go on."""
    code, out, seconds = run("waits for ever", signal.SIGTERM)
    assert (code, out) == (143, "last words\n")
    assert seconds < 10


def test_second_signal_ends_at_once() -> None:
    """Whatever the work does; the same signal within an instant, as `timeout` sends it, is the first one."""
    code, _, seconds = run("waits for ever", signal.SIGTERM, signal.SIGINT, apart=0.5)
    assert code == 130
    assert seconds < 5
    # Where the machine is so busy that the two are heard apart, the second one ends it: the code is the same.
    assert run("asks", signal.SIGTERM, signal.SIGTERM)[0] == 143

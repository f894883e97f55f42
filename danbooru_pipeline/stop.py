"""The one owner of signals: whether this process was asked to stop, and how it does.

The work runs in a thread of its own, so the main thread is free to hear signals whatever the work does, and no library
that replaces handlers in the main thread takes part. After a signal nothing new begins: what loops calls `check`, what
waits is woken by a hook of `on_stop`. What has not ended after some seconds is ended with the process; every file is
whole or absent at any moment, so the next run goes on from there. A second signal ends the process at once.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T")

#: The signals that ask a process to stop. One that our parent ignores (nohup, background jobs) stays ignored.
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: After a signal: when work that has not noticed gets an exception, and when the process ends whatever it does.
RAISE_SECONDS: Final = 1.5
END_SECONDS: Final = 8.0
#: A second signal counts after this time: `timeout`, systemd and terminals send the first one more than once.
SECOND_SIGNAL_SECONDS: Final = 0.3
_POLL_SECONDS: Final = 0.1


class Stopped(BaseException):
    """A signal asked this process to stop. No `except Exception` may take it for a failure of a file or a bucket.

    Attributes:
        number: of the signal.
    """

    def __init__(self) -> None:
        super().__init__()
        self.number = _asked.number or signal.SIGTERM

    @property
    def exit_code(self) -> int:
        """What a shell reports of a process that a signal ended."""
        return 128 + self.number

    @property
    def name(self) -> str:
        """Of the signal."""
        return signal.Signals(self.number).name


@dataclass(slots=True)
class _Asked:
    """What this process was asked. A process has one, since it has one set of signals."""

    number: int = 0
    at: float = 0.0
    noticed: bool = False
    hooks: dict[int, Callable[[], object]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


_asked = _Asked()


def requested() -> bool:
    """Whether a signal asked this process to stop."""
    return bool(_asked.number)


def check() -> None:
    """Begin nothing new after a signal.

    Raises:
        Stopped: there was one.
    """
    if _asked.number:
        _asked.noticed = True
        raise Stopped


@contextlib.contextmanager
def on_stop(hook: Callable[[], object]) -> Iterator[None]:
    """Have a signal call `hook`, which wakes or ends what the block waits for. It must return at once."""
    with _asked.lock:
        key = max(_asked.hooks, default=0) + 1
        _asked.hooks[key] = hook
    try:
        if _asked.number:
            hook()
        yield
    finally:
        with _asked.lock:
            _asked.hooks.pop(key, None)


class Servable(Protocol):
    """A server as `socketserver` has it."""

    def serve_forever(self) -> None:
        """Answer until it is shut down."""

    def shutdown(self) -> None:
        """Make `serve_forever` return; waits for that."""

    def server_close(self) -> None:
        """Close its socket."""


def serve_until_stopped(server: Servable) -> None:
    """Let a server answer until a signal comes; that is how it ends, so it is no failure."""
    # From a thread of its own, since a hook must return at once and `shutdown` waits.
    with on_stop(lambda: threading.Thread(target=server.shutdown, daemon=True).start()):
        server.serve_forever()
    server.server_close()


def run_stoppable(work: Callable[[], T], *, last_words: Callable[[Stopped], object]) -> T:
    """Run the whole work of a process so that signals stop it. Elsewhere than in the main thread it is just called.

    Args:
        work: what to do; what it raises is raised here.
        last_words: says how to go on, where the work did not end in time.

    Raises:
        Stopped: a signal came, and the work ended by it.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    results: list[T] = []
    errors: list[BaseException] = []

    def do() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            errors.append(error)

    thread = threading.Thread(target=do, name="work", daemon=True)
    with _owning_signals():
        thread.start()
        _await(thread, last_words)
        if errors:
            raise errors[0]
        return results[0]


def _await(thread: threading.Thread, last_words: Callable[[Stopped], object]) -> None:
    called, raised = False, 0
    while thread.is_alive():
        thread.join(_POLL_SECONDS)
        if not _asked.number:
            continue
        seconds = time.monotonic() - _asked.at
        if not called:
            called = True
            _call_hooks()
        if not _asked.noticed and seconds > RAISE_SECONDS * (raised + 1):
            raised += 1
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Stopped))
        if seconds > END_SECONDS:
            stopped = Stopped()
            last_words(stopped)
            end_process(stopped.exit_code)


def _call_hooks() -> None:
    with _asked.lock:
        hooks = list(_asked.hooks.values())
    for hook in reversed(hooks):
        with contextlib.suppress(Exception):  # the others must be called, and the process ends anyway
            hook()


@contextlib.contextmanager
def _owning_signals() -> Iterator[None]:
    """Hear the signals for the length of the block."""
    before: dict[signal.Signals, Any] = {}
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, _hear)
    # Some supervisors leave them blocked, and every program that is started here would be deaf to them, too.
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, before)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked.number, _asked.at, _asked.noticed = 0, 0.0, False


def _hear(number: int, _frame: FrameType | None) -> None:
    now = time.monotonic()
    if not _asked.number:
        _asked.at, _asked.number = now, number
    elif now - _asked.at > SECOND_SIGNAL_SECONDS:
        end_process(128 + number)


def end_process(code: int) -> None:
    """End the process without waiting for anything; its children end with it (see `io.processes.die_with`)."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)

"""Waits until the next request may go out.

Every timed wait of `fetch/` is `RateLimiter.pause`; `retry` and `slots` only decide for how long.

All processes that work on one store share one rate limit: its state is a small record in the store, read and written
under a lock that the kernel frees when its holder dies. The arithmetic is in `rate`. It uses wall-clock time, since
machines that share a store share no other clock; a clock that is off costs at most one long pause, once.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from danbooru_pipeline import stop
from danbooru_pipeline.fetch.gil_turns import without_turn
from danbooru_pipeline.fetch.rate import HostRate, RateState
from danbooru_pipeline.io.locks import locked

#: The record is written in one call of this size, so that a kill leaves either the old one or the new one.
RECORD_BYTES: Final = 4096
#: A response that takes this many times as long as usual, and at least this many seconds, means an overloaded host.
SLOW_FACTOR, SLOW_SECONDS = 4.0, 2.0
#: During a wait of this length another request may have been throttled, so the host is checked before sending.
RECHECK_SECONDS: Final = 0.01
#: Weight of a new sample in the moving average of response times.
USUAL_WEIGHT: Final = 0.05
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RateState)


class RateLimiter:
    """Decides when each request may be sent. Safe for threads, and for processes that share a record.

    Args:
        rate: budget in requests per second, all hosts and all processes together.
        record: file that the processes share; without one, before its folder exists, or where that cannot be
            written, the limit is this object's own.
    """

    def __init__(self, rate: float, *, record: Path | None = None) -> None:
        self.rate = rate
        self._record = record
        self._own_state = RateState()  # guarded by _lock
        # Host -> seconds until a response begins. Threads update it without a lock: a lost sample does not matter.
        self._usual_seconds: dict[str, float] = {}
        self._queues: dict[str, threading.Lock] = {}  # guarded by _lock
        self._descriptor: int | None = None  # guarded by _lock
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def wait(self, host: str) -> float:
        """Wait until a request to `host` may go out. Returns that moment, on the clock of `time.time`.

        Raises:
            RuntimeError: the limiter is closed.
        """
        with self._lock:
            queue = self._queues.setdefault(host, threading.Lock())
        while True:
            # One thread per host waits for it to become ready; otherwise all of them would wake for one request.
            if not queue.acquire(blocking=False):
                with without_turn():
                    queue.acquire()
            try:
                seconds, is_slot = self._reserve(host)
                while not is_slot:
                    self.pause(seconds)
                    seconds, is_slot = self._reserve(host)
            finally:
                queue.release()
            self.pause(seconds)
            if seconds < RECHECK_SECONDS or not self.is_paused(host):
                return time.time()

    def pause(self, seconds: float) -> None:
        """Sleep, without holding up other download threads.

        Raises:
            Stopped: a signal came.
            RuntimeError: the limiter is closed, or was closed meanwhile.
        """
        if seconds > 0:
            with without_turn():
                self._closed.wait(seconds)
        stop.check()
        if self._closed.is_set():
            raise RuntimeError("no more requests are sent, since the client is closed")

    def slow_down(self, host: str, retry_after: float | None = None, *, sent: float | None = None) -> None:
        """Lower the rate of `host` and pause it, for all processes; see `RateState.note_throttled`.

        Either it throttled the request that went out at `sent`, or the circuit breaker wants it left alone for a while.
        """
        now = time.time()
        with self._shared_state() as state:
            state.note_throttled(
                host, now, budget=self.rate, sent=now if sent is None else sent, retry_after=retry_after
            )

    def note_answer(self, host: str, seconds: float) -> None:
        """Record how many seconds `host` took to begin a response; other processes learn of it only if it was slow."""
        usual = self._usual_seconds.get(host, seconds)
        self._usual_seconds[host] = usual + USUAL_WEIGHT * (min(seconds, 2 * usual) - usual)
        if seconds > max(SLOW_SECONDS, SLOW_FACTOR * usual):
            with self._shared_state() as state:
                state.note_slow_answer(host, time.time(), budget=self.rate, seconds=seconds)

    def close(self) -> None:
        """Wake every waiting thread with an error, and allow no more requests."""
        self._closed.set()
        with self._lock:
            self._close_record()

    def _reserve(self, host: str) -> tuple[float, bool]:
        with self._shared_state() as state:
            return state.reserve(host, time.time(), budget=self.rate)

    def is_paused(self, host: str) -> bool:
        """Whether `host` is left alone for now, since it throttled us."""
        with self._shared_state() as state:
            now = time.time()
            state.bound(now)
            return state.host(host, self.rate).paused_until > now

    @contextlib.contextmanager
    def _shared_state(self) -> Iterator[RateState]:
        """The state, locked against other threads and processes; changes to it are saved."""
        with self._lock:
            descriptor = self._open_record()
            if descriptor is None:
                yield self._own_state
                return
            try:
                with locked(descriptor):
                    state = _read(descriptor)
                    yield state
                    _write(descriptor, state)
            finally:
                if self._closed.is_set():
                    self._close_record()

    def _open_record(self) -> int | None:
        if self._descriptor is not None and not os.fstat(self._descriptor).st_nlink:  # the root was emptied
            self._close_record()
        if self._descriptor is None and self._record is not None:
            # Nothing is created in a root before it has passed its checks.
            try:
                self._descriptor = os.open(self._record, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:
                pass
            except OSError:
                if os.access(self._record.parent, os.W_OK, effective_ids=True):
                    raise
                # Who may only look at a root, as a dry run does, downloads nothing and sends a few requests.
        return self._descriptor

    def _close_record(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read_pace(record: Path) -> dict[str, HostRate]:
    """The state of each host in the record that the processes of a store share; empty without one."""
    try:
        descriptor = os.open(record, os.O_RDONLY)
    except OSError:
        return {}
    try:
        return _read(descriptor).hosts
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> RateState:
    try:
        return _decoder.decode(os.pread(descriptor, RECORD_BYTES, 0))
    except msgspec.DecodeError:  # new, or written by another version
        return RateState()


def _write(descriptor: int, state: RateState) -> None:
    data = _encoder.encode(state)
    if len(data) > RECORD_BYTES:  # the addresses of many demos; those in use will be added again
        data = _encoder.encode(RateState(next_slot=state.next_slot))
    os.pwrite(descriptor, data.ljust(RECORD_BYTES), 0)

"""Waits until the next request may go out. The only module, with `retry`, that waits.

All processes that work on one store keep to one pace: its state is a small record in the store, read and written under
a lock that the kernel frees when its holder dies. The arithmetic is in `pace`. Wall-clock time is used, since machines
that share a store share no other clock; a clock that is off costs at most one long pause.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from danbooru_pipeline.fetch.gil_turns import without_turn
from danbooru_pipeline.fetch.rate import Pace, grow

#: The record is written in one piece of this size, so that a kill leaves the old one or the new one.
RECORD_BYTES: Final = 4096
#: An answer that takes this many times the usual, and this many seconds, is a sign that the host has too much to do.
SLOW_FACTOR, SLOW_SECONDS = 4.0, 2.0
#: A host may have been paused during a wait of this length, which is worth a look before the request goes out.
NOTICEABLE_SECONDS: Final = 0.01
#: How fast the usual follows what is measured.
USUAL_WEIGHT: Final = 0.05
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Pace)


class Pacer:
    """Hands out the moments at which requests may be sent. Safe for threads, and for processes with the same record.

    Args:
        rate: most requests a second, all hosts and all processes together.
        record: file that the processes share; without one, or without its folder, the pace is this object's own.
    """

    def __init__(self, rate: float, *, record: Path | None = None) -> None:
        self.rate = rate
        self._record = record
        self._own = Pace()
        self._usual: dict[str, float] = {}  # host -> seconds until an answer begins
        self._queues: dict[str, threading.Lock] = {}
        self._descriptor: int | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def wait(self, host: str) -> float:
        """Return when a request to `host` may go out: the moment, on the clock of `time.time`.

        Raises:
            RuntimeError: the pacer is closed.
        """
        with self._lock:
            queue = self._queues.setdefault(host, threading.Lock())
        while True:
            # One thread a host waits for it to be ready: were it all of them, all would wake for one request.
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
            if seconds < NOTICEABLE_SECONDS or not self._is_paused(host):
                return time.time()

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            RuntimeError: the pacer is closed, before or meanwhile.
        """
        if seconds > 0:
            with without_turn():
                self._closed.wait(seconds)
        if self._closed.is_set():
            raise RuntimeError("no request is sent any more, since the client is closed")

    def slow_down(self, host: str, retry_after: float | None = None, *, sent: float | None = None) -> None:
        """Take note that `host` asked for fewer requests, with one that went out at `sent`; see `Pace.refuse`."""
        now = time.time()
        with self._shared() as pace:
            pace.refuse(host, now, most=self.rate, sent=now if sent is None else sent, retry_after=retry_after)

    def note_answer(self, host: str, seconds: float) -> None:
        """Take note of how many seconds `host` took to begin an answer; only a slow one concerns other processes."""
        usual = self._usual.get(host, seconds)
        self._usual[host] = usual + USUAL_WEIGHT * (min(seconds, 2 * usual) - usual)
        if seconds > max(SLOW_SECONDS, SLOW_FACTOR * usual):
            with self._shared() as pace:
                pace.note_slow_answer(host, time.time(), most=self.rate, seconds=seconds)

    def rate_of(self, host: str) -> float:
        """Requests a second that `host` is asked at most, at present."""
        with self._shared() as pace:
            known = pace.host(host, self.rate)
            grow(known, time.time(), most=self.rate)
            return min(self.rate, known.rate)

    def close(self) -> None:
        """Wake everybody who waits, and let nobody send any more."""
        self._closed.set()
        with self._lock:
            self._let_go()

    def _reserve(self, host: str) -> tuple[float, bool]:
        with self._shared() as pace:
            return pace.reserve(host, time.time(), most=self.rate)

    def _is_paused(self, host: str) -> bool:
        with self._shared() as pace:
            return pace.host(host, self.rate).paused_until > time.time()

    @contextlib.contextmanager
    def _shared(self) -> Iterator[Pace]:
        """The state, for one step of arithmetic."""
        with self._lock:
            descriptor = self._open()
            if descriptor is None:
                yield self._own
                return
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                pace = _read(descriptor)
                yield pace
                _write(descriptor, pace)
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                if self._closed.is_set():
                    self._let_go()

    def _open(self) -> int | None:
        if self._descriptor is not None and not os.fstat(self._descriptor).st_nlink:  # the root was emptied
            self._let_go()
        if self._descriptor is None and self._record is not None:
            # Nothing is made in a root before it has passed its checks.
            with contextlib.suppress(FileNotFoundError):
                self._descriptor = os.open(self._record, os.O_RDWR | os.O_CREAT, 0o644)
        return self._descriptor

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _read(descriptor: int) -> Pace:
    try:
        return _decoder.decode(os.pread(descriptor, RECORD_BYTES, 0))
    except msgspec.DecodeError:  # new, or from another version
        return Pace()


def _write(descriptor: int, pace: Pace) -> None:
    data = _encoder.encode(pace)
    if len(data) > RECORD_BYTES:  # the addresses of many demos; those that are asked now come again
        data = _encoder.encode(Pace(next_slot=pace.next_slot))
    os.pwrite(descriptor, data.ljust(RECORD_BYTES), 0)

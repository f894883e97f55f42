"""Counts work while it goes on, and reports from time to time how far it is.

Reports go where the work runs: a line on a terminal, a log line every 30 seconds in a Dagster run, never a line per
image. The types of all callbacks that report to somebody are declared here.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Self

#: ``say(line)``: one line for people, without its newline.
Say = Callable[[str], None]
#: ``progress(what, done, total)``, for instance ``("original", 17, 1000)`` buckets; called often, so it returns fast.
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int, /) -> None:
    """A `Progress` that reports nothing."""


_HEARS: Final[ContextVar[Say | None]] = ContextVar("hears", default=None)


@contextmanager
def heard_by(say: Say) -> Iterator[None]:
    """Have what this thread waits for in the block told to `say`; nobody hears of it elsewhere."""
    token = _HEARS.set(say)
    try:
        yield
    finally:
        _HEARS.reset(token)


def tell_of_wait(line: str) -> None:
    """Say what this thread waits for, or what it could not find out."""
    say = _HEARS.get()
    if say is not None:
        say(line)


def human_bytes(size: float) -> str:
    """A number of bytes for people, in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def noun(count: int, one: str, many: str = "") -> str:
    """The word for so many things: `one` of it, or `many`, which is `one` with an s if not said otherwise."""
    return one if count == 1 else many or f"{one}s"


def counted(count: int, one: str, many: str = "") -> str:
    """A number with its noun, and what else depends on it: ``1 post was``, ``1,234 posts were``."""
    return f"{count:,} {noun(count, one, many)}"


def human_seconds(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


@dataclass(frozen=True, slots=True)
class Gauge:
    """How far one piece of work is: what a meter has counted so far.

    Attributes:
        title: of the work.
        steps, total: done, and to do in all.
        files, bytes: fetched.
        reasons: reason -> files that failed for it.
        is_over: whether the work has ended.
    """

    title: str
    steps: int
    total: int
    files: int
    bytes: int
    reasons: Mapping[str, int]
    is_over: bool = False


#: ``watch(gauge)``: shows how far one piece of work is; called twice a second, and when the work ends.
Watch = Callable[[Gauge], None]
#: ``show(worker, gauge)``: the same for work that several processes do; `worker` names one of them.
Show = Callable[[str, Gauge], None]
#: How often a gauge is shown to whoever watches, in seconds.
WATCH_SECONDS = 0.5


class Meter:
    """Files, bytes and reasons of one piece of work of `total` steps. Safe for threads; use it as a context manager.

    Args:
        title: of the work.
        total: how many steps it has.
        report: gets a line every `every_seconds`; without it the meter only counts.
        every_seconds: time between two lines.
        watch: is shown the counts twice a second, and at the end.
    """

    def __init__(
        self,
        title: str = "",
        *,
        total: int = 0,
        report: Say | None = None,
        every_seconds: float = 30.0,
        watch: Watch | None = None,
    ) -> None:
        self.title, self.total, self.steps = title, total, 0
        self._watch, self._shown = watch, 0.0
        self.files = self.bytes = 0
        self.reasons: Counter[str] = Counter()
        self._report, self._every = report, every_seconds
        self._began = self._said = time.monotonic()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch(self._gauge(is_over=True))

    def _gauge(self, *, is_over: bool = False) -> Gauge:
        return Gauge(self.title, self.steps, self.total, self.files, self.bytes, dict(self.reasons), is_over)

    def count_file(self, size: int, reason: str | None) -> None:
        """Count one file that was asked for."""
        with self._lock:
            self.files += 1
            self.bytes += size
            if reason is not None:
                self.reasons[reason] += 1
        self._say()

    def count_step(self, steps: int = 1) -> None:
        """Count one of the steps, or several."""
        with self._lock:
            self.steps += steps
        self._say()

    def line(self) -> str:
        """How far the work is, how fast, how much time is left, and what went wrong."""
        return progress_line(self._gauge(), time.monotonic() - self._began)

    def _say(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self._watch is not None and now - self._shown >= WATCH_SECONDS:
                self._shown = now
                self._watch(self._gauge())
            if self._report is None or now - self._said < self._every:
                return
            self._said = now
            text, report = self.line(), self._report
        report(text)


def progress_line(gauge: Gauge, seconds: float) -> str:
    """A gauge for people, after `seconds` of work."""
    seconds = max(seconds, 1e-9)
    parts = [f"{gauge.title}: {gauge.steps:,}/{gauge.total:,}"]
    if gauge.files:
        parts.append(f"{gauge.files:,} files, {human_bytes(gauge.bytes)}, {gauge.files / seconds:.1f} files/s")
    if 0 < gauge.steps < gauge.total:
        parts.append(f"{human_seconds(seconds / gauge.steps * (gauge.total - gauge.steps))} left")
    if gauge.reasons:
        ordered = sorted(gauge.reasons.items(), key=lambda item: -item[1])
        parts.append(", ".join(f"{name} {count:,}" for name, count in ordered))
    return " · ".join(parts)

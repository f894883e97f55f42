"""Counts work as it goes on, and says from time to time how far it is.

Printed where the work runs: a line on a terminal, a log line every 30 seconds in a Dagster run. Never a line an image.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable

Report = Callable[[str], None]


def human_bytes(size: float) -> str:
    """A number of bytes for people, in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def human_seconds(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


class Meter:
    """Files, bytes and reasons of one piece of work of `total` steps. Safe for threads.

    Args:
        title: of the work.
        total: how many steps it has.
        report: told a line every so often; without it the meter only counts.
        every_seconds: how often.
    """

    def __init__(
        self, title: str = "", *, total: int = 0, report: Report | None = None, every_seconds: float = 30.0
    ) -> None:
        self.title, self.total, self.steps = title, total, 0
        self.files = self.bytes = 0
        self.reasons: Counter[str] = Counter()
        self._report, self._every = report, every_seconds
        self._began = self._said = time.monotonic()
        self._lock = threading.Lock()

    def count_file(self, size: int, reason: str | None) -> None:
        """Note one file that was asked for."""
        with self._lock:
            self.files += 1
            self.bytes += size
            if reason is not None:
                self.reasons[reason] += 1
        self._say()

    def count_step(self) -> None:
        """Note one of the steps."""
        with self._lock:
            self.steps += 1
        self._say()

    def line(self) -> str:
        """How far the work is, how fast, how long it will take, and what went wrong."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        parts = [f"{self.title}: {self.steps:,}/{self.total:,}"]
        if self.files:
            parts.append(f"{self.files:,} files, {human_bytes(self.bytes)}, {self.files / seconds:.1f} files/s")
        if 0 < self.steps < self.total:
            parts.append(f"{human_seconds(seconds / self.steps * (self.total - self.steps))} left")
        if self.reasons:
            parts.append(", ".join(f"{name} {n:,}" for name, n in self.reasons.most_common()))
        return " · ".join(parts)

    def _say(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self._report is None or now - self._said < self._every:
                return
            self._said = now
            text, report = self.line(), self._report
        report(text)

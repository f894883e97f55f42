"""Progress on a terminal: one line that is written over again, and the lines of a log above it."""

import shutil
import sys
import threading
import time
from collections import Counter
from typing import TextIO

from danbooru_pipeline.progress import Gauge, progress_line


class TerminalLine:
    """Adds up what the processes of a build show, and keeps one line about it at the bottom of a terminal.

    Args:
        stream: the terminal; where it is none, only whole lines are written.
    """

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._lock = threading.Lock()
        self._running: dict[str, Gauge] = {}
        self._over: list[Gauge] = []
        self._began = time.monotonic()
        self._total = 0
        self._title = ""

    @property
    def is_live(self) -> bool:
        """Whether there is a terminal to write over."""
        return self._live

    def begin(self, title: str, total: int) -> None:
        """Start a stage of so many steps."""
        with self._lock:
            self._running, self._over = {}, []
            self._title, self._total, self._began = title, total, time.monotonic()

    def show(self, worker: str, gauge: Gauge) -> None:
        """Take in where a worker of the stage stands."""
        with self._lock:
            if gauge.is_over:
                self._running.pop(worker, None)
                self._over.append(gauge)
            else:
                self._running[worker] = gauge
            if self._live:
                line = progress_line(self._sum(), time.monotonic() - self._began)
                self._stream.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")
                self._stream.flush()

    def step(self, title: str, done: int, total: int) -> None:
        """Take in how far work of one process is; see `release.progress.Progress`."""
        if title != self._title:
            self.begin(title, total)
        self.show(title, Gauge(title, done, total, 0, 0, {}))

    def clear(self) -> None:
        """Take the line away, since the work is over."""
        with self._lock:
            if self._live:
                self._stream.write("\r\x1b[K")
                self._stream.flush()

    def write(self, text: str) -> None:
        """Write a whole line above."""
        with self._lock:
            self._stream.write(f"\r\x1b[K{text}\n" if self._live else f"{text}\n")
            self._stream.flush()

    def _sum(self) -> Gauge:
        gauges = [*self._over, *self._running.values()]
        reasons = sum((Counter(gauge.reasons) for gauge in gauges), Counter[str]())
        return Gauge(
            title=self._title,
            steps=sum(gauge.steps for gauge in gauges),
            total=self._total,
            files=sum(gauge.files for gauge in gauges),
            bytes=sum(gauge.bytes for gauge in gauges),
            reasons=dict(reasons),
        )

"""Progress on a terminal: one line that is overwritten in place, with log lines above it."""

import shutil
import sys
import threading
import time
from collections import Counter
from typing import TextIO

from danbooru_pipeline.progress import Gauge, progress_line


class TerminalLine:
    """Sums the progress of a build's processes in one line at the bottom of a terminal. Thread-safe.

    Args:
        stream: the terminal; if it is not one, only whole lines are written.
    """

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._lock = threading.Lock()
        self._running: dict[str, Gauge] = {}
        self._finished: list[Gauge] = []
        self._began = time.monotonic()
        self._total = 0
        self._title = ""

    @property
    def is_live(self) -> bool:
        """Whether the stream is a terminal."""
        return self._live

    def begin(self, title: str, total: int) -> None:
        """Start a stage of `total` steps."""
        with self._lock:
            self._running, self._finished = {}, []
            self._title, self._total, self._began = title, total, time.monotonic()

    def show(self, worker: str, gauge: Gauge) -> None:
        """Update the progress of one worker."""
        with self._lock:
            if gauge.is_over:
                self._running.pop(worker, None)
                self._finished.append(gauge)
            else:
                self._running[worker] = gauge
            if self._live:
                line = progress_line(self._sum(), time.monotonic() - self._began)
                self._stream.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")
                self._stream.flush()

    def step(self, title: str, done: int, total: int) -> None:
        """Update the progress of work in a single process; see `progress.Progress`."""
        if title != self._title:
            self.begin(title, total)
        self.show(title, Gauge(title, done, total, 0, 0, {}))

    def clear(self) -> None:
        """Remove the line once the work is finished."""
        with self._lock:
            if self._live:
                self._stream.write("\r\x1b[K")
                self._stream.flush()

    def write(self, text: str) -> None:
        """Write a whole line above the progress line."""
        with self._lock:
            self._stream.write(f"\r\x1b[K{text}\n" if self._live else f"{text}\n")
            self._stream.flush()

    def _sum(self) -> Gauge:
        gauges = [*self._finished, *self._running.values()]
        reasons = sum((Counter(gauge.reasons) for gauge in gauges), Counter[str]())
        return Gauge(
            title=self._title,
            steps=sum(gauge.steps for gauge in gauges),
            total=self._total,
            files=sum(gauge.files for gauge in gauges),
            bytes=sum(gauge.bytes for gauge in gauges),
            reasons=dict(reasons),
        )

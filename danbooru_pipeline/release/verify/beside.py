"""Runs one part of a verification beside the others: images are hashed while the metadata is read."""

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from danbooru_pipeline.release.verify.findings import Findings
from danbooru_pipeline.release.verify.verification import Verification


class _Abandoned(BaseException):
    """The other part failed, or was stopped. No `except Exception` may take it for a damaged file."""


class Beside:
    """A thread for one part.

    Attributes:
        run: for that part; it collects its findings apart, so that their order does not depend on who is quicker.
    """

    def __init__(self, run: Verification) -> None:
        self._abandoned = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="verify")
        self._part: Future[None] | None = None
        self._progress = run.progress
        self.run = dataclasses.replace(run, found=Findings(), progress=self._report)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._abandoned.set()
        self._pool.shutdown()

    def start(self, part: Callable[[], None]) -> None:
        """Begin."""
        self._part = self._pool.submit(part)

    def wait(self) -> None:
        """Wait for its end, and raise what it raised."""
        if self._part is not None:
            self._part.result()

    def _report(self, what: str, done: int, total: int, /) -> None:
        if self._abandoned.is_set():
            raise _Abandoned
        self._progress(what, done, total)

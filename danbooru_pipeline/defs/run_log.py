"""What a run hands back to whoever started it in the same process, besides what it records in Dagster.

Dagster drops the numbers of a step that fails and keeps errors as text; a headless build needs both. Whoever starts a
run gives it a `RunLog` as the resource `run_log`; runs from the UI get one that nobody reads.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping

from danbooru_pipeline import stop
from danbooru_pipeline.errors import DanbooruPipelineError
from danbooru_pipeline.progress import Watch


class RunLog:
    """The log of one run. Its steps write it, all in the thread of the run; the owner reads it when the run is over.

    Args:
        watch: called with the progress of buckets; None without a terminal.

    Attributes:
        worked_seconds: CPU time of the work itself, without what Dagster does around it.
        stopped_by: the error of ours that ended the run, if one did.
        broken_by: the first error that cost a bucket, though the run went on; posts left pending are none.
        numbers: sums over all buckets that were worked on, those that failed as well; posts by reason as
            ``reason:NAME``.
    """

    def __init__(self, *, watch: Watch | None = None) -> None:
        self.watch = watch
        self.worked_seconds = 0.0
        self.stopped_by: DanbooruPipelineError | None = None
        self.broken_by: DanbooruPipelineError | None = None
        self.numbers: Counter[str] = Counter()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Count the CPU time of the block, and keep the error of ours that ends it. Nothing begins after a signal."""
        stop.check()
        began = time.thread_time()
        try:
            yield
        except DanbooruPipelineError as error:
            self.stopped_by = error
            raise
        finally:
            self.worked_seconds += time.thread_time() - began

    def count(self, numbers: Mapping[str, object], reasons: Mapping[str, int]) -> None:
        """Add the integers of a bucket's report, and its reasons."""
        self.numbers.update({name: value for name, value in numbers.items() if isinstance(value, int)})
        self.numbers.update({f"reason:{name}": count for name, count in reasons.items()})

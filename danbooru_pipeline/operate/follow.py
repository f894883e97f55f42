"""Following as the operator runs it: at its own pace, after what a published release has decided is removed.

Says how far it is, for `status` and `doctor`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.io.leases import leased
from danbooru_pipeline.layout import BUCKETS, Layout
from danbooru_pipeline.operate.preflight import check_root
from danbooru_pipeline.posts.report import read_report
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.release import published
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.follow import FollowReport, FollowState, find_state, follow_site
from danbooru_pipeline.store.follow.seen import discard_decided
from danbooru_pipeline.store.plan import list_files
from danbooru_pipeline.years import cutoff

#: Following is meant to run each night; a replaced file is deleted upstream after 30 days.
LATE: Final = timedelta(days=2)


@contextmanager
def open_follower(settings: Settings, *, now: Callable[[], datetime] | None = None) -> Iterator[RunContext]:
    """What following has open: the same as a build, at its own pace."""
    chosen = settings.replace(requests_per_second=settings.follow_pace)
    with RunContext(chosen) if now is None else RunContext(chosen, now=now) as context:
        yield context


def follow(context: RunContext, *, dry_run: bool = False, meter: Meter | None = None) -> FollowReport:
    """Follow the running year once; see `follow_site`.

    Raises:
        DanbooruPipelineError: settings, root or site do not allow it.
    """
    check_root(context.settings.root, min_free_bytes=context.settings.min_free_bytes)
    if not dry_run:
        forget_decided(context.layout)
    return follow_site(context, dry_run=dry_run, meter=meter)


def forget_decided(layout: Layout) -> int:
    """Remove kept files that the newest published release did not want, or holds. Returns how many.

    Its sweep saw everything that was kept before, so it has decided. What was kept since is for the next one.
    """
    years = [year for year in published(layout) if read_report(layout, year) is not None]
    report = read_report(layout, years[-1]) if years else None
    if report is None:
        return 0
    removed = 0
    for bucket in BUCKETS:
        folder = layout.replaced_bucket(bucket)
        if not folder.is_dir():
            continue
        with leased(layout.bucket_lock(bucket)):
            for name in list_files(folder):
                path = folder / name
                if path.stat().st_mtime <= report.taken_at.timestamp():
                    path.unlink()
                    removed += 1
    discard_decided(layout, created=cutoff(years[-1]), seen=report.taken_at)
    return removed


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowStatus:
    """How far following is.

    Attributes:
        last_id: posts up to this one were seen.
        posts_until: when the newest of them was created.
        files, bytes: that came since following began.
        left: posts whose file did not come, and is asked for again.
        ran_at: when the last run ended.
    """

    last_id: int
    posts_until: datetime | None
    files: int
    bytes: int
    left: int
    ran_at: datetime | None

    @classmethod
    def of(cls, state: FollowState) -> "FollowStatus":
        """The status of a state."""
        return cls(
            last_id=state.last_id,
            posts_until=state.posts_until,
            files=state.files,
            bytes=state.bytes,
            left=len(state.asked_again),
            ran_at=state.ran_at,
        )

    def is_late(self, now: datetime) -> bool:
        """Whether it did not run for days."""
        return self.ran_at is None or now - self.ran_at > LATE

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    def line(self) -> str:
        """For people."""
        until = f" of {self.posts_until:%Y-%m-%d %H:%M} UTC" if self.posts_until else ""
        ran = f"last run {self.ran_at:%Y-%m-%d %H:%M} UTC" if self.ran_at else "no run has ended yet"
        left = f", {self.left:,} did not come" if self.left else ""
        return f"followed up to post {self.last_id:,}{until}: {self.files:,} files for the next release{left}; {ran}"


def follow_status(layout: Layout) -> FollowStatus | None:
    """How far following is; None when it never began."""
    state = find_state(layout)
    return None if state is None else FollowStatus.of(state)

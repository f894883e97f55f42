"""Following as the operator runs it: at its own pace, after what a published release has decided is removed.

Says how far it is, for `status` and `doctor`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import NewerFile, ReleaseError
from danbooru_pipeline.fetch.site_clock import is_believable, require_right_clock
from danbooru_pipeline.io.leases import leased
from danbooru_pipeline.layout import BUCKETS, Layout, post_of_replaced
from danbooru_pipeline.operate.preflight import check_root
from danbooru_pipeline.posts.report import PostsReport
from danbooru_pipeline.progress import Meter, counted
from danbooru_pipeline.release import published, read_release
from danbooru_pipeline.release_paths import release_name
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.follow import FollowReport, FollowState, find_state, follow_site
from danbooru_pipeline.store.follow.seen import created_times, discard_decided
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
    now = context.now()
    if not dry_run:  # which asks nothing of the root but to be read
        check_root(context.settings.root, min_free_bytes=context.settings.min_free_bytes)
    require_right_clock(context.client.seconds_ahead())
    if not dry_run:
        forget_decided(context.layout, now=now)
    decision = _newest_decision(context.layout)
    if decision is None or decision.is_believed(find_state(context.layout), now=now):
        return follow_site(context, dry_run=dry_run, meter=meter)
    report = follow_site(context, dry_run=dry_run, meter=meter, disbelieved=decision.seen)
    return replace(report, notes=(*report.notes, decision.disbelieved_line()))


@dataclass(frozen=True, slots=True)
class _Decision:
    """What the newest published release has decided.

    Attributes:
        year: of the release.
        created: posts up to this moment are in it, or will be in no release.
        seen: its metadata shows what happened up to this moment.
        all_up_to: all posts up to this id are of its time.
    """

    year: int
    created: datetime
    seen: datetime
    all_up_to: int

    def is_believed(self, state: FollowState | None, *, now: datetime) -> bool:
        """Whether the time of its metadata is none that has still to come, nor had when following met it first.

        What clocks differ by counts as the past.
        """
        return is_believable(self.seen, now=now) and (state is None or state.disbelieved != self.seen)

    def disbelieved_line(self) -> str:
        """Why no kept file is removed by a release whose metadata says that it is of a time to come."""
        return (
            f"the metadata of {release_name(self.year)} was dated {self.seen:%Y-%m-%d %H:%M} UTC before that time "
            f"came, so no kept file is removed by it; build {self.year} again, or wait for the next release"
        )


def forget_decided(layout: Layout, *, now: datetime | None = None) -> int:
    """Remove kept files that the newest published release did not want, or holds. Returns how many.

    It has decided about files that were kept before its metadata was taken, of posts that it can contain. What was kept
    since, and what is of a later post, is for the next one. Metadata of a time that has still to come, or had when
    following met it first, was taken by a clock that was wrong, and decides nothing.

    Args:
        layout: of the root.
        now: what time it is; by the clock of this machine unless given.
    """
    decision = _newest_decision(layout)
    if decision is None or not decision.is_believed(find_state(layout), now=now or datetime.now(UTC)):
        return 0
    buckets = [bucket for bucket in BUCKETS if layout.replaced_bucket(bucket).is_dir()]
    names = {bucket: list_files(layout.replaced_bucket(bucket)) for bucket in buckets}
    created = created_times(layout, {post_of_replaced(name) for each in names.values() for name in each})
    removed = 0
    for bucket in buckets:
        with leased(layout.bucket_lock(bucket)):
            removed += sum(_forget(layout.replaced_bucket(bucket) / name, decision, created) for name in names[bucket])
    discard_decided(layout, created=decision.created, seen=decision.seen)
    return removed


def _newest_decision(layout: Layout) -> _Decision | None:
    """By the release's own account, since its year may have been swept again; None while nobody knows."""
    year, folder = next(reversed(published(layout).items()), (0, None))
    try:
        sources = read_release(folder).sources if folder is not None else []
    except (ReleaseError, NewerFile):  # whoever reads releases names it; until then everything stays
        return None
    report = PostsReport({"source": sources[0]}) if sources else None
    sweep = report.sweep if report is not None else None
    if report is None or sweep is None or sweep.shows_until is None:
        return None
    return _Decision(year, cutoff(year), sweep.shows_until.astimezone(UTC), report.all_up_to)


def _forget(path: Path, decision: _Decision, created: Mapping[int, datetime]) -> bool:
    """Remove a kept file if it is decided, and say so. The caller holds the lock of its bucket."""
    id_ = post_of_replaced(path.name)
    at = created.get(id_)
    can_contain = at <= decision.created if at is not None else id_ <= decision.all_up_to
    if not can_contain or not path.exists() or path.stat().st_mtime > decision.seen.timestamp():
        return False
    path.unlink()
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowStatus:
    """How far following is.

    Attributes:
        last_id: posts up to this one were seen.
        posts_until: when the newest of them was created.
        files, bytes: that came since following began.
        left: posts whose file did not come, and is asked for again.
        unanswered: posts that the site said nothing about, and that it is asked about again.
        ran_at: when the last run ended.
    """

    last_id: int
    posts_until: datetime | None
    files: int
    bytes: int
    left: int
    unanswered: int = 0
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
            unanswered=len(state.waiting),
            ran_at=state.ran_at,
        )

    def is_late(self, now: datetime) -> bool:
        """Whether the last run ended more than two days ago (`LATE`)."""
        return self.ran_at is None or now - self.ran_at > LATE

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    def line(self) -> str:
        """For people."""
        until = f" of {self.posts_until:%Y-%m-%d %H:%M} UTC" if self.posts_until else ""
        ran = f"last run {self.ran_at:%Y-%m-%d %H:%M} UTC" if self.ran_at else "no run has ended yet"
        left = f", {self.left:,} did not come" if self.left else ""
        left += f", {counted(self.unanswered, 'post')} got no answer" if self.unanswered else ""
        files = counted(self.files, "file")
        return f"followed up to post {self.last_id:,}{until}: {files} for the next release{left}; {ran}"


def follow_status(layout: Layout) -> FollowStatus | None:
    """How far following is; None when it never began."""
    state = find_state(layout)
    return None if state is None else FollowStatus.of(state)

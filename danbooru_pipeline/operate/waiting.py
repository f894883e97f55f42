"""What a release of a year still waits for in the store, named, for messages and reports. Starts and sends nothing."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.follow import follow_status
from danbooru_pipeline.outcomes import Status
from danbooru_pipeline.posts.takedowns import held_by_takedown
from danbooru_pipeline.progress import counted
from danbooru_pipeline.release_paths import release_name
from danbooru_pipeline.store.ledger import read_ledger
from danbooru_pipeline.store.planning import BucketCounts, plan_year

#: Posts named in a message; the ledgers have the rest.
SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is left to do for a release.

    Attributes:
        has_posts: whether its metadata is there and split by bucket.
        with_work: buckets that a build would still work on.
        untouched: those of them that no build has tried: no release can be made before.
        pending: id -> reason of posts whose file could not be had for a transient reason; a release may be made with
            them.
        held: what holds up every build, for people; None if nothing does.
    """

    year: int
    has_posts: bool
    with_work: tuple[str, ...] = ()
    untouched: tuple[str, ...] = ()
    pending: dict[int, str]
    held: str | None = None

    @property
    def can_finish(self) -> bool:
        """Whether a release can be made now."""
        return self.has_posts and not self.untouched and self.held is None

    def lines(self) -> list[str]:
        """For people; empty when nothing is left."""
        name = release_name(self.year)
        lines = [self.held] if self.held else []
        if not self.has_posts:
            return [
                *lines,
                f"{name} has no posts yet; launch the job begin_release, or wait for the sensor yearly_release",
            ]
        if self.untouched:
            lines.append(
                f"{counted(len(self.untouched), 'bucket has', 'buckets have')} posts that no run has worked on, from "
                f"{self.untouched[0]} on; launch the job build_what_is_left"
            )
        if self.pending:
            lines.append(
                f"{self.named()}; backfill the failed buckets to try again, or launch the job finish_release to "
                "publish without these files"
            )
        return lines

    def named(self) -> str:
        """What is pending: how many posts, for which reasons, and the ids of the first."""
        counts = Counter(self.pending.values())
        reasons = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
        more = f" and {len(self.pending) - SHOWN:,} more" if len(self.pending) > SHOWN else ""
        ids = ", ".join(map(str, sorted(self.pending)[:SHOWN]))
        return f"{counted(len(self.pending), 'post is', 'posts are')} pending ({reasons}): {ids}{more}"


def what_is_left(layout: Layout, year: int, *, exclude_tags: frozenset[str]) -> Left:
    """Plan a year as a build would, and name what is pending. Changes nothing."""
    held = held_by_takedown(layout)
    if not layout.posts_by_bucket(year).is_dir():
        return Left(year=year, has_posts=False, pending={}, held=held)
    buckets = plan_year(layout, year, exclude_tags=exclude_tags).buckets
    pending = {id_: reason for each in buckets if each.pending for id_, reason in _pending(layout, each).items()}
    return Left(
        year=year,
        has_posts=True,
        with_work=tuple(each.bucket for each in buckets if each.has_work),
        untouched=tuple(each.bucket for each in buckets if each.is_untouched),
        pending=pending,
        held=held,
    )


def _pending(layout: Layout, bucket: BucketCounts) -> dict[int, str]:
    rows = read_ledger(layout.ledger(bucket.bucket))
    return {id_: str(row.reason) for id_, row in rows.items() if row.status is Status.PENDING}


def lateness(layout: Layout, year: int, *, now: datetime) -> list[str]:
    """What is late: a release after the end of February, and following that stands still."""
    lines = []
    if now >= datetime(year + 1, 3, 1, tzinfo=UTC):
        lines.append(f"{release_name(year)} is late: it was due by {year + 1}-03-01")
    followed = follow_status(layout)
    if followed is not None and followed.is_late(now):
        lines.append(f"{followed.line()}; launch the job follow_site, or start the schedule nightly_follow")
    return lines

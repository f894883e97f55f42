"""Where the releases of a root stand, read from what is on disk. Touches nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.layout import BUCKETS, Layout
from danbooru_pipeline.outcomes import Status
from danbooru_pipeline.posts import read_posts
from danbooru_pipeline.posts.report import find_posts_report
from danbooru_pipeline.release import Release, published, read_release, read_summary
from danbooru_pipeline.store.ledger import read_ledger
from danbooru_pipeline.store.plan import list_files, plan_bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class YearStatus:
    """How far one release is.

    Attributes:
        posts: rows of its metadata; None before the sweep is done.
        originals: posts by the status of their original; ``todo`` for those that no run has reached.
        reasons: originals by reason.
        buckets_with_work: buckets that a build would still work on.
        version: of the published release, None without one.
    """

    year: int
    posts: int | None
    last_id: int | None
    originals: Mapping[str, int]
    reasons: Mapping[str, int]
    buckets_with_work: int
    version: str | None
    path: str | None
    is_current: bool

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.version is not None and not self.buckets_with_work


def known_years(layout: Layout) -> list[int]:
    """Years that anything was done for."""
    return sorted({*layout.metadata_years, *published(layout)})


@dataclass(slots=True)
class _Count:
    """Posts by status and reason, and buckets with work."""

    originals: Counter[str]
    reasons: Counter[str]
    buckets_with_work: int = 0


def year_status(layout: Layout, year: int, *, exclude_tags: frozenset[str] = frozenset()) -> YearStatus:
    """Compare a release's posts with ledgers and files; one that a later release builds on, with its manifest."""
    count = _frozen(layout, year) if is_closed(layout, year) else _living(layout, year, exclude_tags)
    report = find_posts_report(layout, year)
    release = _released(layout, year)
    return YearStatus(
        year=year,
        posts=pq.read_metadata(layout.posts(year)).num_rows if layout.posts(year).exists() else None,
        last_id=report.max_id if report else None,
        originals={name: number for name, number in sorted(count.originals.items()) if number},
        reasons=dict(count.reasons.most_common()),
        buckets_with_work=count.buckets_with_work,
        version=release.version if release else None,
        path=str(layout.release(year)) if release else None,
        is_current=layout.current.is_symlink() and layout.current.readlink().name == layout.release(year).name,
    )


def is_closed(layout: Layout, year: int) -> bool:
    """Whether a release is published and a later one was made from the same store since."""
    releases = published(layout)
    return year in releases and max(releases) > year


def _frozen(layout: Layout, year: int) -> _Count:
    summary = read_summary(layout, year)
    return _Count(Counter(summary.statuses), Counter(summary.reasons["original"]))


def _living(layout: Layout, year: int, exclude_tags: frozenset[str]) -> _Count:
    count = _Count(Counter(), Counter())
    for bucket in BUCKETS:
        path = layout.posts_bucket(year, bucket)
        if not path.exists():
            continue
        posts = read_posts(path, refreshed=layout.refreshed(year, bucket))
        ledger = read_ledger(layout.ledger(bucket))
        files = list_files(layout.original_bucket(bucket))
        plan = plan_bucket(posts, ledger, files, exclude_tags=exclude_tags, release=year)
        ids = {post.id for post in posts}
        known = [ledger[post.id] for post in plan.fetch if post.id in ledger]
        waiting = [row for row in known if row.status is Status.PENDING]
        rows = [*(row for row in plan.keep if row.id in ids), *waiting]
        count.originals["todo"] += len(ids) - len(rows)
        count.originals.update(str(row.status) for row in rows)
        count.reasons.update(str(row.reason) for row in rows if row.reason is not None)
        count.buckets_with_work += plan.changes_ledger
    return count


def status_lines(layout: Layout, years: Sequence[YearStatus]) -> list[str]:
    """The state of releases for people."""
    if not years:
        return [f"nothing was built in {layout.root} yet; run danbooru-pipeline build YEAR"]
    lines = []
    for status in years:
        if status.posts is None:
            lines.append(f"{status.year}: no posts yet; run danbooru-pipeline build {status.year}")
            continue
        counts = ", ".join(f"{name} {count:,}" for name, count in status.originals.items())
        lines.append(f"{status.year}: {status.posts:,} posts up to id {status.last_id:,}: {counts or 'none'}")
        if status.reasons:
            lines.append("  " + ", ".join(f"{name} {count:,}" for name, count in status.reasons.items()))
        if status.buckets_with_work:
            lines.append(
                f"  {status.buckets_with_work:,} buckets have work left; run danbooru-pipeline build {status.year}"
            )
        current = ", current" if status.is_current else ""
        lines.append(
            f"  released as {status.version} in {status.path}{current}" if status.version else "  not released"
        )
    return lines


def _released(layout: Layout, year: int) -> Release | None:
    """The published release of a year; None when there is none that can be read."""
    try:
        return read_release(layout.release(year))
    except ReleaseError:
        return None

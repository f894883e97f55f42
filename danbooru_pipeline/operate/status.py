"""How far the releases of a root are, read from what is on disk. Touches nothing."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.io.damage import damage_named
from danbooru_pipeline.io.parquet import row_count
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.report import find_posts_report
from danbooru_pipeline.posts.takedowns import held_by_takedown, unfinished_takedowns
from danbooru_pipeline.progress import counted
from danbooru_pipeline.release import Release, published, read_release, read_summary
from danbooru_pipeline.release.pointer import followed
from danbooru_pipeline.store.planning import plan_year


@dataclass(frozen=True, slots=True, kw_only=True)
class YearStatus:
    """How far one release is.

    Attributes:
        posts: rows of its metadata; None before the sweep is done.
        originals: posts by the status of their original; ``todo`` for those that no build has reached.
        reasons: originals by reason.
        buckets_with_work: buckets that a build would still work on.
        version: of the published release; None without one.
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


def known_years(layout: Layout) -> list[int]:
    """Years with metadata or a release."""
    return sorted({*layout.metadata_years, *published(layout)})


@dataclass(slots=True)
class _Count:
    """Posts by status and reason, and buckets with work."""

    originals: Counter[str]
    reasons: Counter[str]
    buckets_with_work: int = 0


def year_status(layout: Layout, year: int, *, exclude_tags: frozenset[str] = frozenset()) -> YearStatus:
    """How far a release is: by its posts, ledgers and files, or by its manifest once a later release builds on it."""
    count = _frozen(layout, year) if is_closed(layout, year) else _living(layout, year, exclude_tags)
    report = find_posts_report(layout, year)
    release = _released(layout, year)
    return YearStatus(
        year=year,
        posts=_rows(layout.posts(year)),
        last_id=report.max_id if report else None,
        originals={name: number for name, number in sorted(count.originals.items()) if number},
        reasons=dict(count.reasons.most_common()),
        buckets_with_work=count.buckets_with_work,
        version=release.version if release else None,
        path=str(layout.release(year)) if release else None,
        is_current=os.path.lexists(layout.current) and followed(layout.current).name == layout.release(year).name,
    )


def _rows(path: Path) -> int | None:
    with damage_named(path):
        return row_count(path) if path.exists() else None


def is_closed(layout: Layout, year: int) -> bool:
    """Whether a release is published, and a later one was made from the same store since."""
    releases = published(layout)
    return year in releases and max(releases) > year


def _frozen(layout: Layout, year: int) -> _Count:
    summary = read_summary(layout, year)
    return _Count(Counter(summary.statuses), Counter(summary.reasons["original"]))


def _living(layout: Layout, year: int, exclude_tags: frozenset[str]) -> _Count:
    count = _Count(Counter(), Counter())
    for bucket in plan_year(layout, year, exclude_tags=exclude_tags).buckets:
        if not bucket.posts:
            continue
        count.originals["todo"] += bucket.posts - sum(bucket.statuses.values())
        count.originals.update(bucket.statuses)
        count.reasons.update(bucket.reasons)
        count.buckets_with_work += bucket.has_work
    return count


def status_lines(layout: Layout, years: Sequence[YearStatus]) -> list[str]:
    """The state of releases for people. What holds them all up comes first, and nobody is told to build then."""
    held = held_by_takedown(layout)
    lines = unfinished_takedowns(layout)
    if not years:
        return [*lines, f"nothing is built in {layout.root} yet{'' if held else '; run danbooru-pipeline build YEAR'}"]
    for status in years:
        to_do = "" if held else f"; run danbooru-pipeline build {status.year}"
        if status.posts is None:
            lines.append(f"{status.year}: no posts yet{to_do}")
            continue
        counts = ", ".join(f"{name} {count:,}" for name, count in status.originals.items())
        # A sweep that was killed just before its end has left the posts without their report.
        up_to = "" if status.last_id is None else f" up to id {status.last_id:,}"
        lines.append(f"{status.year}: {counted(status.posts, 'post')}{up_to}: {counts or 'none'}")
        if status.reasons:
            lines.append("  " + ", ".join(f"{name} {count:,}" for name, count in status.reasons.items()))
        if status.buckets_with_work:
            lines.append(f"  {counted(status.buckets_with_work, 'bucket has', 'buckets have')} work left{to_do}")
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

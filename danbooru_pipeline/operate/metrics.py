"""Numbers that an operator alarms on, in the text format of Prometheus. Reads the root; asks nobody, changes nothing.

A timer writes them for node_exporter's textfile collector. What is unknown is left out.
"""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from danbooru_pipeline.fetch.rate_limiter import read_pace
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.follow import follow_status
from danbooru_pipeline.operate.preflight import nearest_folder
from danbooru_pipeline.operate.status import known_years, year_status
from danbooru_pipeline.outcomes import REASONS, Reason, Status
from danbooru_pipeline.posts.takedowns import by_place, read_takedowns
from danbooru_pipeline.release import published, read_release

PREFIX: Final = "danbooru_pipeline_"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()

    def line(self) -> str:
        """A line of the format."""
        labels = ",".join(f'{name}="{_escape(value)}"' for name, value in self.labels)
        return f"{PREFIX}{self.name}{f'{{{labels}}}' if labels else ''} {self.value:.15g}"


#: What each metric means; all are gauges.
METRICS: Final = {
    "disk_free_bytes": "free space of the disk of DANBOORU_ROOT",
    "disk_least_bytes": "DANBOORU_MIN_FREE_BYTES, below which runs stop",
    "host_rate": "requests a second that a host may get at present",
    "host_throttled_timestamp_seconds": "when a host last answered 429, or 503 with Retry-After",
    "host_paused_until_timestamp_seconds": "no request goes to the host before that",
    "posts": "posts of the newest year with metadata, by the status of their original",
    "pending_posts": "posts of that year whose file could not be had for a transient reason",
    "release_created_timestamp_seconds": "when the newest release was made",
    "release_year": "the newest release",
    "quarantined_files": "damaged files that scrubs and builds have set aside",
    "takedown_unfinished": "1 if a takedown is not finished, here or in a published copy",
    "takedown_copies": "published copies of a place that may still have posts that were taken down",
    "follow_late": "1 if following stands still",
    "written_timestamp_seconds": "when these numbers were gathered",
}


def metric_lines(samples: Iterable[Sample]) -> list[str]:
    """The text: each metric with its meaning and its values."""
    found = list(samples)
    lines = []
    for name, meaning in METRICS.items():
        values = [sample.line() for sample in found if sample.name == name]
        if values:
            lines += [f"# HELP {PREFIX}{name} {meaning}.", f"# TYPE {PREFIX}{name} gauge", *values]
    return lines


def gather_metrics(
    layout: Layout, *, now: datetime, min_free_bytes: int, exclude_tags: frozenset[str]
) -> Iterator[Sample]:
    """All samples that can be had."""
    yield Sample("written_timestamp_seconds", now.timestamp())
    yield Sample("disk_free_bytes", shutil.disk_usage(nearest_folder(layout.root)).free)
    yield Sample("disk_least_bytes", min_free_bytes)
    for host, rate in read_pace(layout.pace).items():
        label = (("host", host),)
        yield Sample("host_rate", rate.rate, label)
        if rate.refused_at:
            yield Sample("host_throttled_timestamp_seconds", rate.refused_at, label)
        if rate.paused_until:
            yield Sample("host_paused_until_timestamp_seconds", rate.paused_until, label)
    yield from _of_year(layout, exclude_tags)
    yield from _of_release(layout)
    takedowns = read_takedowns(layout)
    yield Sample("takedown_unfinished", takedowns.unfinished or bool(takedowns.copies))
    for name, releases in by_place(takedowns.copies).items():
        yield Sample("takedown_copies", len(releases), (("place", name),))
    if layout.quarantine.is_dir():
        yield Sample("quarantined_files", sum(path.is_file() for path in layout.quarantine.rglob("*")))
    followed = follow_status(layout)
    if followed is not None:
        yield Sample("follow_late", followed.is_late(now))


def _of_year(layout: Layout, exclude_tags: frozenset[str]) -> Iterator[Sample]:
    years = known_years(layout)
    if not years:
        return
    status = year_status(layout, years[-1], exclude_tags=exclude_tags)
    year = ("year", str(status.year))
    for name, count in status.originals.items():
        yield Sample("posts", count, (year, ("status", name)))
    for reason in Reason:
        if REASONS[reason][0] is Status.PENDING:
            yield Sample("pending_posts", status.reasons.get(reason, 0), (year, ("reason", str(reason))))


def _of_release(layout: Layout) -> Iterator[Sample]:
    releases = published(layout)
    if releases:
        newest = max(releases)
        yield Sample("release_year", newest)
        created = datetime.fromisoformat(read_release(releases[newest]).created_at)
        yield Sample("release_created_timestamp_seconds", created.timestamp())


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

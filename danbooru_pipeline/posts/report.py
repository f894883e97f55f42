"""What a read of posts saw, and whether it reaches the end of the release's year."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.drift import Columns
from danbooru_pipeline.years import cutoff

#: Longest time between the newest post and the cutoff: some uploads' worth, within these bounds.
MIN_GAP: Final = timedelta(days=3)
MAX_GAP: Final = timedelta(days=31)
UPLOADS_OF_GAP: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What a read of posts saw.

    Attributes:
        sha256: digest of the rows alone, so that an unchanged source gives an unchanged digest.
        requests: pages asked for in this run.
        drifted: how many rows hold columns that the schema does not know.
        min_created_at, max_created_at: of the posts up to the cutoff.
        beyond: how many posts were created after the cutoff, as far as the read went on.
        announced: how many rows the source says there are; None when it does not say.
        modified: when the source's table was last written; None when it does not say.
        as_of: the instant that the rows are of, where the source can go back in time.
        columns: which columns had values.
    """

    name: str
    taken_at: datetime
    rows: int
    rejected: int
    max_id: int
    min_created_at: datetime | None = None
    max_created_at: datetime | None
    beyond: int = 0
    announced: int | None = None
    modified: datetime | None = None
    as_of: datetime | None = None
    sha256: str
    requests: int
    drifted: int
    columns: Columns = field(default_factory=Columns)


@dataclass(frozen=True, slots=True)
class Freshness:
    """Whether posts reach the end of their year; `why` says what to do when they do not."""

    fresh: bool
    why: str


def judge_freshness(report: SweepReport, year: int) -> Freshness:
    """Compare posts with the cutoff of a release.

    A post after the cutoff proves that a source reaches it. Without one, the newest must be close by (by how densely
    posts come), and the table must have been written after the year.
    """
    limit = cutoff(year)
    until = f"Danbooru{year} goes up to {limit:%Y-%m-%d %H:%M} UTC"
    if report.max_created_at is None:
        return Freshness(
            fresh=False, why=f"the {report.name} source has no posts with an id and a time; {_way_out(report.name)}"
        )
    newest = report.max_created_at.astimezone(UTC)
    seen = f"the newest post of the {report.name} source up to then is {report.max_id:,} of {newest:%Y-%m-%d %H:%M}"
    if report.beyond:
        return Freshness(fresh=True, why=f"{until}; {seen}, and there are posts after the cutoff")
    written = f", and was written {report.modified:%Y-%m-%d}" if report.modified else ""
    old_table = report.modified is not None and report.modified.astimezone(UTC) < limit
    if not old_table and limit - newest <= allowed_gap(report):
        return Freshness(fresh=True, why=f"{until}; {seen}, as close as posts come{written}")
    return Freshness(
        fresh=False,
        why=f"the posts of the {report.name} source are stale: the newest is of {newest:%Y-%m-%d %H:%M} UTC{written}, "
        f"and {until}; {_way_out(report.name)}",
    )


def _way_out(name: str) -> str:
    if name == "api":
        return "check that DANBOORU_API_URL is the live site, then build `posts` again"
    return (
        f"take posts from the API (DANBOORU_POSTS_SOURCE=api, and DANBOORU_TABLES_SOURCE={name} for the tables), or "
        f"get a newer {name}"
    )


def allowed_gap(report: SweepReport) -> timedelta:
    """Longest time before the cutoff without a post that is believed: by how densely they come."""
    if report.min_created_at is None or report.max_created_at is None:
        return MIN_GAP
    spacing = (report.max_created_at - report.min_created_at) / max(1, report.rows)
    return min(MAX_GAP, max(MIN_GAP, UPLOADS_OF_GAP * spacing))


class _File(msgspec.Struct):
    source: SweepReport


def read_report(layout: Layout, year: int) -> SweepReport | None:
    """The report of a year's posts; None when there is none that can be read."""
    try:
        return msgspec.json.decode(layout.posts_report(year).read_bytes(), type=_File).source
    except (OSError, msgspec.MsgspecError):
        return None

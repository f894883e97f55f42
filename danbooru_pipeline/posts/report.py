"""``metadata/YEAR/posts.json``: what a read of posts saw, and whether it reaches the end of the release's year.

The file is read and written here and nowhere else. A rewrite changes what it must and keeps every other key, those of
other versions of this project too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.io.formats import require_known_json
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.drift import Columns
from danbooru_pipeline.years import cutoff

#: The longest gap between the newest post and the cutoff: so many mean gaps between posts, within these bounds.
MIN_GAP: Final = timedelta(days=3)
MAX_GAP: Final = timedelta(days=31)
UPLOADS_OF_GAP: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What a read of posts saw.

    Attributes:
        name: of the source.
        taken_at: when reading it began; what happened later may not be in it.
        rows: posts up to the cutoff.
        rejected: records that cannot be placed in a release.
        max_id: the highest id up to the cutoff.
        min_created_at, max_created_at: of the posts up to the cutoff.
        beyond: how many posts were created after the cutoff, as far as the read went on.
        read_up_to, newest_id: the last id that a sweep read, and about the newest of the source; None for whole tables.
        read_to_the_end: whether nothing followed what was read, so nothing of the year can be missing behind it; else
            ids above `read_up_to` were not read, since `beyond` posts in a row were created after the cutoff.
        announced: how many rows the source says it has, up to `read_up_to` in a sweep; None when it does not say.
        read: how many it gave, rejected ones and those after the cutoff included.
        modified: when the source's table was last written; None when it does not say.
        as_of: the instant that the rows are of, where the source can go back in time.
        sha256: digest of the rows alone, so an unchanged source gives an unchanged digest.
        requests: pages asked for in this run.
        drifted: how many rows have columns that the schema does not know.
        columns: which columns had values.
        first_beyond: the lowest id of a post that was created after the cutoff, where a post up to the cutoff has a
            higher one; else not written, as by earlier versions.
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
    read: int | None = None
    read_up_to: int | None = None
    newest_id: int | None = None
    read_to_the_end: bool = True
    first_beyond: int | UnsetType = UNSET

    @property
    def shows_until(self) -> datetime | None:
        """Rows show what happened up to this moment; a copy was written after its newest post, and read later."""
        return self.taken_at if self.name == "api" else self.max_created_at

    @property
    def says_banned(self) -> bool:
        """Whether rows of the source say if their posts are banned; a report without columns counts as if they did."""
        return not self.columns.filled or "is_banned" in self.columns.filled


@dataclass(frozen=True, slots=True)
class PostsReport:
    """The file as it is on disk, whatever version wrote it.

    Attributes:
        content: the whole JSON object, its keys in their order.
    """

    content: Mapping[str, Any]

    @property
    def source(self) -> dict[str, Any]:
        """What ``sources`` in RELEASE.json says about the posts: all keys of the read's report, as they are."""
        return dict(self.content["source"])

    @property
    def sha256(self) -> str:
        """Digest of the posts; empty when the file has none."""
        return str(self.source.get("sha256", ""))

    @property
    def rejected(self) -> int:
        """Records that cannot be placed in a release."""
        return int(self.source.get("rejected", 0))

    @property
    def max_id(self) -> int | None:
        """The highest id up to the cutoff; None when the file does not say."""
        value = self.source.get("max_id")
        return value if isinstance(value, int) else None

    @property
    def all_up_to(self) -> int:
        """All posts up to this id that were read were created up to the cutoff: the next year begins behind it."""
        first = self.source.get("first_beyond")
        return min(self.max_id or 0, first - 1) if isinstance(first, int) else self.max_id or 0

    @property
    def sweep(self) -> SweepReport | None:
        """The report of the read; None when a version wrote it that knew less than this one needs."""
        try:
            return msgspec.convert(self.source, SweepReport)
        except msgspec.ValidationError:
            return None

    def with_rows(self, *, sha256: str, rows: int | None = None) -> "PostsReport":
        """The same report about other rows: their digest, and their number if that changed."""
        changed = {"sha256": sha256} if rows is None else {"rows": rows, "sha256": sha256}
        return PostsReport({**self.content, "source": self.source | changed})


def load_posts_report(layout: Layout, year: int) -> PostsReport:
    """Read the report of a year's posts.

    Raises:
        FileNotFoundError: there is none.
        OSError, ValueError: it cannot be read, or has no object `source`.
    """
    content = msgspec.json.decode(layout.posts_report(year).read_bytes())
    require_known_json(layout.posts_report(year), content)
    if not isinstance(content, dict) or not isinstance(content.get("source"), dict):
        raise ValueError("it has no object named source")
    return PostsReport(content)


def find_posts_report(layout: Layout, year: int) -> PostsReport | None:
    """The report of a year's posts; None when there is none that can be read."""
    try:
        return load_posts_report(layout, year)
    except (OSError, ValueError):
        return None


def read_report(layout: Layout, year: int) -> SweepReport | None:
    """What the read of a year's posts saw; None when no report says it in full."""
    report = find_posts_report(layout, year)
    return None if report is None else report.sweep


def says_banned(layout: Layout, year: int) -> bool:
    """Whether the source of a year's posts says if they are banned; where nobody knows, as if it did."""
    report = read_report(layout, year)
    return report is None or report.says_banned


def write_posts_report(layout: Layout, year: int, report: SweepReport | PostsReport) -> None:
    """Replace the report of a year's posts."""
    content = report.content if isinstance(report, PostsReport) else {"source": report}
    write_atomic(layout.posts_report(year), msgspec.json.format(msgspec.json.encode(content)))


@dataclass(frozen=True, slots=True)
class Freshness:
    """Whether posts reach the end of their year. `why` is for people; if they do not, it ends by saying what to do."""

    fresh: bool
    why: str


def judge_freshness(report: SweepReport, year: int) -> Freshness:
    """Compare posts with the cutoff of a release.

    A post after the cutoff proves that a source reaches it. Without one, the newest post must be close to it (measured
    by how densely posts come), and the table must have been written after the year.
    """
    limit = cutoff(year)
    until = f"Danbooru{year} goes up to {limit:%Y-%m-%d %H:%M} UTC"
    if report.max_created_at is None:
        none = (
            f"all {report.beyond:,} posts of the {report.name} source were created after the cutoff; {until}"
            if report.beyond
            else _none_of(report)
        )
        return Freshness(fresh=False, why=f"{none}; {_way_out(report.name)}")
    newest = report.max_created_at.astimezone(UTC)
    seen = f"the newest post of the {report.name} source up to then is {report.max_id:,} of {newest:%Y-%m-%d %H:%M}"
    if report.beyond:
        left = "" if report.read_to_the_end else f"; ids above {report.read_up_to:,} were not read"
        return Freshness(fresh=True, why=f"{until}; {seen}, and there are posts after the cutoff{left}")
    written = f", and was written {report.modified:%Y-%m-%d}" if report.modified else ""
    old_table = report.modified is not None and report.modified.astimezone(UTC) < limit
    if not old_table and limit - newest <= allowed_gap(report):
        return Freshness(fresh=True, why=f"{until}; {seen}, as close as posts come{written}")
    return Freshness(
        fresh=False,
        why=f"the posts of the {report.name} source are stale: the newest is of {newest:%Y-%m-%d %H:%M} UTC{written}, "
        f"and {until}; {_way_out(report.name)}",
    )


def _none_of(report: SweepReport) -> str:
    if report.rejected:
        return f"none of the {report.rejected:,} rows of the {report.name} source has an id and a time that can be read"
    return f"the {report.name} source has no posts"


def _way_out(name: str) -> str:
    if name == "api":
        return "check that DANBOORU_API_URL is the live site, then build `posts` again"
    return (
        f"take posts from the API (DANBOORU_POSTS_SOURCE=api, and DANBOORU_TABLES_SOURCE={name} for the tables), or "
        f"get a newer {name}"
    )


def allowed_gap(report: SweepReport) -> timedelta:
    """The longest gap before the cutoff that proves nothing missing, by how densely posts come."""
    if report.min_created_at is None or report.max_created_at is None:
        return MIN_GAP
    spacing = (report.max_created_at - report.min_created_at) / max(1, report.rows)
    return min(MAX_GAP, max(MIN_GAP, UPLOADS_OF_GAP * spacing))

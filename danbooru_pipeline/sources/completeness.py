"""Whether posts and side tables are whole: what is missing, and what to do about it.

They are held against last year, and posts against the source's own count and the rows that could not be placed. A
source that loses posts or tables looks like one whose posts were expunged; only last year tells them apart. What is
missing for a good reason is accepted by a setting, with the reason, which becomes a part of RELEASE.json.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.errors import ReleaseRefused, SourceUnusable
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.record import UNSTORABLE
from danbooru_pipeline.posts.report import SweepReport, read_report
from danbooru_pipeline.posts.table_reports import LEFT_OUT, TableReport, load_table_reports, read_table_reports
from danbooru_pipeline.posts.takedowns import read_takedowns
from danbooru_pipeline.sources.sweep import last_sweep_before
from danbooru_pipeline.sources.untaken_count import count_posts_untaken, kept_count

#: The site expunges a few posts of ten thousand in a year. More than a tenth is a fault however few posts there are.
MAX_SHARE_LOST: Final = 0.01
MAX_SHARE_LOST_OF_FEW: Final = 0.1
#: So few that a share of them says nothing.
FEW: Final = 100
#: Posts may be restored between a page and the count, days later. Of fewer than 10,000 posts none may lack.
MAX_SHARE_UNREAD: Final = 0.0001
#: A source hides some posts in a hundred, and a few more from one year to the next.
MAX_SHARE_HIDDEN: Final = 0.1
#: A side table may lose half of its rows, a small one all but these; of few posts half may lose their MD5.
MAX_SHARE_OF_ROWS_LOST: Final = 0.5
FEW_ROWS: Final = 10
_SHOWN: Final = 5
POSTS: Final = "posts"
_WAY_OUT: Final = "check the account, DANBOORU_API_URL and the source, then build `posts` again"


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that is missing.

    Attributes:
        name: ``posts`` or the name of a side table, as `DANBOORU_ACCEPT_INCOMPLETE` names it.
        what: is missing, for people.
        way_out: what to do about it.
    """

    name: str
    what: str
    way_out: str

    @property
    def line(self) -> str:
        """What is missing and what to do, how to accept it included."""
        accept = f'DANBOORU_ACCEPT_INCOMPLETE="{self.name}: why"'
        return f"{self.what}; {self.way_out}. If that is as it should be, set {accept}"


def find_gaps(layout: Layout, year: int, *, exclude_tags: frozenset[str] = frozenset()) -> list[Gap]:
    """All that is missing from the posts and side tables of a year."""
    of_posts = (*count_gaps(layout, year), *posts_gaps(layout, year), *untaken_gaps(layout, year, exclude_tags))
    return [*of_posts, *table_gaps(layout, year)]


def accepted_gaps(
    layout: Layout, year: int, accepted: Mapping[str, str], *, exclude_tags: frozenset[str] = frozenset()
) -> dict[str, str]:
    """Name -> what is missing and why that is accepted, for RELEASE.json.

    Args:
        layout: of the root.
        year: of the release.
        accepted: name -> why it may be missing.
        exclude_tags: tags whose posts get no file.

    Raises:
        SourceUnusable: something is missing that is not accepted.
        ReleaseRefused: the side tables did not come.
    """
    left_out = require_side_tables(layout, year)
    gaps = find_gaps(layout, year, exclude_tags=exclude_tags)
    for gap in gaps:
        if gap.name not in accepted:
            raise SourceUnusable(gap.line)
    missing: dict[str, list[str]] = {}
    for gap in gaps:
        missing.setdefault(gap.name, []).append(gap.what)
    return left_out | {name: f"{accepted[name]} ({'; '.join(what)})" for name, what in missing.items()}


def count_gaps(layout: Layout, year: int) -> list[Gap]:
    """Posts that the source counts and that its pages did not give, or gave in rows that cannot be placed."""
    report = read_report(layout, year)
    if report is None:
        return []
    return [*_unread_gaps(report), *_rejected_gaps(report, layout.rejected(year))]


def _unread_gaps(report: SweepReport) -> list[Gap]:
    if report.announced is None or report.read is None:
        return []
    unread = report.announced - report.read
    if unread <= MAX_SHARE_UNREAD * report.announced:
        return []
    up_to = "" if report.read_up_to is None else f" up to id {report.read_up_to:,}"
    what = (
        f"the {report.name} source counts {report.announced:,} posts{up_to} and gave {report.read:,}, so {unread:,} "
        "are missing"
    )
    return [Gap(POSTS, what, _WAY_OUT)]


class _Rejected(msgspec.Struct):
    """A line of ``rejected.jsonl``."""

    reason: str
    record: dict[str, Any]

    @property
    def is_hidden(self) -> bool:
        """Whether it is a post as the dialect of 2021 writes one whose file is hidden: without id and MD5."""
        return "id" not in self.record and not self.record.get("md5")


def _rejected_gaps(report: SweepReport, path: Path) -> list[Gap]:
    """Rows that cannot be placed, if they are too many; hidden posts of 2021, which cannot either, are more."""
    if not report.rejected or not path.is_file():
        return []
    decode = msgspec.json.Decoder(_Rejected).decode
    why: Counter[str] = Counter()
    hidden = 0
    with path.open("rb") as lines:
        for row in map(decode, lines):
            hidden += row.is_hidden
            why[row.reason] += 1
    of = report.rows + report.rejected + report.beyond
    others = report.rejected - hidden  # a line that came twice is kept once
    if not _are_too_many(others, of) and not (hidden > FEW and hidden > MAX_SHARE_HIDDEN * of):
        return []
    reasons = ", ".join(f"{reason}: {count:,}" for reason, count in why.most_common(_SHOWN))
    what = (
        f"{report.rejected:,} of the {of:,} rows of the {report.name} source ({report.rejected / of:.1%}) cannot be "
        f"placed in a release ({reasons}; {path} has them)"
    )
    return [Gap(POSTS, what, "get a source whose rows have an id and a time with its offset, then build `posts` again")]


def _are_too_many(lost: int, of: int) -> bool:
    """Whether so many of some posts are a fault of the source."""
    return lost > (MAX_SHARE_LOST if lost > FEW else MAX_SHARE_LOST_OF_FEW) * max(1, of)


def require_side_tables(layout: Layout, year: int) -> dict[str, str]:
    """Refuse a release whose side tables did not come, or are not what came, unless that was decided.

    Returns the decision for RELEASE.json, if there was one.

    Raises:
        ReleaseRefused: a table is missing, failed or damaged.
    """
    path = layout.side_tables_report(year)
    try:
        reports = load_table_reports(layout, year)
    except FileNotFoundError:
        raise ReleaseRefused(_without(f"the side tables of {year} did not come ({path} is missing)", year)) from None
    except (OSError, ValueError) as error:
        raise ReleaseRefused(_without(f"{path} cannot be read ({error})", year)) from error
    for name, report in reports.items():
        if report.status == "failed":
            raise ReleaseRefused(_without(f"the side table {name} of {year} did not come ({report.problem})", year))
        file = layout.side_table(year, name)
        if report.status == "ok" and not file.is_file():
            raise ReleaseRefused(_without(f"the side table {file} is missing", year))
        if report.status == "ok" and report.sha256 is not None and sha256_of(file) != report.sha256:
            raise ReleaseRefused(
                _without(f"the side table {file} is damaged (its bytes are not those that came)", year)
            )
    return {"side_tables": "left out (build --without-tables)"} if _all_left_out(reports) else {}


def _all_left_out(reports: Mapping[str, TableReport]) -> bool:
    return any(report.status == LEFT_OUT for report in reports.values())


def _without(what: str, year: int) -> str:
    return (
        f"{what}; run danbooru-pipeline build {year}, which reads them again, or decide to release without "
        f"side tables: danbooru-pipeline build {year} --without-tables"
    )


def posts_gaps(layout: Layout, year: int) -> list[Gap]:
    """Posts of the newest earlier year that are not there any more, if they are too many to have been expunged."""
    before = last_sweep_before(layout, year)
    if before is None or not layout.posts(before.year).exists() or not layout.posts(year).exists():
        return []
    old, new = (_ids(layout, each) for each in (before.year, year))
    there = np.append(new, sorted(read_takedowns(layout).ids)).astype(np.int64)
    lost = np.setdiff1d(old, there)
    if _are_too_many(len(lost), len(old)):
        what = (
            f"{len(lost):,} of the {len(old):,} posts of {before.year} ({len(lost) / len(old):.1%}) are not among the "
            f"posts of {year}: {_first(lost)}{_cause(layout, before.year, year)}"
        )
        return [Gap(POSTS, what, _WAY_OUT)]
    return _md5_gaps(layout, before.year, year)


def _md5_gaps(layout: Layout, before: int, year: int) -> list[Gap]:
    """Posts that came with an MD5 in the newest earlier year and without one now, if they are too many."""
    old = _ids_with_md5(layout, before)
    lost = np.setdiff1d(np.intersect1d(old, _ids(layout, year)), _ids_with_md5(layout, year))
    if len(lost) <= (MAX_SHARE_HIDDEN if len(lost) > FEW else MAX_SHARE_OF_ROWS_LOST) * len(old):
        return []
    what = (
        f"{len(lost):,} of the {len(old):,} posts of {before} with an MD5 ({len(lost) / len(old):.1%}) come without "
        f"one in {year}: {_first(lost)}"
    )
    return [Gap(POSTS, what, _WAY_OUT)]


def untaken_gaps(layout: Layout, year: int, exclude_tags: frozenset[str]) -> list[Gap]:
    """Posts that get no file since their rows cannot be understood, if they are too many to be damaged ones."""
    if not layout.posts(year).exists():
        return []
    found = kept_count(layout, year, exclude_tags)
    if found is None or _are_too_many(found.posts, found.of):  # a count that is kept has no examples to show
        found = count_posts_untaken(layout, year, exclude_tags)
    if not _are_too_many(found.posts, found.of):
        return []
    report = read_report(layout, year)
    what = (
        f"{found.posts:,} of the {found.of:,} posts of the {report.name if report else 'unknown'} source "
        f"({found.posts / found.of:.1%}) would get no file, since their rows cannot be understood ({found.why})"
    )
    return [Gap(POSTS, what, "get a source that has these columns as the site writes them, then build `posts` again")]


def _first(ids: np.ndarray) -> str:
    return f"ids {', '.join(map(str, ids[:_SHOWN].tolist()))}{' …' if len(ids) > _SHOWN else ''}"


def _ids(layout: Layout, year: int) -> np.ndarray:
    return np.asarray(pq.read_table(layout.posts(year), columns=["id"])["id"].to_numpy())


def _ids_with_md5(layout: Layout, year: int) -> np.ndarray:
    # A batch at a time: the MD5s of all posts are half a gigabyte.
    with pq.ParquetFile(layout.posts(year)) as file:
        batches = file.iter_batches(columns=["id", "md5"])
        return np.concatenate([np.empty(0, np.int64), *(b["id"].filter(b["md5"].is_valid()) for b in batches)])


def _cause(layout: Layout, before: int, year: int) -> str:
    """What the posts that are left have in common, where the lost ones explain it."""
    old, new = (_kinds(layout, each) for each in (before, year))
    if new["ratings"] == {"g"} and old["ratings"] != {"g"}:
        return "; all that are there are rated g, as an account in safe mode sees them"
    if old["deleted"] and not new["deleted"]:
        return "; none that is there is deleted, as an account sees them that hides deleted posts"
    return ""


def _kinds(layout: Layout, year: int) -> dict[str, object]:
    table = pq.read_table(layout.posts(year), columns=["rating", "is_deleted"])
    return {
        "ratings": set(pc.unique(table["rating"]).to_pylist()),
        "deleted": pc.any(table["is_deleted"].cast(pa.bool_())).as_py() or False,
    }


def table_gaps(layout: Layout, year: int) -> list[Gap]:
    """Side tables that are empty, of which too much was rejected, or that lost most rows of the newest earlier year."""
    now = read_table_reports(layout, year)
    if not now or _all_left_out(now):
        return []
    before = _tables_before(layout, year)
    gaps = []
    for name in {**now, **before}:
        what = _lack(name, before.get(name), now.get(name, TableReport("absent")))
        if what:
            way_out = "set DANBOORU_TABLES_SOURCE to a source that has it, then build `side_tables` again"
            gaps.append(Gap(name, what, way_out))
    return gaps


def _tables_before(layout: Layout, year: int) -> dict[str, TableReport]:
    before = last_sweep_before(layout, year)
    return read_table_reports(layout, before.year) if before else {}


def _lack(name: str, before: TableReport | None, now: TableReport) -> str:
    held = before.rows if before is not None and before.status == "ok" else 0
    rows = now.rows if now.status == "ok" else 0
    last = f", and had {held:,} last year" if held else ""
    if _are_too_many(now.rejected, rows + now.rejected):
        return f"{now.rejected:,} of the {rows + now.rejected:,} records of {name} hold {UNSTORABLE}"
    if now.status == "empty":
        return f"the file of {name} is empty{last}"
    if held and now.status == "absent":
        return f"the source has no table {name}{last}"
    if held and not rows:
        return f"{name} has no rows{last}"
    if held - rows > FEW_ROWS and rows < held * (1 - MAX_SHARE_OF_ROWS_LOST):
        return f"{name} has {rows:,} rows{last}"
    return ""

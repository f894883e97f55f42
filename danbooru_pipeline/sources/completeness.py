"""Whether posts and side tables are whole: what is missing, and what to do about it.

They are held against last year and against what the same year had before, and posts against the source's own count and
the rows that could not be placed. A source that loses posts or tables looks like one whose posts were expunged; only
what was there before tells them apart. What is missing for a good reason is accepted by a setting, with the reason,
which becomes a part of RELEASE.json.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
from pyroaring import BitMap64

from danbooru_pipeline.errors import ReleaseRefused, SourceUnusable
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.record import UNSTORABLE
from danbooru_pipeline.posts.report import SweepReport, read_report
from danbooru_pipeline.posts.table_reports import LEFT_OUT, TableReport, load_table_reports, read_table_reports
from danbooru_pipeline.posts.takedowns import read_takedowns
from danbooru_pipeline.sources.earlier import (
    FEW,
    MAX_SHARE_HIDDEN,
    Facts,
    are_too_many,
    earlier_facts,
    earlier_tables,
    find_loss,
    lacks,
    posts_facts,
    rows_of,
    settled_facts,
    settled_tables,
)
from danbooru_pipeline.sources.sweep import last_sweep_before
from danbooru_pipeline.sources.unreadable_count import count_unreadable_rows, kept_count

#: Posts may be restored between a page and the count, days later. Of fewer than 10,000 posts none may lack.
MAX_SHARE_UNREAD: Final = 0.0001
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
    of_posts = (*count_gaps(layout, year), *posts_gaps(layout, year), *unreadable_gaps(layout, year, exclude_tags))
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
    if not are_too_many(others, of) and not (hidden > FEW and hidden > MAX_SHARE_HIDDEN * of):
        return []
    reasons = ", ".join(f"{reason}: {count:,}" for reason, count in why.most_common(_SHOWN))
    what = (
        f"{report.rejected:,} of the {of:,} rows of the {report.name} source ({report.rejected / of:.1%}) cannot be "
        f"placed in a release ({reasons}; {path} has them)"
    )
    return [Gap(POSTS, what, "get a source whose rows have an id and a time with its offset, then build `posts` again")]


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
    """Posts of the newest earlier year, or of this one before, that are gone, if too many to have been expunged."""
    if not layout.posts(year).exists():
        return []
    now, gone = posts_facts(layout, year), read_takedowns(layout).ids
    gaps: list[Gap] = []
    last = last_sweep_before(layout, year)
    if last is not None and layout.posts(last.year).exists():
        before = settled_facts(layout, last.year)
        gaps += _lost(before, now, gone, of=f"of {last.year}", among=f"among the posts of {year}", in_=f"in {year}")
    earlier = earlier_facts(layout, year)
    if earlier is not None:
        gaps += _lost(earlier, now, gone, of=f"that {year} had before", among="there any more", in_="now")
    return gaps


def _lost(before: Facts, now: Facts, gone: Collection[int], *, of: str, among: str, in_: str) -> list[Gap]:
    loss = find_loss(before, now, gone=gone)
    if len(loss.posts):
        what = (
            f"{len(loss.posts):,} of the {len(before.ids):,} posts {of} ({len(loss.posts) / len(before.ids):.1%}) are "
            f"not {among}: {_first(loss.posts)}{_cause(before, now)}"
        )
        return [Gap(POSTS, what, _WAY_OUT)]
    if len(loss.md5s):
        count = len(before.with_md5)
        what = (
            f"{len(loss.md5s):,} of the {count:,} posts {of} with an MD5 ({len(loss.md5s) / count:.1%}) come without "
            f"one {in_}: {_first(loss.md5s)}"
        )
        return [Gap(POSTS, what, _WAY_OUT)]
    return []


def unreadable_gaps(layout: Layout, year: int, exclude_tags: frozenset[str]) -> list[Gap]:
    """Posts that get no file since their rows cannot be understood, if they are too many to be damaged ones."""
    if not layout.posts(year).exists():
        return []
    found = kept_count(layout, year, exclude_tags)
    if found is None or are_too_many(found.posts, found.of):  # a count that is kept has no examples to show
        found = count_unreadable_rows(layout, year, exclude_tags)
    if not are_too_many(found.posts, found.of):
        return []
    report = read_report(layout, year)
    what = (
        f"{found.posts:,} of the {found.of:,} posts of the {report.name if report else 'unknown'} source "
        f"({found.posts / found.of:.1%}) would get no file, since their rows cannot be understood ({found.why})"
    )
    return [Gap(POSTS, what, "get a source that has these columns as the site writes them, then build `posts` again")]


def _first(ids: BitMap64) -> str:
    return f"ids {', '.join(map(str, islice(ids, _SHOWN)))}{' …' if len(ids) > _SHOWN else ''}"


def _cause(before: Facts, now: Facts) -> str:
    """What the posts that are left have in common, where the lost ones explain it."""
    if now.ratings == {"g"} and before.ratings != {"g"}:
        return "; all that are there are rated g, as an account in safe mode sees them"
    if before.any_deleted and not now.any_deleted:
        return "; none that is there is deleted, as an account sees them that hides deleted posts"
    return ""


def table_gaps(layout: Layout, year: int) -> list[Gap]:
    """Side tables that are empty, had too much rejected, or lost most rows of an earlier year or read."""
    now = read_table_reports(layout, year)
    if not now or _all_left_out(now):
        return []
    last, earlier = _tables_before(layout, year), earlier_tables(layout, year)
    gaps = []
    for name in {**now, **last, **earlier}:
        report = now.get(name, TableReport("absent"))
        what = _lack(name, last.get(name), report, "last year") or _lack(name, earlier.get(name), report, "before")
        if what:
            way_out = "set DANBOORU_TABLES_SOURCE to a source that has it, then build `side_tables` again"
            gaps.append(Gap(name, what, way_out))
    return gaps


def _tables_before(layout: Layout, year: int) -> dict[str, TableReport]:
    before = last_sweep_before(layout, year)
    return settled_tables(layout, before.year) if before else {}


def _lack(name: str, before: TableReport | None, now: TableReport, when: str) -> str:
    held, rows = rows_of(before), rows_of(now)
    had = f", and had {held:,} {when}" if held else ""
    if are_too_many(now.rejected, rows + now.rejected):
        return f"{now.rejected:,} of the {rows + now.rejected:,} records of {name} hold {UNSTORABLE}"
    if now.status == "empty":
        return f"the file of {name} is empty{had}"
    if not lacks(before, now):
        return ""
    if now.status == "absent":
        return f"the source has no table {name}{had}"
    return f"{name} has {rows:,} rows{had}" if rows else f"{name} has no rows{had}"

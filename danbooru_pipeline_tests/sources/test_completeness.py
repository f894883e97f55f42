"""What is missing against last year: found, named with its cause and its way out, and accepted with a reason only."""

from datetime import UTC, datetime
from typing import Any

import pytest

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.table_reports import TableReport, write_table_reports
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import bring_posts, sweep_posts
from danbooru_pipeline.sources.completeness import accepted_gaps, count_gaps, find_gaps, posts_gaps, table_gaps
from danbooru_pipeline.sources.files import DumpSource
from danbooru_pipeline_tests.support.dumps import line_of_2021, write_files
from danbooru_pipeline_tests.support.sites import SOON, Paged, Record, record_of

LATER = "2022-03-01T00:00:00Z"


def sweep(layout: Layout, year: int, records: list[Record]) -> None:
    """Sweep the posts of a year."""
    sweep_posts(Paged(records, size=500), layout, year, now=datetime.now(UTC), progress=lambda _line: None)


def years(layout: Layout, kept: Any, *, count: int = 40, **more: Any) -> None:
    """2021 with posts of all ratings, and 2022 with those of them that are kept and one more."""
    records = [record_of(i, rating="gsqe"[i % 4], is_deleted=i % 20 == 0) | more for i in range(1, count + 1)]
    sweep(layout, 2021, records)
    new = record_of(count + 1, created_at="2022-05-01T00:00:00Z", rating="g")
    sweep(layout, 2022, [record for record in records if kept(record)] + [new])


def test_safe_mode_account(layout: Layout) -> None:
    """An account in safe mode loses three quarters of last year's posts: the gap says so, and what to do."""
    years(layout, lambda record: record["rating"] == "g")
    (gap,) = posts_gaps(layout, 2022)
    assert gap.what.startswith(
        "30 of the 40 posts of 2021 (75.0%) are not among the posts of 2022: ids 1, 2, 3, 5, 6 …"
    )
    assert "safe mode" in gap.what
    assert 'DANBOORU_ACCEPT_INCOMPLETE="posts: why"' in gap.line
    assert "\n" not in gap.line


def test_account_that_hides_deleted_posts(layout: Layout) -> None:
    """An account that does not see deleted posts loses a few per cent of many posts, which is too many as well."""
    years(layout, lambda record: not record["is_deleted"], count=4000)
    (gap,) = posts_gaps(layout, 2022)
    assert gap.what.startswith("200 of the 4,000 posts")
    assert "hides deleted posts" in gap.what


@pytest.mark.parametrize(("count", "lost"), [(40, 3), (2000, 60), (20_000, 150)])
def test_expunged_posts_are_no_gap(layout: Layout, count: int, lost: int) -> None:
    """Some posts are expunged each year."""
    years(layout, lambda record: record["id"] > lost, count=count)
    assert posts_gaps(layout, 2022) == []


@pytest.mark.parametrize(("count", "lost", "found"), [(40, 0, 0), (40, 1, 1), (9000, 1, 1), (20_000, 2, 0), (9, -1, 0)])
def test_fewer_posts_than_the_source_counts(layout: Layout, count: int, lost: int, found: int) -> None:
    """Pages that gave fewer posts than the source counts are a gap in the first year too; more of them are none."""
    records = [record_of(i, created_at=LATER if i % 9 == 0 else SOON) for i in range(1, count + 1)]
    source = Paged(records, size=500, lost=lost)
    sweep_posts(source, layout, 2021, now=datetime.now(UTC), progress=lambda _line: None)
    gaps = find_gaps(layout, 2021)
    assert gaps == count_gaps(layout, 2021)
    assert len(gaps) == found
    for gap in gaps:
        assert f"counts {count + lost:,} posts up to id {count:,} and gave {count:,}, so {lost} are missing" in gap.what
        assert 'DANBOORU_ACCEPT_INCOMPLETE="posts: why"' in gap.line


@pytest.mark.parametrize(
    ("count", "rejected", "odd", "found"),
    [
        (40, 4, {"created_at": "2022-05-01 20:00:00"}, 0),
        (40, 5, {"created_at": "2022-05-01 20:00:00"}, 1),
        (400, 101, {"id": "x"}, 1),
        (20_000, 150, {"id": "x"}, 0),
        (4000, 300, {"id": ..., "md5": ...}, 0),
        (1000, 500, {"id": ..., "md5": ...}, 1),
        (4000, 300, {"id": ...}, 1),
    ],
)
def test_rows_that_cannot_be_placed(layout: Layout, count: int, rejected: int, odd: Record, found: int) -> None:
    """Rows without a usable id or time are a gap if they are many, and say why; hidden posts of 2021 had no id."""
    rows = [line_of_2021(i) for i in range(1, count + 1)]
    spoilt = {name: None if value is ... else value for name, value in odd.items()}
    rows[1 : rejected + 1] = [line_of_2021(i, **{"score": str(i)} | spoilt) for i in range(2, rejected + 2)]
    folder = write_files(layout.root / "dump", {"posts.json": b"".join(rows)})
    bring_posts(
        DumpSource(str(folder), user_agent="tests"), layout, 2021, now=datetime.now(UTC), progress=lambda _line: None
    )
    gaps = count_gaps(layout, 2021)
    assert len(gaps) == found
    for gap in gaps:
        assert f"{rejected:,} of the {count:,} rows of the dump source" in gap.what
        assert f"no usable {next(iter(odd))}: {rejected:,}" in gap.what
        assert 'DANBOORU_ACCEPT_INCOMPLETE="posts: why"' in gap.line


@pytest.mark.parametrize(("count", "hidden", "found"), [(200, 150, 1), (4000, 300, 0), (40, 30, 1), (40, 15, 0)])
def test_posts_that_lost_their_md5(layout: Layout, count: int, hidden: int, found: int) -> None:
    """A second year in which many posts come without the MD5 that they had is a gap; some are hidden each year."""
    records = [record_of(i) for i in range(1, count + 1)]
    sweep(layout, 2021, records)
    new = record_of(count + 1, created_at="2022-05-01T00:00:00Z")
    sweep(layout, 2022, [{**each, "md5": None} if each["id"] <= hidden else each for each in records] + [new])
    gaps = posts_gaps(layout, 2022)
    assert len(gaps) == found
    assert all(f"{hidden:,} of the {count:,} posts of 2021 with an MD5" in gap.line for gap in gaps)


def test_two_gaps_of_posts_are_accepted_by_one_reason(layout: Layout) -> None:
    """What lacks against last year and what lacks against the count are both in RELEASE.json."""
    years(layout, lambda record: record["id"] > 20)
    source = Paged([record_of(i) for i in range(21, 42)], size=50, lost=5)
    sweep_posts(source, layout, 2022, now=datetime.now(UTC), progress=lambda _line: None)
    write_table_reports(layout, 2022, {"tags": TableReport("absent")})
    accepted = accepted_gaps(layout, 2022, {"posts": "the site is smaller"})
    assert accepted["posts"].startswith("the site is smaller (the paged source counts 26 posts")
    assert "20 of the 40 posts of 2021" in accepted["posts"]


def test_first_year_has_no_gap(layout: Layout) -> None:
    """Without an earlier year there is nothing to compare with."""
    sweep(layout, 2021, [record_of(1)])
    assert find_gaps(layout, 2021) == []


@pytest.mark.parametrize(
    ("now", "what"),
    [
        (TableReport("ok", rows=900), ""),
        (TableReport("ok", rows=400), "tags has 400 rows, and had 1,000 last year"),
        (TableReport("ok", rows=0), "tags has no rows, and had 1,000 last year"),
        (TableReport("absent"), "the source has no table tags, and had 1,000 last year"),
        (TableReport("empty"), "the file of tags is empty, and had 1,000 last year"),
    ],
)
def test_side_table_that_shrank(layout: Layout, now: TableReport, what: str) -> None:
    """A side table that lost most of its rows is a gap."""
    sweep(layout, 2021, [record_of(1)])
    write_table_reports(layout, 2021, {"tags": TableReport("ok", rows=1000), "pools": TableReport("absent")})
    write_table_reports(layout, 2022, {"tags": now, "pools": TableReport("absent")})
    assert [gap.what for gap in table_gaps(layout, 2022)] == ([what] if what else [])


def test_gap_is_accepted_with_a_reason_alone(layout: Layout) -> None:
    """A gap stops a release until the setting names it; its reason, and what is missing, go into RELEASE.json."""
    write_table_reports(layout, 2022, {"tags": TableReport("empty"), "notes": TableReport("empty")})
    settings = Settings.from_env({"DANBOORU_ACCEPT_INCOMPLETE": "tags: gone upstream since 2021;"}, offline=True)
    with pytest.raises(SourceUnusable, match="the file of notes is empty"):
        accepted_gaps(layout, 2022, settings.accept_incomplete)
    write_table_reports(layout, 2022, {"tags": TableReport("empty")})
    found = accepted_gaps(layout, 2022, settings.accept_incomplete)
    assert found == {"tags": "gone upstream since 2021 (the file of tags is empty)"}

"""A year that is read again is held against what it had before; what it lost is a gap until it is there again."""

import shutil
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.errors import DamagedFile, SourceUnusable
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.table_reports import TableReport, write_table_reports
from danbooru_pipeline.posts.takedowns import Takedowns, TakenDown, write_takedowns
from danbooru_pipeline.release.takedown.clear import clear_metadata
from danbooru_pipeline.sources import bring_posts, export_side_tables, leave_out_side_tables, sweep_posts
from danbooru_pipeline.sources.completeness import accepted_gaps, posts_gaps, table_gaps
from danbooru_pipeline.sources.files import DumpSource
from danbooru_pipeline_tests.support.dumps import line_of_2021, write_files
from danbooru_pipeline_tests.support.sites import Paged, Record, record_of

NOW = datetime(2022, 1, 20, tzinfo=UTC)
ALL = [record_of(i, rating="gsqe"[i % 4], is_deleted=i % 20 == 0) for i in range(1, 41)]
SAFE = [record for record in ALL if record["rating"] == "g"]


def sweep(layout: Layout, records: list[Record], *, year: int = 2021) -> None:
    """Sweep the posts of a year."""
    sweep_posts(Paged(records, size=500), layout, year, now=NOW, progress=lambda _line: None)


def release(layout: Layout, year: int = 2021) -> None:
    """Publish the posts of a year, as far as a sweep looks at releases."""
    folder = layout.release(year) / "parquet"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(layout.posts(year), folder / "posts-00000-of-00001.parquet")


def test_lost_posts_of_the_same_year_stay_a_gap_until_they_are_back(layout: Layout) -> None:
    """A second sweep by an account in safe mode is a gap, and so is a third; a sweep that has all again ends it."""
    sweep(layout, ALL)
    assert posts_gaps(layout, 2021) == []
    for _ in range(2):
        sweep(layout, SAFE)
        (gap,) = posts_gaps(layout, 2021)
        what = "30 of the 40 posts that 2021 had before (75.0%) are not there any more: ids 1, 2, 3, 5, 6 …"
        assert gap.what.startswith(what)
        assert "safe mode" in gap.what
        assert 'DANBOORU_ACCEPT_INCOMPLETE="posts: why"' in gap.line
        assert "\n" not in gap.line
    sweep(layout, ALL)
    assert posts_gaps(layout, 2021) == []


def test_lost_posts_of_the_same_year_are_accepted_with_a_reason(layout: Layout) -> None:
    """The reason and what is missing are for RELEASE.json, the same ones each time the year is built."""
    write_table_reports(layout, 2021, {"tags": TableReport("ok", rows=1)})
    layout.side_table(2021, "tags").parent.mkdir()
    layout.side_table(2021, "tags").write_text("{}\n")
    sweep(layout, ALL)
    sweep(layout, SAFE)
    with pytest.raises(SourceUnusable, match="that 2021 had before"):
        accepted_gaps(layout, 2021, {})
    said = accepted_gaps(layout, 2021, {"posts": "the site is smaller"})
    assert said["posts"].startswith("the site is smaller (30 of the 40 posts that 2021 had before")
    release(layout)
    sweep(layout, SAFE)
    assert accepted_gaps(layout, 2021, {"posts": "the site is smaller"}) == said


@pytest.mark.parametrize(("count", "lost"), [(40, 3), (2000, 60), (20_000, 150)])
def test_expunged_posts_of_the_same_year_are_no_gap(layout: Layout, count: int, lost: int) -> None:
    """As many posts may be gone as from one year to the next, and are not asked for again."""
    records = [record_of(i) for i in range(1, count + 1)]
    sweep(layout, records)
    sweep(layout, records[lost:])
    assert posts_gaps(layout, 2021) == []
    assert pq.read_table(layout.earlier_posts(2021))["id"][0].as_py() == lost + 1


def test_posts_that_were_taken_down_are_not_lost(layout: Layout) -> None:
    """Posts that must not come back are no gap, however many."""
    sweep(layout, ALL)
    write_takedowns(layout, Takedowns(posts={id_: TakenDown() for id_ in range(1, 31)}))
    sweep(layout, ALL[30:])
    assert posts_gaps(layout, 2021) == []


def test_md5s_that_the_same_year_had_are_missed(layout: Layout) -> None:
    """A second sweep that is not shown the MD5 of most posts is a gap."""
    sweep(layout, ALL)
    sweep(layout, [record | {"md5": None} if record["id"] <= 30 else record for record in ALL])
    (gap,) = posts_gaps(layout, 2021)
    assert "30 of the 40 posts that 2021 had before with an MD5 (75.0%) come without one now" in gap.what


def test_a_takedown_reaches_what_is_kept_of_an_earlier_read(layout: Layout) -> None:
    """Nothing of the root names a post that was taken down, one that only an earlier read had included."""
    sweep(layout, ALL)
    sweep(layout, SAFE)
    assert clear_metadata(layout, 2021, {3})
    assert 3 not in pq.read_table(layout.earlier_posts(2021))["id"].to_pylist()
    (gap,) = posts_gaps(layout, 2021)
    assert gap.what.startswith("29 of the 39 posts that 2021 had before")


@pytest.mark.parametrize("lost", ["metadata", "facts", "facts are damaged"])
def test_the_release_of_the_year_counts_where_nothing_else_is_known(layout: Layout, lost: str) -> None:
    """Without metadata, or in a root of an earlier version, posts are held against those that are published."""
    sweep(layout, ALL)
    release(layout)
    if lost == "metadata":
        shutil.rmtree(layout.metadata(2021))
    elif lost == "facts":
        layout.earlier_posts(2021).unlink()
    else:
        layout.earlier_posts(2021).write_bytes(b"PAR1")
        with pytest.raises(DamagedFile):
            posts_gaps(layout, 2021)
    sweep(layout, SAFE)
    (gap,) = posts_gaps(layout, 2021)
    assert "30 of the 40 posts that 2021 had before" in gap.what
    assert len(list(layout.metadata(2021).glob("*.damaged-*"))) == (lost == "facts are damaged")


@pytest.mark.parametrize("accepted", [False, True])
def test_the_next_year_is_held_against_what_was_not_accepted(layout: Layout, *, accepted: bool) -> None:
    """A lossy second sweep that no release was made of does not become what the year after is compared with."""
    sweep(layout, ALL)
    release(layout)
    sweep(layout, SAFE)
    if accepted:
        release(layout)
    sweep(layout, [*SAFE, record_of(50, created_at="2022-05-01T00:00:00Z", rating="g")], year=2022)
    found = [gap.what[:45] for gap in posts_gaps(layout, 2022)]
    assert found == ([] if accepted else ["30 of the 40 posts of 2021 (75.0%) are not am"])


def test_a_second_dump_that_lost_posts_is_a_gap(layout: Layout) -> None:
    """What a source of whole tables lost is found like what a sweep lost."""
    for count in (40, 20):
        lines = b"".join(line_of_2021(i) for i in range(41 - count, 41))
        source = DumpSource(str(write_files(layout.root / "dump", {"posts.json": lines})), user_agent="tests")
        bring_posts(source, layout, 2021, now=NOW, progress=lambda _line: None)
    (gap,) = posts_gaps(layout, 2021)
    assert gap.what.startswith("20 of the 40 posts that 2021 had before (50.0%)")


def export_tags(layout: Layout, rows: int, *, year: int = 2021) -> None:
    """Export side tables of which the tags have so many rows."""
    files = {"tags.json": b"".join(b'{"id":%d,"name":"a"}\n' % i for i in range(rows)), "pools.json": b'{"id":1}\n'}
    folder = write_files(layout.root / "dump", files)
    export_side_tables(DumpSource(str(folder), user_agent="tests"), layout, year, progress=lambda _line: None)


def release_tags(layout: Layout, rows: int, year: int = 2021) -> None:
    """Publish tags of a year, as far as a later export looks at releases; no rows make no file."""
    folder = layout.release(year) / "parquet"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    layout.release_json(year).write_text("{}")
    if rows:
        pq.write_table(pa.table({"id": range(rows)}), folder / "tags-00000-of-00001.parquet")


@pytest.mark.parametrize("between", ["", "lossy", "left out"])
def test_side_table_that_the_same_year_had(layout: Layout, between: str) -> None:
    """A side table that shrank since the year was read before is a gap, whatever was read in between."""
    export_tags(layout, 1000)
    assert table_gaps(layout, 2021) == []
    if between == "lossy":
        export_tags(layout, 300)
    elif between == "left out":
        leave_out_side_tables(layout, 2021)
    export_tags(layout, 400)
    assert [gap.what for gap in table_gaps(layout, 2021)] == ["tags has 400 rows, and had 1,000 before"]
    export_tags(layout, 900)
    assert table_gaps(layout, 2021) == []


@pytest.mark.parametrize(
    ("released", "held"), [(None, 1000), (1000, 1000), (400, 400), (0, None)], ids=["never", "before", "now", "none"]
)
def test_the_next_year_is_held_against_side_tables_that_were_not_refused(
    layout: Layout, released: int | None, held: int | None
) -> None:
    """Of side tables that lost most rows the next year is held against those of the release, or else those before."""
    sweep(layout, ALL)
    export_tags(layout, 1000)
    export_tags(layout, 400)
    if released is not None:
        release_tags(layout, released)
    sweep(layout, ALL, year=2022)
    export_tags(layout, 100, year=2022)
    found = [gap.what for gap in table_gaps(layout, 2022)]
    assert found == ([] if held is None else [f"tags has 100 rows, and had {held:,} last year"])


def test_a_damaged_release_does_not_hide_what_side_tables_had(layout: Layout) -> None:
    """Where the release's table cannot be read, the rows before the loss count."""
    sweep(layout, ALL)
    export_tags(layout, 1000)
    export_tags(layout, 400)
    release_tags(layout, 400)
    layout.released_table(2021, "tags")[0].write_bytes(b"PAR1")
    sweep(layout, ALL, year=2022)
    export_tags(layout, 400, year=2022)
    assert [gap.what for gap in table_gaps(layout, 2022)] == ["tags has 400 rows, and had 1,000 last year"]

"""The sweep: every post up to the cutoff exactly once, whatever the source does and whenever it is killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.errors import SourceError, SourceUnusable
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.report import judge_freshness
from danbooru_pipeline.sources import SweepReport, sweep_posts
from danbooru_pipeline.sources.excluding import SourceWithout
from danbooru_pipeline.sources.sweep import PAGES_PER_PART
from danbooru_pipeline.version import version
from danbooru_pipeline.years import cutoff
from danbooru_pipeline_tests.support.sites import SOON, Give, Killed, Paged, Record, Site, give_posts, record_of
from danbooru_pipeline_tests.support.system_calls import TOP, run_program

NOW = datetime(2022, 1, 12, tzinfo=UTC)
LATE = "2022-01-01T00:00:00.000Z"


def sweep(source: Any, layout: Layout, year: int = 2021) -> SweepReport:
    """Sweep without progress."""
    return sweep_posts(source, layout, year, now=NOW, progress=lambda _line: None)


def rows_of(layout: Layout, year: int = 2021) -> list[Record]:
    """What a sweep wrote."""
    rows: list[Record] = pq.read_table(layout.posts(year)).to_pylist()
    return rows


def ids_of(layout: Layout) -> list[int]:
    """Ids in the order of the file."""
    return [row["id"] for row in rows_of(layout)]


@pytest.mark.parametrize("year", [2021, 2022])
def test_every_post_up_to_the_cutoff_is_there_once(context: RunContext, booru: BooruProcess, year: int) -> None:
    """Every post that the site shows, including hidden ones and the last moment of the year, and none after it."""
    booru.set_year(year)
    truth = booru.truth(year)
    wanted = {r["id"]: r for r in truth if datetime.fromisoformat(r["created_at"]) <= cutoff(year)}
    report = sweep(context.source, context.layout, year)
    rows = {row["id"]: row for row in rows_of(context.layout, year)}
    assert list(rows) == sorted(wanted)
    assert (report.rows, report.rejected, report.max_id) == (len(wanted), 0, max(wanted))
    assert len(truth) > len(wanted), "the site shows posts of January"
    assert report.max_created_at == max(row["created_at"] for row in rows.values())
    assert cutoff(year) - report.max_created_at < timedelta(seconds=1)
    # Half an hour after midnight in UTC it is still the old year on the site's clock.
    border = [r for r in truth if r["created_at"].startswith(f"{year}-12-31") and r["id"] not in wanted]
    assert border
    hidden = [post_id for post_id, record in wanted.items() if "md5" not in record]
    assert hidden
    assert all(rows[post_id]["md5"] is None and rows[post_id]["file_url"] is None for post_id in hidden)
    gone = {r["id"] for r in booru.truth(year, expunged=True)} - {r["id"] for r in truth}
    assert gone.isdisjoint(rows)
    assert bool(gone) == (year > 2021)


def test_values_arrive_as_they_are(context: RunContext, booru: BooruProcess) -> None:
    """Each column holds what the site said, times as instants; what has no column is in `extra`."""
    sweep(context.source, context.layout)
    truth = {record["id"]: record for record in booru.truth(2021)}
    for row in rows_of(context.layout):
        for name, value in truth[row["id"]].items():
            told = row[name] if name in row else json.loads(row["extra"])[name]
            assert (told == datetime.fromisoformat(value)) if isinstance(told, datetime) else (told == value)


def test_cutoff_is_an_instant_not_a_date(site: Site, layout: Layout) -> None:
    """The last millisecond belongs to the year, in whatever time zone it is given."""
    times = ["2021-12-31T23:59:59.999Z", "2021-12-31T18:59:59.999-05:00", "2022-01-01T04:59:59.999+05:00"]
    late = ["2022-01-01T00:00:00.000Z", "2021-12-31T19:00:00.000-05:00", "2022-01-01T05:00:00.000+05:00"]
    records = [record_of(i, created_at=time) for i, time in enumerate([*times, *late], start=1)]
    source, _ = site(give_posts(records))
    sweep(source, layout)
    assert ids_of(layout) == [1, 2, 3]


@pytest.mark.parametrize("most", [200, 20, 1])
@pytest.mark.parametrize("ascending", [False, True])
def test_size_and_order_of_pages_do_not_matter(site: Site, layout: Layout, most: int, *, ascending: bool) -> None:
    """A server may give fewer records than requested, in either order; some late posts do not end a sweep."""
    records = [record_of(i, created_at=LATE if i in {30, 31, 40} else SOON) for i in range(1, 60)]
    source, _ = site(give_posts(records, most=most, ascending=ascending))
    sweep(source, layout)
    assert ids_of(layout) == [i for i in range(1, 60) if i not in {30, 31, 40}]


def test_future_run_ends_no_sweep(site: Site, layout: Layout) -> None:
    """Hundreds of posts in a row with later times hide no post of the year behind them: a sweep reads to the end."""
    records = [record_of(i, created_at=LATE if 1000 <= i < 1250 or i > 2900 else SOON) for i in range(1, 3001)]
    source, server = site(give_posts(records))
    report = sweep(source, layout)
    assert (report.rows, report.beyond) == (2650, 100)
    assert (report.read_up_to, report.newest_id, report.read_to_the_end) == (3000, 3000, True)
    assert len(server.requests) < 3000 // 200 + 6


@pytest.mark.parametrize(
    ("answer", "announced"),
    [
        ({"counts": {"posts": 41}}, 41),
        ({"counts": {"posts": None}}, None),
        ({"counts": None}, None),
        ([], None),
        ({"counts": {"posts": "many"}}, None),
        (None, None),
    ],
)
def test_sweep_asks_for_the_sites_own_count(site: Site, layout: Layout, answer: object, announced: int | None) -> None:
    """A sweep notes how many posts the site counts up to its last id; a site without that costs one line."""
    records = [record_of(i, created_at=LATE if i > 30 else SOON) for i in range(1, 41)]
    source, server = site(give_posts(records), counts=answer)
    told: list[str] = []
    report = sweep_posts(source, layout, 2021, now=NOW, progress=told.append)
    assert (report.rows, report.read, report.announced) == (30, 40, announced)
    asked = [target for target in server.targets if target.startswith("/counts/")]
    assert len(asked) == 1
    assert "tags=id%3A1..40&" in asked[0]
    assert any("does not say how many there are" in line for line in told) == (announced is None)


def test_sweep_says_what_it_did_not_read(layout: Layout) -> None:
    """A sweep does not read years of later posts; the report and the progress name the ids that it left."""
    late = [record_of(i, created_at=LATE) for i in range(101, 100_300)]
    source = Paged([record_of(i) for i in range(1, 101)] + late, size=50_000)
    said: list[str] = []
    report = sweep_posts(source, layout, 2021, now=NOW, progress=said.append)
    assert (report.rows, report.requests, report.read_to_the_end) == (100, 4, True)
    more = Paged([*source.records, *(record_of(i, created_at=LATE) for i in range(100_300, 200_000))], size=50_100)
    report = sweep_posts(more, layout, 2021, now=NOW, progress=said.append)
    assert (report.read_to_the_end, report.read_up_to, report.newest_id) == (False, 100_200, 199_999)
    assert "ids above 100,200 were not read, since 100,100 posts in a row" in said[-1]
    assert "ids above 100,200 were not read" in judge_freshness(report, 2021).why


def test_resume_from_another_source(layout: Layout) -> None:
    """An unfinished sweep of one address is not continued at another one: it begins anew and says so."""
    mine = [record_of(i, source="a") for i in range(1, PAGES_PER_PART + 20)]
    with pytest.raises(Killed):
        sweep(Paged(mine, dies_at=PAGES_PER_PART + 5, address="http://a"), layout)
    theirs = [record_of(i, source="b") for i in range(1, PAGES_PER_PART + 20)]
    said: list[str] = []
    sweep_posts(Paged(theirs, address="http://b"), layout, 2021, now=NOW, progress=said.append)
    assert {row["source"] for row in rows_of(layout)} == {"b"}
    assert said[0] == (
        "posts: what was read before is of another source (address http://a -> http://b); it begins anew"
    )


def test_resume_as_another_account(context: RunContext, booru: BooruProcess) -> None:
    """Address, account, code and what is left out identify the source; nothing secret does."""
    source = context.source
    assert isinstance(source, SourceWithout)
    identity = source.identity
    assert identity == {"address": booru.api_url, "account": "anonymous", "code": version().number, "without": "none"}


def test_resumed_sweep_is_the_same_to_the_byte(layout: Layout, tmp_path: Path) -> None:
    """Interrupted at any page and restarted, a sweep writes the same file and report, and nothing else."""
    records = [record_of(i, new_column=i) if i % 9 else {"id": i} for i in range(1, PAGES_PER_PART + 11)]
    whole = sweep(Paged(records), layout)
    names = {path.name for path in layout.metadata(2021).rglob("*")}
    for page in range(1, whole.requests + 1):
        again = Layout(tmp_path / str(page))
        with pytest.raises(Killed):
            sweep(Paged(records, dies_at=page), again)
        assert not again.posts(2021).exists()
        report = sweep(Paged(records), again)
        assert again.posts(2021).read_bytes() == layout.posts(2021).read_bytes()
        assert again.rejected(2021).read_bytes() == layout.rejected(2021).read_bytes()
        assert replace(report, requests=whole.requests) == whole
        assert (report.requests < whole.requests) == (page > PAGES_PER_PART)
        assert {path.name for path in again.metadata(2021).rglob("*")} == names


@pytest.mark.parametrize("hours", [5, -5])
def test_resumed_sweep_is_as_old_as_its_first_start(layout: Layout, hours: int) -> None:
    """What happened after the first page was asked for may be missing, also if the clock was set back."""
    records = [record_of(i) for i in range(1, PAGES_PER_PART + 11)]
    with pytest.raises(Killed):
        sweep(Paged(records, dies_at=PAGES_PER_PART + 5), layout)
    later = NOW + timedelta(hours=hours)
    report = sweep_posts(Paged(records), layout, 2021, now=later, progress=lambda _line: None)
    assert report.requests < len(records)
    assert report.taken_at == min(NOW, later)
    assert sweep_posts(Paged(records), layout, 2021, now=later, progress=lambda _line: None).taken_at == later


KILLED_AT_ITS_FIRST_PART = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.sources import sweep_posts
from danbooru_pipeline_tests.support.sites import Paged, record_of
source = Paged([record_of(i) for i in range(1, 121)])
def progress(line):
    print(line, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
sweep_posts(source, Layout(Path(sys.argv[1])), 2021, now=datetime.now(UTC), progress=progress)
"""


def test_sweep_survives_sigkill(layout: Layout, tmp_path: Path) -> None:
    """A process killed after its first part leaves that part for the next one to resume from."""
    records = [record_of(i) for i in range(1, 121)]
    whole = sweep(Paged(records), layout)
    again = Layout(tmp_path / "again")
    command = [sys.executable, "-c", KILLED_AT_ITS_FIRST_PART, str(again.root)]
    killed = subprocess.run(command, capture_output=True, cwd=TOP, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert b"posts: up to id 50 of 120, about 41 %, 50 requests" in killed.stdout
    again.sweep(2021, "posts").joinpath(".half.parquet.0123.part").write_bytes(b"half")
    again.sweep(2021, "posts").joinpath("x.rejected.jsonl").write_bytes(b"{}\n")
    report = sweep(Paged(records), again)
    assert report.requests == whole.requests - 50
    assert (report.sha256, report.rejected) == (whole.sha256, 0)
    assert again.posts(2021).read_bytes() == layout.posts(2021).read_bytes()


SWEEP = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.sources import split_by_bucket, sweep, sweep_posts
from danbooru_pipeline_tests.support.sites import Paged, record_of
sweep.PAGES_PER_PART = 3
layout = Layout(Path(sys.argv[1]))
sweep_posts(Paged([record_of(i, new_column=i) for i in range(1, 121)]), layout, 2021, now=datetime.now(UTC),
            progress=lambda _line: None)
"""


SPLIT = "split_by_bucket(layout, 2021)"


@pytest.mark.slow(3)
def test_sweep_killed_while_it_cleans_up_leaves_no_parts(tmp_path: Path) -> None:
    """Parts of a finished sweep go all at once: what a kill left of them is not taken for all that had come."""
    whole, killed = Layout(tmp_path / "whole"), Layout(tmp_path / "killed")
    calls = run_program(SWEEP, whole.root).calls
    assert run_program(SWEEP, killed.root, at=calls - 20).killed
    assert not killed.sweep(2021, "posts").exists()
    assert not run_program(SWEEP, killed.root).killed
    assert killed.posts(2021).read_bytes() == whole.posts(2021).read_bytes()
    assert list(killed.sweep(2021, "posts").parent.iterdir()) == []


@pytest.mark.slow(9)
def test_sweep_killed_anywhere_gives_the_same_bytes(tmp_path: Path) -> None:
    """Eight SIGKILLs along the calls of sweep, merge and split, each resumed, leave the same posts and buckets."""
    whole, killed = Layout(tmp_path / "whole"), Layout(tmp_path / "killed")
    calls = run_program(SWEEP + SPLIT, whole.root).calls
    # Each run resumes, so that they die further and further on; one whose number lies beyond the end is complete.
    kills = sum(run_program(SWEEP + SPLIT, killed.root, at=calls * part // 9).killed for part in range(1, 9))
    assert kills > 4
    assert not run_program(SWEEP + SPLIT, killed.root).killed
    assert killed.posts(2021).read_bytes() == whole.posts(2021).read_bytes()
    for path in whole.posts_by_bucket(2021).iterdir():
        assert killed.posts_by_bucket(2021).joinpath(path.name).read_bytes() == path.read_bytes()
    names = [{path.relative_to(layout.root) for path in layout.root.rglob("*")} for layout in (whole, killed)]
    assert names[0] == names[1]


def test_old_unfinished_sweep_starts_anew(layout: Layout) -> None:
    """A sweep interrupted long ago starts over, since its rows would be from another time than the rest."""
    with pytest.raises(Killed):
        sweep(Paged([record_of(i, score=1) for i in range(1, 80)], dies_at=60), layout)
    folder = layout.sweep(2021, "posts")
    old = folder.stat().st_mtime - 8 * 24 * 3600
    os.utime(folder, (old, old))
    sweep(Paged([record_of(i, score=2) for i in range(1, 80)]), layout)
    assert {row["score"] for row in rows_of(layout)} == {2}


def test_rows_that_cannot_be_placed_are_counted_and_kept(site: Site, layout: Layout) -> None:
    """A record without a usable id or time is in no release, but in a file that gives the reason."""
    records = [
        record_of(1),
        {"_id": 2, "created_at": SOON},
        record_of(3) | {"_id": 3, "id": "3"},
        record_of(-4) | {"_id": 4},
        {"id": 5},
        record_of(6, created_at="yesterday"),
        record_of(7) | {"_id": 7, "id": 10**30},
        record_of(8) | {"_id": 8, "id": True},
        record_of(9),
    ]
    source, _ = site(give_posts(records))
    report = sweep(source, layout)
    assert ids_of(layout) == [1, 3, 9]
    assert (report.rows, report.rejected) == (3, 6)
    lines = [msgspec.json.decode(line) for line in layout.rejected(2021).read_bytes().splitlines()]
    assert sorted(line["reason"] for line in lines) == ["no usable created_at"] * 2 + ["no usable id"] * 4
    source, _ = site(give_posts([record_of(1)]))
    sweep(source, layout)
    assert not layout.rejected(2021).exists(), "the next sweep had none"


@pytest.mark.parametrize("hidden", [{59, 60}, {21, 22, 23, 24, 29}, set(range(20, 41))])
def test_pages_of_posts_without_ids_are_passed(site: Site, layout: Layout, hidden: set[int]) -> None:
    """Hidden posts came without id for two years; a page of only these neither ends a sweep nor skips a post."""
    records = [{"_id": i, "created_at": SOON, "n": i} if i in hidden else record_of(i) for i in range(1, 61)]
    source, _ = site(give_posts(records, most=2))
    report = sweep(source, layout)
    assert ids_of(layout) == [i for i in range(1, 61) if i not in hidden]
    assert report.rejected == len(hidden)


def test_source_without_any_ids_is_unusable(site: Site, layout: Layout) -> None:
    """Pages of unusable records end the sweep with an error, at the start and later."""
    source, _ = site(lambda _path, _params: [{"name": "x"}])
    with pytest.raises(SourceUnusable, match="no ids"):
        sweep(source, layout)
    source, _ = site(lambda _path, params: [record_of(1)] if params["page"] == "a0" else [{"name": "x"}])
    with pytest.raises(SourceUnusable, match="in a row"):
        sweep(source, layout)


@pytest.mark.parametrize("first", [1, 500])
def test_source_that_ignores_the_cursor_is_unusable(site: Site, layout: Layout, first: int) -> None:
    """A server that always gives the same page ends the sweep with an error, not in an endless loop."""
    source, server = site(lambda _path, _params: [record_of(i) for i in range(first, first + 20)])
    with pytest.raises(SourceUnusable, match="check that DANBOORU_API_URL"):
        sweep(source, layout)
    assert len(server.requests) < 6
    assert not layout.posts(2021).exists()


def newest_above(records: list[dict[str, Any]], *, most: int) -> Give:
    """A site that gives the newest posts above an id, where Danbooru gives the ones that follow it."""
    give = give_posts(records, most=most)

    def newest(path: str, params: dict[str, str]) -> Any:
        page = params["page"]
        if not page.startswith("a"):
            return give(path, params | {"page": page if page[0] == "b" else "b999999999999"})
        shown: Any = give(path, params | {"page": "b999999999999"})
        return [record for record in shown if int(record.get("id", 10**9)) > int(page[1:])]

    return newest


@pytest.mark.parametrize("most", [7, 20, 200])
@pytest.mark.parametrize(
    "ids", [range(1, 60), range(1, 6000, 59), [*range(4_000_000, 4_000_300), 7_000_000]], ids=["dense", "sparse", "far"]
)
def test_source_that_starts_with_the_newest_is_read_downwards(
    site: Site, layout: Layout, ids: Sequence[int], most: int
) -> None:
    """A server that answers "above 0" with its newest page is read downwards by id instead, without gaps."""
    source, server = site(newest_above([record_of(i) for i in ids], most=most))
    sweep(source, layout)
    assert ids_of(layout) == list(ids)
    assert len(server.requests) < 2 * len(ids) / most + 60


def test_sweep_cut_off_is_resumed_where_the_newest_come_first(site: Site, layout: Layout) -> None:
    """A sweep that resumes in the middle detects such a server again and misses nothing."""
    give = newest_above([record_of(i) for i in range(1, 2000)], most=20)
    asked = 0

    def breaking(path: str, params: dict[str, str]) -> Any:
        nonlocal asked
        asked += 1
        return give(path, params) if asked < 90 else {"success": False}

    source, _ = site(breaking)
    with pytest.raises(SourceUnusable):
        sweep(source, layout)
    source, _ = site(give)
    sweep(source, layout)
    assert ids_of(layout) == list(range(1, 2000))


def test_posts_without_id_are_counted_where_the_newest_come_first(site: Site, layout: Layout) -> None:
    """Hidden posts without id are kept among the rejected records, in either direction of reading."""
    hidden = {5, 6, 7, 8, 30}
    records: list[dict[str, Any]] = [
        {"_id": i, "created_at": record_of(i)["created_at"], "name": str(i)} if i in hidden else record_of(i)
        for i in range(1, 61)
    ]
    source, _ = site(newest_above(records, most=20))
    report = sweep(source, layout)
    assert ids_of(layout) == [i for i in range(1, 61) if i not in hidden]
    assert report.rejected == len(hidden)


@pytest.mark.parametrize("empty", [1, 2])
def test_empty_page_in_the_middle_is_not_the_end(site: Site, layout: Layout, empty: int) -> None:
    """An empty page is requested again if the newest post has a higher id."""
    give = give_posts([record_of(i) for i in range(1, 60)], most=20)
    left = {"a40": empty}

    def hiccup(path: str, params: dict[str, str]) -> Any:
        left[params["page"]] = left.get(params["page"], 0) - 1
        return [] if left[params["page"]] >= 0 else give(path, params)

    source, _ = site(hiccup)
    sweep(source, layout)
    assert ids_of(layout) == list(range(1, 60))


def test_source_that_stays_empty_in_the_middle_is_unusable(site: Site, layout: Layout) -> None:
    """A sweep that cannot reach the newest post ends with an error, keeps its pages, and resumes another day."""
    give = give_posts([record_of(i) for i in range(1, 60)], most=20)
    source, _ = site(lambda path, params: [] if params["page"] == "a40" else give(path, params))
    with pytest.raises(SourceUnusable, match="nothing above id 40, but its newest id is 59"):
        sweep(source, layout)
    assert not layout.posts(2021).exists()


def test_source_that_lost_its_posts_is_refused(site: Site, layout: Layout) -> None:
    """A source that ends before an earlier year's posts did is refused: it is a different one, or in trouble."""
    source, _ = site(give_posts([record_of(i) for i in range(1, 60)]))
    sweep(source, layout)
    for records in ([], [record_of(i) for i in range(1, 50)]):
        source, _ = site(give_posts(records))
        with pytest.raises(SourceUnusable, match="went up to 59"):
            sweep(source, layout, 2022)
        assert not layout.posts(2022).exists()


def test_overlapping_pages_leave_no_duplicates(site: Site, layout: Layout) -> None:
    """Records that a server repeats, from the page before or within a page, are read once."""
    give = give_posts([record_of(i) for i in range(1, 50)], most=7)

    def inclusive(path: str, params: dict[str, str]) -> Any:
        page = params["page"]
        records = give(path, params | ({"page": f"a{int(page[1:]) - 1}"} if page[0] == "a" and page != "a0" else {}))
        return [] if page == "a49" else [*records, *records[:1]]

    source, _ = site(inclusive)
    sweep(source, layout)
    assert ids_of(layout) == list(range(1, 50))


def test_unknown_and_odd_values_go_to_extra(site: Site, layout: Layout) -> None:
    """A new column, and a known one whose value has another type, are kept as JSON and counted."""
    odd = {"media_asset": {"id": 1, "x": [None, 1.5]}, "score": "many", "is_banned": "maybe", "image_width": 2**70}
    source, _ = site(give_posts([record_of(1) | odd, record_of(2)]))
    report = sweep(source, layout)
    first, second = rows_of(layout)
    assert msgspec.json.decode(first["extra"]) == odd
    assert (first["score"], first["is_banned"], first["image_width"], second["extra"]) == (None, None, None, None)
    assert report.drifted == 1


def test_digest_follows_the_rows_alone(layout: Layout, tmp_path: Path) -> None:
    """The same rows have the same digest, however they are split into pages and parts; any other row changes it."""
    records = [record_of(i, source=f"s{i}" if i % 3 else None, tag_string="") for i in range(1, 400)]
    same = {sweep(Paged(records, size=size), Layout(tmp_path / str(size))).sha256 for size in (1, 7, 400)}
    assert same == {sweep(Paged(records, size=3), layout).sha256}
    assert len({Layout(tmp_path / str(size)).posts(2021).read_bytes() for size in (1, 7, 400)}) == 1
    others = set()
    changes: list[Record] = [{"source": text} for text in ("other", "", None)]
    changes += [{"score": None}, {"score": -1}, {"x": 1}, {"has_large": False}]
    changes += [{"created_at": "2021-06-01T00:00:00.001-04:00"}]
    for change in changes:
        changed = [*records[:201], records[201] | change, *records[202:]]
        others.add(sweep(Paged(changed, size=50), layout).sha256)
    assert len(others - same) == len(changes)
    assert sweep(Paged(records[:-1], size=50), layout).sha256 not in same


def test_source_without_posts_gives_an_empty_file(site: Site, layout: Layout) -> None:
    """A source without posts is not an error."""
    source, _ = site(give_posts([]))
    report = sweep(source, layout)
    assert (report.rows, report.max_id, report.max_created_at) == (0, 0, None)
    assert rows_of(layout) == []


def test_report_is_written_beside_the_posts(context: RunContext) -> None:
    """Status and documents read the report from disk."""
    report = sweep(context.source, context.layout)
    written = msgspec.json.decode(context.layout.posts_report(2021).read_bytes())["source"]
    assert (written["rows"], written["sha256"], written["name"]) == (report.rows, report.sha256, "api")
    assert not context.layout.sweep(2021, "posts").exists()


@pytest.mark.parametrize("value", [{"success": False}, [1, 2], "x", 7])
def test_answer_of_another_shape_is_unusable(site: Site, value: object) -> None:
    """An answer that is not a list of records is refused, and the probe says so."""
    source, _ = site(lambda _path, _params: value)
    with pytest.raises(SourceUnusable, match="without a list of records"):
        source.probe()


def test_probe_of_a_booru_is_fine(context: RunContext) -> None:
    """The embedded booru answers as a booru does."""
    context.source.probe()


def test_passing_errors_do_not_show(context: RunContext, booru: BooruProcess) -> None:
    """A sweep through a flaky API gives the same posts."""
    booru.set_fault("posts", "flaky:1")
    report = sweep(context.source, context.layout)
    assert report.rows == len([r for r in booru.truth(2021) if datetime.fromisoformat(r["created_at"]) <= cutoff(2021)])
    booru.set_fault("posts", "html")
    with pytest.raises(SourceError):
        sweep(context.source, context.layout)
    assert len(rows_of(context.layout)) == report.rows, "what was there stays"

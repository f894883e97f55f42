"""Records of the API that are JSON and hold what nothing can store: each costs itself alone, as in a dump."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.forecast import survey_source
from danbooru_pipeline.posts.table_reports import load_table_reports
from danbooru_pipeline.posts.unstorable import read_document
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import SweepReport, export_side_tables, recheck_posts, sweep_posts
from danbooru_pipeline.sources.completeness import table_gaps
from danbooru_pipeline.sources.controls import ANY, Controls
from danbooru_pipeline.sources.follow import read_new_posts, read_replacements, read_touched
from danbooru_pipeline_tests.support.raw_server import RawServer, json_by, serving
from danbooru_pipeline_tests.support.sites import Give, Record, Site, give_posts, record_of

NOW = datetime(2022, 1, 12, tzinfo=UTC)
REASON = "a lone surrogate or a number out of range"
HERE = b'"HERE"'
VALUES = [
    (b'"\\ud800"', "\N{REPLACEMENT CHARACTER}"),
    (b"1e999", "1e999"),
    (b"-1e999", "-1e999"),
    (b'{"a":["x\\udfff"]}', {"a": ["x\N{REPLACEMENT CHARACTER}"]}),
    (b"9" * 5000, "9" * 5000),
]


def with_value(give: Give, value: bytes) -> Give:
    """The same site, whose JSON has these bytes in the place of ``"HERE"``."""

    def odd(path: str, params: dict[str, str]) -> Any:
        answer = give(path, params)
        return None if answer is None else json.dumps(answer).encode().replace(HERE, value)

    return odd


def posts_with(*odd: int, last: int = 40) -> list[Record]:
    """Posts, some of which have an odd source."""
    return [record_of(i, source="HERE" if i in odd else "x") for i in range(1, last + 1)]


def sweep(source: Any, layout: Layout) -> SweepReport:
    """Sweep without progress."""
    return sweep_posts(source, layout, 2021, now=NOW, progress=lambda _line: None)


@pytest.mark.parametrize("place", [1, 20, 40])
@pytest.mark.parametrize(("value", "kept"), VALUES)
def test_sweep_rejects_the_record_alone(site: Site, layout: Layout, place: int, value: bytes, kept: object) -> None:
    """The record is rejected with what it holds and why, the other 39 come, and no page is asked for twice."""
    plain, plainly = site(give_posts(posts_with(), most=7))
    sweep(plain, layout)
    source, server = site(with_value(give_posts(posts_with(place), most=7), value))
    report = sweep(source, layout)
    assert (report.rows, report.rejected, report.read) == (39, 1, 40)
    assert pq.read_table(layout.posts(2021))["id"].to_pylist() == [i for i in range(1, 41) if i != place]
    (line,) = layout.rejected(2021).read_bytes().splitlines()
    rejected = msgspec.json.decode(line)
    assert rejected == {"reason": REASON, "record": record_of(place, source=kept)}
    assert len(server.requests) == len(plainly.requests)


def test_sweep_goes_on_after_pages_of_such_records(site: Site, layout: Layout) -> None:
    """Pages that hold nothing else are no end, and records keep their ids, by which reading goes on."""
    source, _ = site(with_value(give_posts(posts_with(*range(5, 30)), most=4), b'"\\udc00"'))
    report = sweep(source, layout)
    assert (report.rows, report.rejected, report.max_id) == (15, 25, 40)


def test_large_numbers_that_can_be_stored_are_kept(site: Site, layout: Layout) -> None:
    """An integer of 400 digits is in the place of a value of another type, also beside a record that is rejected."""
    records = [record_of(1, odd="HERE"), record_of(2, source="AND")]
    give = with_value(give_posts(records), b"9" * 400)
    source, _ = site(lambda path, params: (give(path, params) or b"null").replace(b'"AND"', b"1e999"))
    assert (sweep(source, layout).rows, layout.rejected(2021).exists()) == (1, True)
    assert pq.read_table(layout.posts(2021))["extra"].to_pylist() == ['{"odd":' + "9" * 400 + "}"]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b'[{"id":1,"a":NaN}]',
        b'[{"id":1,"a":1e999}',
        b'[{"id":1,"a":1e999},]',
        b'[{"id":1,"a":1e999} {"id":2}]',
        b'[{"id":1,"a":"\\ud800"}]]',
        b'[{"id":1,"a":"\xed\xa0\x80"}]',
        b"[" * 100_000,
    ],
)
def test_body_that_is_no_json_is_still_named(site: Site, layout: Layout, body: bytes) -> None:
    """What breaks the grammar is not JSON, also beside a value that cannot be stored."""
    source, server = site(lambda _path, _params: body)
    with pytest.raises(SourceUnusable, match="answers HTTP 200 with a body that is not JSON"):
        sweep(source, layout)
    assert len(server.requests) > 1, "it may be a passing fault"


def test_blanks_between_records_do_not_matter() -> None:
    """A document with such a record is read whatever stands between its parts."""
    assert read_document(b' [ { "a" : 1e999 } ,\n\t{"b":0.1} , 3\r\n] ') == [{"a": "1e999"}, {"b": 0.1}, 3]
    assert read_document(b'{"counts":{"posts":1e999}}') == {"counts": {"posts": "1e999"}}
    assert read_document(b' [ "\\ud800" ]') == ["\N{REPLACEMENT CHARACTER}"]


def tags_with(odd: set[int], *, last: int = 60) -> Give:
    """A site with tags, three a page."""

    def give(path: str, params: dict[str, str]) -> Any:
        if path != "/tags.json":
            return None
        page = params["page"]
        first = int(page[1:]) + 1 if page[0] == "a" else last
        return [{"id": i, "name": "HERE" if i in odd else "x"} for i in range(first, min(first + 3, last + 1))]

    return give


@pytest.mark.parametrize("value", [value for value, _ in VALUES])
def test_side_table_comes_without_the_record(site: Site, layout: Layout, value: bytes) -> None:
    """A side table has all other records; the report and the log say how many were rejected."""
    source, _ = site(with_value(tags_with({1, 30}), value))
    said: list[str] = []
    reports = export_side_tables(source, layout, 2021, progress=said.append)
    assert (reports["tags"].status, reports["tags"].rows, reports["tags"].rejected) == ("ok", 58, 2)
    assert load_table_reports(layout, 2021) == reports
    lines = layout.side_table(2021, "tags").read_bytes().splitlines()
    assert [int(msgspec.json.decode(line)["id"]) for line in lines] == [i for i in range(1, 61) if i not in {1, 30}]
    assert f"tags: 2 records were rejected, since they hold {REASON}" in said
    assert table_gaps(layout, 2021) == []


def test_rejected_records_are_counted_over_a_kill(site: Site, layout: Layout) -> None:
    """An export that goes on after a kill still knows what the parts before it were rejected."""
    give, left = with_value(tags_with({2, 50, 100}, last=120), b"1e999"), [30]

    def dying(path: str, params: dict[str, str]) -> Any:
        left[0] -= 1
        return {"error": "down"} if left[0] < 0 else give(path, params)

    source, _ = site(dying)
    with pytest.raises(SourceUnusable):
        export_side_tables(source, layout, 2021, progress=lambda _line: None)
    left[0] = 10**6
    reports = export_side_tables(source, layout, 2021, progress=lambda _line: None)
    assert (reports["tags"].rows, reports["tags"].rejected) == (117, 3)


def test_table_of_such_records_is_not_whole(site: Site, layout: Layout) -> None:
    """If more than a tenth of few records cannot be stored, it is a fault of the source, which blocks a release."""
    source, _ = site(with_value(tags_with(set(range(1, 8))), b"1e999"))
    export_side_tables(source, layout, 2021, progress=lambda _line: None)
    (gap,) = table_gaps(layout, 2021)
    assert (gap.name, gap.what) == ("tags", f"7 of the 60 records of tags hold {REASON}")


def test_survey_counts_the_others(tmp_path: Path) -> None:
    """The forecast before a sweep goes by the posts that can be stored."""
    give = with_value(give_posts([record | {"file_size": 100} for record in posts_with(7, 40)]), b"1e999")
    with serving(json_by(give)) as server, client_of(server, tmp_path) as client:
        survey = survey_source(client, NOW)
    assert (survey.last_id, survey.mean_bytes) == (39, 100.0)


def client_of(server: RawServer, root: Path) -> BooruClient:
    """A client of a site."""
    return BooruClient(Settings(root=root, api_url=server.url, cdn_url=server.url, retry_seconds=0.5))


CONTROL = Controls(frozenset({ANY}), frozenset({9}))


@pytest.mark.parametrize(("odd", "expunged"), [({2}, {4}), ({9}, {4}), ({2, 9}, {4})])
def test_recheck_does_not_take_the_post_for_expunged(tmp_path: Path, odd: set[int], expunged: set[int]) -> None:
    """A post whose record cannot be stored is there: nothing is known of it, and what is missing beside it is gone."""
    shown = [record_of(i, source="HERE" if i in odd else "x") for i in (1, 2, 3, 9)]
    with serving(json_by(with_value(lambda _p, _q: shown, b'"\\ud800"'))) as server, client_of(server, tmp_path) as one:
        news = recheck_posts(one, [1, 2, 3, 4], controls=CONTROL, says_banned=False)
    assert sorted(news.rows) == sorted({1, 2, 3} - odd)
    assert news.expunged == expunged


def test_recheck_concludes_nothing_from_a_record_that_names_no_post(tmp_path: Path) -> None:
    """Any of the posts that are missing may be the one whose record has no id."""
    shown = [record_of(1), {"id": "HERE"}, record_of(9)]
    with serving(json_by(with_value(lambda _p, _q: shown, b"1e999"))) as server, client_of(server, tmp_path) as client:
        news = recheck_posts(client, [1, 2, 3], controls=CONTROL, says_banned=False)
    assert (sorted(news.rows), news.expunged) == ([1], frozenset())


def test_follow_passes_over_the_record(site: Site) -> None:
    """New posts come without the one that cannot be stored, and the last id is that of the page."""
    source, _ = site(with_value(give_posts(posts_with(5, 40)), b"1e999"))
    new = read_new_posts(source, 0, settled=NOW, now=NOW, pages=5, says_banned=False)
    assert [row["id"] for row in new.rows] == [i for i in range(1, 40) if i != 5]
    assert (new.last_id, new.is_all) == (40, True)


def test_follow_reads_what_an_event_says_all_the_same(tmp_path: Path) -> None:
    """Events and replacements only name posts to ask about, so an odd value in another column loses none of them."""
    at = "2021-06-01T00:00:00.000Z"
    since, skipped = datetime.fromisoformat(at) - timedelta(hours=1), Counter[str]()
    events = [{"post_id": i, "event_at": at, "model_type": "ModAction", "odd": "HERE"} for i in (1, 2)]
    replaced = [{"id": 7, "post_id": 3, "created_at": at, "old_md5": "a" * 32, "original_url": "HERE"}]

    def give(path: str, params: dict[str, str]) -> Any:
        assert params
        return events if path == "/post_events.json" else replaced

    with serving(json_by(with_value(give, b'"\\ud800"'))) as server, client_of(server, tmp_path) as client:
        touched, files = read_touched(client, since, skipped), read_replacements(client, since, skipped)
    assert touched is not None
    assert touched.ids == {1, 2}
    assert [(each.post_id, each.md5) for each in files or ()] == [(3, "a" * 32)]
    assert not skipped

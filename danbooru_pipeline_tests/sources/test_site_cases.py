"""What sites were seen to do in the middle of a sweep: nothing of the year is lost, and refusals are one line."""

import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.errors import SourceBlocked, SourceError
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import ApiSource, SweepReport, sweep_posts
from danbooru_pipeline_tests.support.raw_server import Answer, RawServer, json_by, make_answer, serving
from danbooru_pipeline_tests.support.sites import Record, Site, give_posts, record_of

NOW = datetime(2022, 1, 20, tzinfo=UTC)
COUNT = 1000
RECORDS = [record_of(i) for i in range(1, COUNT + 1)]
#: What the server says instead of a page, by the number of the request; None for the page itself.
Instead = Callable[[int], bytes | None]


def interrupted(instead: Instead, records: list[Record]) -> Answer:
    """A site whose answers to some requests are others."""
    site = json_by(give_posts(records))

    def answer(server: RawServer, connection: socket.socket, target: str, headers: dict[str, str]) -> None:
        other = instead(len(server.requests))
        if other is None:
            site(server, connection, target, headers)
        else:
            connection.sendall(other)

    return answer


def swept(layout: Layout, instead: Instead, records: list[Record] = RECORDS) -> SweepReport:
    """Sweep such a site."""
    with serving(interrupted(instead, records)) as server:
        settings = Settings(root=layout.root, api_url=server.url, cdn_url=server.url, retry_seconds=2.0)
        with BooruClient(settings) as client:
            return sweep_posts(ApiSource(client), layout, 2021, now=NOW, progress=lambda _line: None)


def test_throttle_429(layout: Layout) -> None:
    """Answers 429, with and without a time to wait, slow a sweep down and lose nothing."""
    told, untold = make_answer(status=429, headers={"Retry-After": "0"}), make_answer(status=429)
    assert swept(layout, {3: told, 5: untold}.get).rows == COUNT


def test_query_timeout(layout: Layout) -> None:
    """A query that times out twice is asked a third time."""
    late = make_answer(b'{"success":false,"error":"ActiveRecord::QueryCanceled"}', status=500)
    assert swept(layout, {3: late, 4: late}.get).rows == COUNT


def test_cf_challenge_json(layout: Layout) -> None:
    """A challenge in the middle stops a sweep at once, in one line; the next sweep gives every post."""
    challenge = make_answer(b"<html>Just a moment...", status=403, headers={"cf-mitigated": "challenge"})
    with pytest.raises(SourceBlocked) as caught:
        swept(layout, lambda number: challenge if number > 2 else None)
    assert "\n" not in str(caught.value)
    assert not layout.posts(2021).exists()
    assert swept(layout, lambda _number: None).rows == COUNT


def test_bad_utf8_page(layout: Layout) -> None:
    """A page that is not UTF-8 is refused, and no posts are written."""
    bad = make_answer(b'[{"id":201,"created_at":"2021-06-01T00:00:00Z","tag_string":"\xff\xfe"}]')
    with pytest.raises(SourceError):
        swept(layout, lambda number: bad if number >= 3 else None)
    assert not layout.posts(2021).exists()


def test_posts_without_id_short_and_empty_pages(site: Site, layout: Layout) -> None:
    """Records without id are counted, pages of seven and an empty one are no end."""
    nameless = [{k: v for k, v in {**r, "_id": r["id"]}.items() if k != "id" or r["id"] % 50 != 7} for r in RECORDS]
    give = give_posts(nameless, most=7)
    seen: list[str] = []

    def once_empty(path: str, params: dict[str, str]) -> object:
        seen.append(params.get("page", ""))
        return [] if len(seen) == 20 else give(path, params)

    source, _ = site(once_empty)
    report = sweep_posts(source, layout, 2021, now=NOW, progress=lambda _line: None)
    assert (report.rows, report.rejected) == (980, 20)


@pytest.mark.parametrize("first", [2**31 - 300, 2**39])
def test_ids_beyond_2_31(layout: Layout, first: int) -> None:
    """Ids may be larger than 32 bits hold."""
    times = ["2021-06-01T00:00:00Z"] * 501 + ["2022-01-02T00:00:00Z"] * 299
    records = [record_of(first + i, created_at=time) for i, time in enumerate(times)]
    report = swept(layout, lambda _number: None, records)
    assert (report.rows, report.beyond, report.read_up_to) == (501, 299, first + 799)
    assert pq.read_table(layout.posts(2021))["id"][-1].as_py() == first + 500


def test_json_with_a_byte_order_mark(layout: Layout) -> None:
    """A page that starts with a byte order mark is a page."""
    marked = make_answer(b"\xef\xbb\xbf" + json.dumps(RECORDS[200:400]).encode())
    assert swept(layout, lambda number: marked if number == 4 else None).rows == COUNT


def test_site_that_gets_posts_as_fast_as_it_gives_pages(site: Site, layout: Layout) -> None:
    """Case dup_new: with a new post above each page, a sweep of a past year ends, and has all of the year."""
    records = [*RECORDS, *(record_of(COUNT + i, created_at="2022-01-02T00:00:00Z") for i in range(1, 6))]
    give = give_posts(records)

    def growing(path: str, params: dict[str, str]) -> object:
        records.append(record_of(len(records) + 1, created_at="2022-01-20T00:00:00Z"))
        return give(path, params)

    source, server = site(growing)
    said: list[str] = []
    report = sweep_posts(source, layout, 2021, now=NOW, progress=said.append)
    assert (report.rows, report.read_to_the_end) == (COUNT, False)
    assert "were not read, since" in " ".join(said)
    assert len(server.requests) < 50

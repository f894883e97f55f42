"""What a booru says of the time since the last visit, read to its end whatever the site's limits are."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources.api import RECORDS_PER_PAGE
from danbooru_pipeline.sources.follow import read_new_posts, read_replacements, read_touched
from danbooru_pipeline_tests.support.sites import Give, Paged, Record, Site, record_of

BEGIN = datetime(2022, 3, 1, tzinfo=UTC)


def client_of(site: Site, give: Give, tmp_path: Any) -> BooruClient:
    """A client of a made-up site."""
    _, server = site(give)
    return BooruClient(Settings(root=tmp_path / "root", api_url=server.url, cdn_url=server.url, retry_seconds=0.1))


def event(post_id: int, at: datetime, model: str = "ModAction") -> Record:
    """One row of the site's view."""
    return {"model_type": model, "model_id": 1, "post_id": post_id, "event_at": at.isoformat(timespec="milliseconds")}


def give_events(events: list[Record], asked: list[dict[str, str]]) -> Give:
    """A site that searches events by time, as Danbooru does, and refuses pages above the thousandth."""

    def give(path: str, params: dict[str, str]) -> Any:
        assert path == "/post_events.json"
        asked.append(params)
        assert int(params["page"]) <= 1000
        since = datetime.fromisoformat(params["search[event_at]"].removeprefix(">="))
        found = [each for each in events if datetime.fromisoformat(each["event_at"]) >= since]
        start = (int(params["page"]) - 1) * int(params["limit"])
        return found[start : start + int(params["limit"])]

    return give


@pytest.mark.parametrize("spread", [timedelta(seconds=1), timedelta(0)])
def test_events_are_read_to_their_end(site: Site, tmp_path: Any, spread: timedelta) -> None:
    """Full pages are followed by a search from their last moment, or by the next page of one moment; none is lost."""
    count, asked = 2 * RECORDS_PER_PAGE + 5, []  # type: ignore[var-annotated]
    events = [event(number, BEGIN + number * spread) for number in range(1, count + 1)]
    with client_of(site, give_events(events, asked), tmp_path) as client:
        touched = read_touched(client, BEGIN)
    assert touched is not None
    assert touched.ids == set(range(1, count + 1))
    assert touched.until == BEGIN + count * spread
    assert len(asked) == 3


def test_uploads_and_approvals_are_no_reason_to_ask(site: Site, tmp_path: Any) -> None:
    """Only events that may change a file or a status count."""
    models = ["Post", "PostApproval", "PostDisapproval", "ModAction", "PostFlag", "PostAppeal", "PostReplacement"]
    events = [event(number, BEGIN, model) for number, model in enumerate(models)]
    with client_of(site, give_events(events, []), tmp_path) as client:
        touched = read_touched(client, BEGIN)
    assert touched is not None
    assert touched.ids == {3, 4, 5, 6}


def newest_first(_path: str, _params: dict[str, str]) -> Any:
    """A site that ignores the search."""
    return [event(2, BEGIN + timedelta(days=9)), event(1, BEGIN - timedelta(days=9))]


def no_such_page(_path: str, _params: dict[str, str]) -> Any:
    """A site without events."""
    return {"success": False}


def odd_rows(_path: str, _params: dict[str, str]) -> Any:
    """A site whose events cannot be read."""
    return [{"post_id": None}]


@pytest.mark.parametrize("give", [newest_first, no_such_page, odd_rows])
def test_site_that_does_not_tell_is_recognised(site: Site, tmp_path: Any, give: Give) -> None:
    """Without a table, a search or a readable row the answer is "does not tell", and never "nothing happened"."""
    with client_of(site, give, tmp_path) as client:
        assert read_touched(client, BEGIN) is None
        assert read_replacements(client, BEGIN) in (None, [])


ODD_EVENTS: list[Any] = [
    {"post_id": "abc", "model_type": "ModAction"},
    {"post_id": 7, "model_type": None},
    {"post_id": -7, "model_type": "ModAction"},
    {"model_type": "ModAction"},
]


@pytest.mark.parametrize("odd", ODD_EVENTS)
@pytest.mark.parametrize("place", [1, RECORDS_PER_PAGE + 1])
def test_event_that_cannot_be_read_costs_itself_alone(site: Site, tmp_path: Any, odd: Record, place: int) -> None:
    """It is skipped and counted, on the first page and on a later one; the events around it are read."""
    count = 2 * RECORDS_PER_PAGE
    events = [event(number, BEGIN + timedelta(seconds=number)) for number in range(1, count + 1)]
    events[place] = {**odd, "event_at": events[place]["event_at"]}
    skipped: Counter[str] = Counter()
    with client_of(site, give_events(events, []), tmp_path) as client:
        touched = read_touched(client, BEGIN, skipped)
    assert touched is not None
    assert touched.ids == set(range(1, count + 1)) - {place + 1}
    assert skipped == {"/post_events.json": 1}


def test_event_that_utc_cannot_hold_is_skipped_and_counted(site: Site, tmp_path: Any) -> None:
    """One with a time at the end of all years, which every search finds last, stops no visit."""
    count = RECORDS_PER_PAGE + 5
    events = [event(number, BEGIN + timedelta(seconds=number)) for number in range(1, count + 1)]
    events.append({**event(7, BEGIN), "event_at": "9999-12-31T23:59:59.000-05:00"})
    skipped: Counter[str] = Counter()
    with client_of(site, give_events(events, []), tmp_path) as client:
        touched = read_touched(client, BEGIN, skipped)
    assert touched is not None
    assert (set(touched.ids), touched.until) == (set(range(1, count + 1)), BEGIN + timedelta(seconds=count))
    assert skipped == {"/post_events.json": 1}


@pytest.mark.parametrize("page", [0, 1])
def test_page_of_events_that_cannot_be_read_is_passed(site: Site, tmp_path: Any, page: int) -> None:
    """A full page without a readable event is followed by the next one of that moment, to the end."""
    events = [event(number, BEGIN) for number in range(1, 2 * RECORDS_PER_PAGE + 5)]
    for each in events[page * RECORDS_PER_PAGE : (page + 1) * RECORDS_PER_PAGE]:
        each["post_id"] = None
    with client_of(site, give_events(events, []), tmp_path) as client:
        touched = read_touched(client, BEGIN)
    assert touched is not None
    assert len(touched.ids) == RECORDS_PER_PAGE + 4


def test_site_that_falls_silent_stops_the_run(site: Site, tmp_path: Any) -> None:
    """A table that ends in the middle is no end: what was not told would be taken for nothing."""
    events = [event(number, BEGIN + timedelta(seconds=number)) for number in range(1, RECORDS_PER_PAGE + 2)]
    tell = give_events(events, [])
    calls: list[int] = []

    def give(path: str, params: dict[str, str]) -> Any:
        calls.append(1)
        return tell(path, params) if len(calls) == 1 else {"success": False}

    with client_of(site, give, tmp_path) as client, pytest.raises(SourceUnusable, match="answered no more"):
        read_touched(client, BEGIN)


def replacement(number: int, at: datetime, **more: Any) -> Record:
    """One row of the table of replacements."""
    names = {"old_md5": f"{number:032x}", "old_file_ext": "jpg", "old_file_size": 9}
    return {"id": number, "post_id": number, "created_at": at.isoformat(), **(more or names)}


def test_replacements_are_read_back_to_a_moment(site: Site, tmp_path: Any) -> None:
    """Newest first, page after page by id, until one is older; whatever the names of the columns are."""
    rows = [replacement(number, BEGIN + timedelta(minutes=number)) for number in range(1, 2 * RECORDS_PER_PAGE)]
    rows[-1] = replacement(len(rows), BEGIN + timedelta(days=9), md5_was="a" * 32, file_ext_was="png")
    asked = []

    def give(_path: str, params: dict[str, str]) -> Any:
        asked.append(params["page"])
        below = [row for row in rows if row["id"] < int(params["page"][1:])]
        return below[-int(params["limit"]) :][::-1]

    with client_of(site, give, tmp_path) as client:
        found = read_replacements(client, BEGIN + timedelta(minutes=500))
    assert found is not None
    assert sorted(each.post_id for each in found) == list(range(500, 2 * RECORDS_PER_PAGE))
    assert len(asked) == 2
    assert (found[0].md5, found[0].ext, found[0].size) == ("a" * 32, "png", None)
    assert (found[-1].md5, found[-1].ext, found[-1].size) == (f"{500:032x}", "jpg", 9)


def test_old_file_is_known_in_every_form_that_says_it(site: Site, tmp_path: Any) -> None:
    """MD5, extension and size of a replaced file are read as those of a post are; what is none of these is unknown."""
    forms: list[Record] = [
        {"old_md5": "A" * 32, "old_file_ext": ".PNG", "old_file_size": "9"},
        {"md5_was": f"\\x{'A' * 32}", "file_ext_was": "PNG", "file_size_was": 9.0},
        {"old_md5": 7, "old_file_ext": None, "old_file_size": "-9"},
    ]
    rows = [replacement(number, BEGIN, **form) for number, form in enumerate(forms, 1)]
    with client_of(site, lambda _path, _params: rows, tmp_path) as client:
        found = read_replacements(client, BEGIN)
    assert found is not None
    files = [(each.md5, each.ext, each.size) for each in found]
    assert files == [("a" * 32, "png", 9), ("a" * 32, "png", None), (None, None, None)]


def test_replacement_that_cannot_be_read_is_skipped_and_counted(site: Site, tmp_path: Any) -> None:
    """Rows without a post or a time, and what is no row at all, end no page: those around them are read."""
    rows: list[Any] = [replacement(number, BEGIN) for number in range(1, RECORDS_PER_PAGE + 5)]
    rows[-4:-1] = [
        {**rows[-4], "created_at": "0001-01-01T00:00:00+01:00"},
        {**rows[-3], "post_id": "abc"},
        {**rows[-2], "created_at": "soon"},
    ]
    skipped: Counter[str] = Counter()

    def give(_path: str, params: dict[str, str]) -> Any:
        below = [row for row in rows if row["id"] < int(params["page"][1:])]
        page = below[-int(params["limit"]) :][::-1]
        return ["no row", *page[1:]] if len(page) == RECORDS_PER_PAGE else page

    with client_of(site, give, tmp_path) as client:
        found = read_replacements(client, BEGIN, skipped)
    assert found is not None
    assert len(found) == len(rows) - 4
    assert skipped == {"/post_replacements.json": 4}


def at(moment: datetime) -> str:
    """A time as the site writes it."""
    return moment.isoformat(timespec="milliseconds")


def test_new_posts_end_where_they_have_not_settled() -> None:
    """The first post that is too young ends a visit, even if an older one follows it: the next visit begins there."""
    young = BEGIN + timedelta(hours=1)
    records = [
        record_of(1, created_at=at(BEGIN)),
        record_of(2, created_at=at(young)),
        record_of(3, created_at=at(BEGIN)),
    ]
    new = read_new_posts(Paged(records, size=5), 0, settled=BEGIN, now=young, pages=9, says_banned=False)
    assert ([row["id"] for row in new.rows], new.last_id, new.is_all) == ([1], 1, True)
    new = read_new_posts(Paged(records, size=5), new.last_id, settled=young, now=young, pages=9, says_banned=False)
    assert ([row["id"] for row in new.rows], new.last_id, new.is_all) == ([2, 3], 3, True)


def test_wrong_date_does_not_stop_following() -> None:
    """A post with a creation time far in the future is an error of the site, and not waited for."""
    records = [record_of(1, created_at="2099-01-01T00:00:00.000Z"), record_of(2, created_at=at(BEGIN)), {"id": "x"}]
    records[2] = record_of(3, created_at="nonsense")
    new = read_new_posts(Paged(records, size=2), 0, settled=BEGIN, now=BEGIN, pages=9, says_banned=False)
    assert ([row["id"] for row in new.rows], new.last_id) == ([1, 2], 3)


def test_step_ends_after_its_pages() -> None:
    """A long gap is closed in steps, each of some pages."""
    records = [record_of(number, created_at=at(BEGIN)) for number in range(1, 10)]
    new = read_new_posts(Paged(records, size=2), 0, settled=BEGIN, now=BEGIN, pages=3, says_banned=False)
    assert (len(new.rows), new.last_id, new.is_all) == (6, 6, False)

"""A clock that is wrong decides nothing: builds and following refuse it, and what it dated is not believed."""

import dataclasses
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.errors import DanbooruPipelineError, SettingsError
from danbooru_pipeline.operate.follow import follow, forget_decided
from danbooru_pipeline.operate.preflight import check_build
from danbooru_pipeline.posts.report import read_report, write_posts_report
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.follow import read_state
from danbooru_pipeline_tests.support.altered import altered
from danbooru_pipeline_tests.support.dumps import lines_of_2021, write_files
from danbooru_pipeline_tests.support.followed import (
    AUTUMN,
    JANUARY,
    SPRING,
    SUMMER,
    Follower,
    content_of,
    following,
    keep_a_file,
    old_jpg,
    publish,
)
from danbooru_pipeline_tests.support.raw_server import Answer, RawServer, always, make_answer
from danbooru_pipeline_tests.support.sites import Record

Work = Callable[[RunContext], object]


@pytest.fixture
def begun(booru: BooruProcess, settings: Settings) -> Iterator[Follower]:
    """A root that has the posts of 2021, and the file of one of them."""
    with following(booru, settings) as follower:
        follower.bring(2021)
        follower.build(old_jpg(booru), 2021)
        yield follower


def build(context: RunContext) -> None:
    """What a build does before it begins."""
    check_build(context, 2021)


def dry_run(context: RunContext) -> None:
    """Following that only looks."""
    follow(context, dry_run=True)


@pytest.mark.parametrize("hours", [-25, 25, 24 * 300, -24 * 365 * 50])
@pytest.mark.parametrize("work", [build, follow, dry_run])
def test_clock_that_is_a_day_off_is_refused_before_anything_is_written(
    booru: BooruProcess, settings: Settings, work: Work, hours: int
) -> None:
    """One line says by how much it is off and what to do; the root stays empty."""
    booru.set_date(datetime.now(UTC) - timedelta(hours=hours))
    with following(booru, settings) as follower, pytest.raises(SettingsError, match=r"\d+ s off .* NTP") as refused:
        work(follower.context)
    assert "\n" not in str(refused.value)
    assert content_of(settings.root) == {}


@pytest.mark.parametrize("hours", [-23, 23])
@pytest.mark.parametrize("work", [build, dry_run])
def test_clock_that_is_less_off_is_taken(booru: BooruProcess, settings: Settings, work: Work, hours: int) -> None:
    """What clocks differ by is no reason to refuse."""
    booru.set_date(datetime.now(UTC) + timedelta(hours=hours))
    with following(booru, settings) as follower:
        work(follower.context)


def test_site_that_sends_no_date_is_built_from(booru: BooruProcess, settings: Settings) -> None:
    """Nobody knows what time it is there; the doctor says so."""
    with (
        altered(booru, lambda record: record) as url,
        RunContext(settings.replace(api_url=url), now=lambda: JANUARY[2021]) as context,
    ):
        assert context.client.seconds_ahead() is None
        check_build(context, 2021)


def dated(*, hours: float, age: str = "") -> dict[str, str]:
    """Headers of an answer that is so old, by its Date and perhaps by its Age."""
    date = format_datetime(datetime.now(UTC) - timedelta(hours=hours), usegmt=True)
    return {"Date": date, "Age": age} if age else {"Date": date}


@pytest.mark.parametrize("hours", [26, 72])
@pytest.mark.parametrize("work", [build, dry_run])
def test_answer_out_of_a_cache_is_dated_by_its_age_too(
    booru: BooruProcess, settings: Settings, work: Work, hours: int
) -> None:
    """A cache in front of the site gives old dates that say so, and holds up nothing."""
    headers = dated(hours=hours, age=str(hours * 3600))
    with (
        altered(booru, headers=lambda _target: headers) as url,
        following(booru, settings.replace(api_url=url)) as follower,
    ):
        work(follower.context)


@pytest.mark.parametrize("work", [build, dry_run])
def test_time_is_asked_past_a_cache(booru: BooruProcess, settings: Settings, work: Work) -> None:
    """A cache that says nothing of ages, and has questions that are always the same, is asked another one."""

    def headers(target: str) -> dict[str, str]:
        return dated(hours=0 if "_=" in target else 72)

    with (
        altered(booru, headers=headers) as url,
        following(booru, settings.replace(api_url=url)) as follower,
    ):
        work(follower.context)


@pytest.mark.parametrize(
    "date",
    [
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Dec 2004 23:59:59 GMT",
        "Sat, 01 Jan 0001 00:00:00 +1400",
        "Tue, 01 Jun 2010 00:00:00 GMT",  # the booru has later posts
        "Mon, 30 Nov 99999 00:00:00 GMT",
        "0",
    ],
)
@pytest.mark.parametrize("work", [build, dry_run])
def test_site_whose_own_clock_is_absurd_is_used(booru: BooruProcess, settings: Settings, work: Work, date: str) -> None:
    """A site that is of before there was one, or of before its newest post, does not know what time it is."""
    with (
        altered(booru, headers=lambda _target: {"Date": date}) as url,
        following(booru, settings.replace(api_url=url)) as follower,
    ):
        work(follower.context)


CHALLENGE = {"cf-mitigated": "challenge"}


def hang(server: RawServer, _connection: socket.socket, _target: str, _headers: dict[str, str]) -> None:
    """Take a question and never answer it."""
    server.closing.wait(30)


@pytest.mark.parametrize(
    "site",
    [
        always(make_answer(b"<html>challenge</html>", status=403, headers=CHALLENGE | dated(hours=72))),
        always(make_answer(status=401, headers=dated(hours=72))),
        always(make_answer(b"<html>", headers=dated(hours=72))),
        always(make_answer(status=503, headers={"Retry-After": "60"} | dated(hours=72))),
        always(b"HTTP/1.1 nonsense\r\n\r\n"),
        hang,
    ],
    ids=["challenge", "401", "no booru", "throttled", "nonsense", "hangs"],
)
def test_build_from_a_copy_needs_no_site_that_answers(
    settings: Settings, serve: Callable[[Answer], RawServer], tmp_path: Path, site: Answer
) -> None:
    """A site that blocks us, is silent or is none says nothing about the clock: it is asked once, for some seconds."""
    write_files(tmp_path, {"dump/posts.json": lines_of_2021([1, 2])})
    server, began = serve(site), time.monotonic()
    from_a_copy = settings.replace(posts_source="dump", dump=str(tmp_path / "dump"), api_url=server.url)
    for _ in range(2):
        with RunContext(from_a_copy, now=lambda: JANUARY[2021]) as context:
            check_build(context, 2021)
    assert time.monotonic() - began < 20
    assert len(server.requests) in {1, 2}


def test_build_from_a_copy_does_not_wait_until_it_may_ask(
    settings: Settings, serve: Callable[[Answer], RawServer], tmp_path: Path
) -> None:
    """A site that wants to be left alone for a while is left alone."""
    write_files(tmp_path, {"dump/posts.json": lines_of_2021([1, 2])})
    server, began = serve(always(make_answer(b"[]"))), time.monotonic()
    from_a_copy = settings.replace(posts_source="dump", dump=str(tmp_path / "dump"), api_url=server.url)
    with RunContext(from_a_copy, now=lambda: JANUARY[2021]) as context:
        context.client.limiter.slow_down(server.url, 60)
        check_build(context, 2021)
    assert time.monotonic() - began < 20
    assert not server.requests


def test_build_from_a_copy_refuses_a_wrong_clock_where_the_site_answers(
    booru: BooruProcess, settings: Settings, tmp_path: Path
) -> None:
    """What is known is used, wherever the posts come from."""
    write_files(tmp_path, {"dump/posts.json": lines_of_2021([1, 2])})
    booru.set_date(datetime.now(UTC) + timedelta(hours=72))
    from_a_copy = settings.replace(posts_source="dump", dump=str(tmp_path / "dump"))
    with (
        RunContext(from_a_copy, now=lambda: JANUARY[2021]) as context,
        pytest.raises(SettingsError, match=r"\d+ s off .* NTP"),
    ):
        check_build(context, 2021)


def test_clock_is_nobodys_matter_where_nobody_may_be_asked(settings: Settings, tmp_path: Path) -> None:
    """A copy of a public booru, without a contact to ask that with, is built from."""
    write_files(tmp_path, {"dump/posts.json": lines_of_2021([1, 2])})
    nobody = settings.replace(
        posts_source="dump", dump=str(tmp_path / "dump"), api_url="https://booru.invalid", contact=""
    )
    with RunContext(nobody, now=lambda: JANUARY[2021]) as context:
        check_build(context, 2021)


@pytest.mark.parametrize("year", [1971, 2019, 2024, 2040])
def test_site_whose_newest_posts_are_years_off_is_not_followed(
    booru: BooruProcess, settings: Settings, year: int
) -> None:
    """Without a date the posts show that the clock is wrong: an empty root would get all years, or begin too late."""
    now = datetime(year, 1, 1, tzinfo=UTC)
    with (
        altered(booru, lambda record: record) as url,
        following(booru, settings.replace(api_url=url), now) as follower,
        pytest.raises(SettingsError, match=r"by the clock of this machine it is .* NTP"),
    ):
        follow(follower.context)
    assert read_state(follower.layout) is None
    assert not booru.requested_files()


def test_site_that_had_no_post_for_years_is_followed_where_it_says_the_time(
    booru: BooruProcess, settings: Settings
) -> None:
    """Its own clock shows that the machine's is right: there is nothing to follow yet."""
    with following(booru, settings, datetime.now(UTC)) as follower:
        report = follow(follower.context)
    assert (report.posts, report.last_id) == (0, booru.truth(2021)[-1]["id"])


def test_january_begins_behind_the_posts_of_december(booru: BooruProcess, settings: Settings) -> None:
    """A site without a date whose newest posts are of some weeks ago is followed: that is no wrong clock."""
    with (
        altered(booru) as url,
        following(booru, settings.replace(api_url=url), JANUARY[2021]) as follower,
    ):
        assert follow(follower.context).last_id


def test_one_post_of_a_time_to_come_is_no_wrong_clock(booru: BooruProcess, settings: Settings) -> None:
    """An error of the site does not keep a root from beginning with the first post of the running year."""
    newest = booru.truth(2021)[-1]["id"]

    def ahead(record: Record) -> Record:
        return {**record, "created_at": "2099-01-01T00:00:00.000Z"} if record["id"] == newest else record

    with (
        altered(booru, ahead) as url,
        following(booru, settings.replace(api_url=url)) as follower,
    ):
        assert follower.follow(JANUARY[2021]).last_id


def test_clock_that_is_behind_begins_after_the_sweep_that_is_there(begun: Follower, booru: BooruProcess) -> None:
    """Where the root has posts, following begins behind them, whatever year it is by the clock."""
    begun.clock[:] = [datetime(1971, 1, 1, tzinfo=UTC)]
    report, swept = follow(begun.context), read_report(begun.layout, 2021)
    state = read_state(begun.layout)
    assert state is not None
    assert swept is not None
    assert state.start_id == swept.max_id
    assert report.posts == sum(post["id"] > state.start_id for post in booru.truth(2021))


@pytest.mark.parametrize("days", [2, 60])
def test_metadata_of_a_time_to_come_decides_nothing(begun: Follower, booru: BooruProcess, days: int) -> None:
    """A release that was built while the clock was ahead removes no kept file, neither then nor when that time came."""
    said = SPRING + timedelta(days=3 + days)
    publish(begun, 2021, taken_at=said.isoformat())
    path = keep_a_file(begun, old_jpg(booru), SPRING)
    again = begun.follow(SPRING + timedelta(days=1))
    assert (again.kept, path.exists()) == (0, True)
    assert any("dated" in note and "build 2021 again" in note for note in again.notes)
    for night in (1, 2, 40):
        later = begun.follow(said + timedelta(days=night))
        assert (later.kept, path.exists(), bool(begun.layout.follow_parts)) == (0, True, True)
        assert any("dated" in note and "build 2021 again" in note for note in later.notes)
    publish(begun, 2021, taken_at=SUMMER.isoformat())
    assert forget_decided(begun.layout, now=SPRING + timedelta(days=5)) == 0
    assert forget_decided(begun.layout, now=AUTUMN) == 1


@pytest.mark.parametrize("ahead", [timedelta(minutes=3), timedelta(minutes=30), timedelta(hours=23)])
def test_metadata_that_is_as_far_ahead_as_clocks_differ_decides(
    begun: Follower, booru: BooruProcess, ahead: timedelta
) -> None:
    """A clock that was minutes ahead at the build keeps no file, and there is nothing to say."""
    begun.follow(SPRING - timedelta(days=1))
    path = keep_a_file(begun, old_jpg(booru), SPRING)
    publish(begun, 2021, taken_at=(SPRING + timedelta(days=1) + ahead).isoformat())
    os.utime(path, (SPRING.timestamp(), SPRING.timestamp()))
    assert forget_decided(begun.layout, now=SPRING + timedelta(days=1)) == 1
    assert not path.exists()
    assert not begun.follow(SPRING + timedelta(days=1)).notes
    state = read_state(begun.layout)
    assert state is not None
    assert state.disbelieved is None


def test_following_begins_at_the_cutoff_when_the_sweep_is_of_a_time_to_come(
    begun: Follower, booru: BooruProcess
) -> None:
    """Events are read from the end of the swept year on, not from a moment that has still to come."""
    report = read_report(begun.layout, 2021)
    assert report is not None
    write_posts_report(begun.layout, 2021, dataclasses.replace(report, taken_at=SPRING + timedelta(days=300)))
    begun.go_to(SPRING)
    booru.change(old_jpg(booru)["id"], "replaced")
    assert begun.follow(SPRING + timedelta(days=2)).kept == 1


@pytest.mark.parametrize("work", [build, follow])
def test_site_that_does_not_answer_is_no_matter_of_the_clock(settings: Settings, work: Work) -> None:
    """A dead site is named as such."""
    dead = settings.replace(api_url="http://127.0.0.1:9", retry_seconds=0.01)
    with RunContext(dead) as context, pytest.raises(DanbooruPipelineError, match="does not respond"):
        work(context)

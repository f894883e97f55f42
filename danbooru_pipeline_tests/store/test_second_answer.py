"""What a site says of a post for the second time is read as the sweep read it: by a recheck, and by following."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow.parquet as pq
import pytest

from danbooru_pipeline import sources
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.outcomes import Reason, Status
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import apply_updates
from danbooru_pipeline.store.follow import read_state
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger
from danbooru_pipeline.store.originals import build_originals
from danbooru_pipeline_tests.support.altered import (
    Alter,
    altered,
    as_bytes,
    dotted,
    in_address_alone,
    mute,
    silent,
    upper,
)
from danbooru_pipeline_tests.support.buckets import buckets_of, build_all
from danbooru_pipeline_tests.support.followed import SPRING, SUMMER, following
from danbooru_pipeline_tests.support.sites import Record

OTHERWISE = pytest.mark.parametrize("alter", [upper, as_bytes, dotted, in_address_alone])


@contextmanager
def swept(booru: BooruProcess, settings: Settings, alter: Alter) -> Iterator[RunContext]:
    """A root with the posts of 2021 of such a site."""
    with altered(booru, alter) as url, RunContext(settings.replace(api_url=url)) as context:
        sources.bring_posts(context.source, context.layout, 2021, now=context.now(), progress=lambda _line: None)
        sources.split_by_bucket(context.layout, 2021)
        yield context


def ledger(context: RunContext) -> dict[int, LedgerRow]:
    """The rows of all posts of 2021."""
    paths = map(context.layout.ledger, buckets_of(context, 2021))
    return {id_: row for path in paths for id_, row in read_ledger(path).items()}


def shown(booru: BooruProcess, year: int = 2021) -> list[Record]:
    """The posts of a year's January whose files a build takes."""
    wrong = set(booru.kinds(year)["wrong_md5"])
    return [p for p in booru.truth(year) if p.get("md5") and not p.get("is_banned") and p["id"] not in wrong]


@OTHERWISE
def test_gone_file_stays_gone(booru: BooruProcess, settings: Settings, alter: Alter) -> None:
    """A 404 whose post is there as before is a file that is missing, and the metadata stays as it was swept."""
    lost = [post for post in shown(booru) if post["created_at"] < "2021-12-31T19"][:4]
    for post in lost:
        booru.set_fault(post["md5"], "gone")
    with swept(booru, settings, alter) as context:
        before = pq.read_table(context.layout.posts(2021))
        build_all(context, 2021)
        rows = ledger(context)
        assert {rows[post["id"]].reason for post in lost} == {Reason.GONE}
        assert {rows[post["id"]].md5 for post in lost} == {post["md5"] for post in lost}
        assert apply_updates(context.layout, 2021) == 0
        assert pq.read_table(context.layout.posts(2021)).equals(before)


def test_silence_about_a_ban_is_no_leave(booru: BooruProcess, settings: Settings) -> None:
    """Where other rows say who is banned, a post whose row does not is not taken, however often one asks."""
    with swept(booru, settings, silent) as context:
        build_all(context, 2021)
        before = {id_ for id_, row in ledger(context).items() if row.reason is Reason.BAD_ROW}
        assert {post["id"] for post in shown(booru) if post["id"] % 2 == 0} & before
        booru.reset_requests()
        for bucket in buckets_of(context, 2021):
            build_originals(context, bucket, 2021, recheck=frozenset({Reason.BAD_ROW}))
        assert booru.requests()["posts"] > 0
        assert booru.requested_files() == []
        assert {id_ for id_, row in ledger(context).items() if row.reason is Reason.BAD_ROW} == before


@OTHERWISE
def test_following_takes_what_the_sweep_takes(booru: BooruProcess, settings: Settings, alter: Alter) -> None:
    """The files of new posts come whatever the form of their rows, under the MD5 that the site means."""
    with altered(booru, alter) as url, following(booru, settings.replace(api_url=url)) as follower:
        report = follower.follow(SUMMER)
        rows = {post["id"]: follower.row_of(post) for post in shown(booru, 2022)}
        came = {id_: row for id_, row in rows.items() if row is not None}
        assert report.files == len(came) > 3
        assert report.left == 0
        assert {row.status for row in came.values()} == {Status.OK}
        assert {id_: row.md5 for id_, row in came.items()} == {
            post["id"]: post["md5"] for post in shown(booru, 2022) if post["id"] in came
        }


def test_following_takes_no_post_that_does_not_say_whether_it_is_banned(
    booru: BooruProcess, settings: Settings
) -> None:
    """Once a site has said it of a post, no later post is taken without that, though none of its visit says it."""
    says = [True]
    with (
        altered(booru, lambda record: silent(record) if says else mute(record)) as url,
        following(booru, settings.replace(api_url=url)) as follower,
    ):
        assert follower.follow(SPRING).files > 0
        taken = follower.files_and_rows()
        state = read_state(follower.layout)
        assert state is not None
        assert state.says_banned
        assert not [p for p in shown(booru, 2022) if p["id"] % 2 == 0 and follower.row_of(p) is not None]
        says.clear()
        report = follower.follow(SUMMER)
        assert report.posts > 0
        assert (report.files, follower.files_asked) == (0, 0)
        assert follower.files_and_rows() == taken


def test_following_goes_by_what_the_sweep_found_out(booru: BooruProcess, settings: Settings) -> None:
    """A sweep in which posts said whether they are banned judges posts that come after it."""
    with (
        swept(booru, settings, silent) as context,
        altered(booru, mute) as url,
        following(booru, context.settings.replace(api_url=url)) as follower,
    ):
        assert follower.follow(SUMMER).posts > 0
        assert follower.files_asked == 0

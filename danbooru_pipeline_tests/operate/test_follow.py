"""Following as the operator sees it: its status, what the scrub and a release do with what it brought."""

import dataclasses
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import bucket_of
from danbooru_pipeline.operate.doctor import Finding, Health, examine
from danbooru_pipeline.operate.follow import FollowStatus, follow, follow_status, forget_decided, open_follower
from danbooru_pipeline.operate.forecast import forecast_year
from danbooru_pipeline.operate.scrub import scrub_bucket
from danbooru_pipeline.posts.report import read_report, write_posts_report
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.follow import read_state
from danbooru_pipeline.store.follow.seen import read_seen
from danbooru_pipeline_tests.support.followed import (
    AUTUMN,
    JANUARY,
    SPRING,
    SUMMER,
    Follower,
    current,
    following,
    keep_a_file,
    kept,
    new_post,
    old_jpg,
    publish,
)
from danbooru_pipeline_tests.support.imported import as_another_user


@pytest.fixture
def begun(booru: BooruProcess, settings: Settings) -> Iterator[Follower]:
    """A root that has the posts of 2021, but not their files."""
    with following(booru, settings) as follower:
        follower.bring(2021)
        yield follower


def finding(settings: Settings) -> Finding:
    """What the doctor says of following."""
    return next(each for each in examine(settings) if each.name == "follow")


def test_doctor_notices_that_following_stopped(begun: Follower) -> None:
    """Nothing to say before it begins; a run that is long ago is a warning that says what to do."""
    assert finding(begun.settings).health is Health.OK
    begun.follow(SPRING)
    late = finding(begun.settings)
    assert late.health is Health.WARNING
    assert "danbooru-pipeline follow" in late.text
    begun.clock[:] = [datetime.now(UTC)]
    begun.follow()
    assert finding(begun.settings).health is Health.OK


def test_a_dry_run_needs_no_room_and_no_right_to_write(begun: Follower, tmp_path: Path) -> None:
    """What changes nothing is done on a root that is full, and as a user who may only read it; a run is refused."""
    begun.go_to(SPRING)
    foreseen = begun.follow(dry_run=True)
    assert foreseen.files
    full = begun.settings.replace(min_free_bytes=2**62)
    with open_follower(full, now=lambda: SPRING) as context:
        assert follow(context, dry_run=True) == foreseen
        with pytest.raises(StoreError, match="DANBOORU_MIN_FREE_BYTES"):
            follow(context)
    place = Path(os.path.relpath(begun.settings.root, tmp_path))

    def is_foreseen_and_refused() -> bool:
        with open_follower(begun.settings.replace(root=place), now=lambda: SPRING) as context:
            with pytest.raises(StoreError, match="cannot be written"):
                follow(context)
            return follow(context, dry_run=True) == foreseen

    assert as_another_user(tmp_path, is_foreseen_and_refused)


def test_status_says_how_far_it_is(begun: Follower) -> None:
    """Up to which post, how many files, how many are left, when it ran."""
    assert follow_status(begun.layout) is None
    report = begun.follow(SUMMER)
    status = follow_status(begun.layout)
    assert status is not None
    assert (status.last_id, status.files, status.left, status.ran_at) == (report.last_id, report.files, 0, SUMMER)
    assert status.line() == (
        f"followed up to post {report.last_id:,} of 2022-09-15 16:02 UTC: {report.files} files for the next release; "
        "last run 2022-10-01 00:00 UTC"
    )
    assert status.as_dict()["last_id"] == report.last_id
    assert FollowStatus(last_id=1, posts_until=None, files=0, bytes=0, left=2, ran_at=None).line() == (
        "followed up to post 1: 0 files for the next release, 2 did not come; no run has ended yet"
    )


@pytest.mark.parametrize("again", [False, True])
def test_release_decides_about_no_later_post(begun: Follower, booru: BooruProcess, *, again: bool) -> None:
    """A file of the running year stays when the year before is published, and when that is built again in summer."""
    post = new_post(booru)
    begun.follow(SUMMER)
    path = keep_a_file(begun, post, AUTUMN)
    publish(begun, 2021, taken_at=(AUTUMN + timedelta(days=9)).isoformat() if again else JANUARY[2021].isoformat())
    assert forget_decided(begun.layout) == 0
    assert begun.follow(AUTUMN + timedelta(days=10)).kept == 0
    assert path.exists()
    for part in begun.layout.follow_parts:
        part.unlink()  # then the id says of which year a post is
    assert forget_decided(begun.layout) == 0
    begun.bring(2022)
    publish(begun, 2022)
    assert forget_decided(begun.layout) == 1
    assert not path.exists()


def test_copy_decides_about_nothing_after_its_newest_post(begun: Follower, booru: BooruProcess) -> None:
    """A dump that was read in January may have been written before a file was replaced, so that file stays."""
    post = old_jpg(booru)
    begun.build(post, 2021)
    keep_a_file(begun, post, SPRING)
    newest = keep_a_file(begun, post, AUTUMN)
    begun.bring(2022)
    for name, written in (("dump", SUMMER), ("archive", SUMMER), ("bigquery", SPRING - timedelta(days=1))):
        publish(begun, 2022, name=name, max_created_at=written.isoformat())
        assert forget_decided(begun.layout) == int(name == "dump")
    assert newest.exists()


def test_release_decides_by_its_own_sweep(begun: Follower, booru: BooruProcess) -> None:
    """A second sweep that no release was made of decides about nothing, nor does a release that cannot be read."""
    post = old_jpg(booru)
    begun.build(post, 2021)
    publish(begun, 2021)
    path = keep_a_file(begun, post, SPRING)
    report = read_report(begun.layout, 2021)
    assert report is not None
    write_posts_report(begun.layout, 2021, dataclasses.replace(report, taken_at=AUTUMN))
    assert forget_decided(begun.layout) == 0
    publish(begun, 2021)
    begun.layout.release_json(2021).write_text("{")
    assert forget_decided(begun.layout) == 0
    publish(begun, 2021)
    assert forget_decided(begun.layout) == 1
    assert not path.exists()


def test_published_release_has_decided(begun: Follower, booru: BooruProcess) -> None:
    """Kept files from before its sweep are removed once a release is published; later ones are for the next."""
    post = old_jpg(booru)
    begun.build(post, 2021)
    for moment in (SPRING, JANUARY[2022] + timedelta(days=5)):
        if moment > JANUARY[2022]:
            begun.bring(2022)
        begun.go_to(moment)
        booru.change(post["id"], "replaced")
        begun.follow()
    assert len(kept(begun)) == 2
    assert forget_decided(begun.layout) == 0
    publish(begun, 2022)
    assert forget_decided(begun.layout) == 1
    (left,) = kept(begun)
    booru.set_clock(JANUARY[2022] + timedelta(days=6))
    assert str(current_now(booru, post)["md5"]) in left.name
    assert min(read_seen(begun.layout)["created_at"].to_pylist()[-1:]) > JANUARY[2021]


def current_now(booru: BooruProcess, post: dict[str, object]) -> dict[str, object]:
    """A post in the January after 2023, when all that was asked for has happened."""
    return next(each for each in booru.truth(2023) if each["id"] == post["id"])


def rot(path: Path) -> None:
    """Turn one bit."""
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def test_rot_in_a_kept_file_is_found_and_mended(begun: Follower, booru: BooruProcess) -> None:
    """The scrub hashes kept files; a damaged one goes to the quarantine, and the next run fetches it again."""
    post = old_jpg(booru)
    begun.build(post, 2021)
    begun.go_to(SPRING)
    booru.change(post["id"], "replaced")
    begun.follow()
    (path,) = kept(begun)
    whole = path.read_bytes()
    rot(path)
    report = scrub_bucket(begun.context, bucket_of(post["id"]))
    assert (report.damaged, report.repaired) == (1, 0)
    assert path.name in report.left[0]
    assert not path.exists()
    assert begun.follow(SPRING + timedelta(days=1)).kept == 1
    assert path.read_bytes() == whole
    assert scrub_bucket(begun.context, bucket_of(post["id"])).damaged == 0


def test_rot_in_a_followed_file_is_found_and_mended(begun: Follower, booru: BooruProcess) -> None:
    """A damaged file of a coming release is forgotten, since no build can repair it yet, and fetched again."""
    begun.follow(SUMMER)
    post = new_post(booru)
    path = begun.layout.original(post["id"], post["file_ext"])
    whole = path.read_bytes()
    rot(path)
    report = scrub_bucket(begun.context, bucket_of(post["id"]))
    assert (report.damaged, report.repaired) == (1, 0)
    assert "fetches it again" in report.left[0]
    assert begun.row_of(post) is None
    assert begun.follow(AUTUMN).files == 1
    assert path.read_bytes() == whole


def test_scrub_while_following_works_leaves_it_to_the_build(begun: Follower, booru: BooruProcess) -> None:
    """The state of a run that works is not touched."""
    begun.follow(SUMMER)
    post = new_post(booru)
    rot(begun.layout.original(post["id"], post["file_ext"]))
    state = read_state(begun.layout)
    with exclusive(begun.layout.follow_lock):
        scrub_bucket(begun.context, bucket_of(post["id"]))
    assert read_state(begun.layout) == state
    assert current(booru, post)["id"] == post["id"]


def test_plan_knows_what_was_followed(begun: Follower, booru: BooruProcess) -> None:
    """Before the sweep and after it, the forecast leaves out what following has brought."""
    post = old_jpg(booru)
    begun.build(post, 2021)
    begun.go_to(SPRING)
    booru.change(post["id"], "replaced")
    begun.follow()
    begun.clock[:] = [JANUARY[2022]]
    booru.set_clock(JANUARY[2022])
    before = forecast_year(begun.context, 2022)
    begun.bring(2022)
    after = forecast_year(begun.context, 2022)
    wanted = [each for each in booru.truth(2022) if each.get("md5") and each["created_at"] < "2022-12-31T19"]
    held = {path.name.partition(".")[0] for path in begun.layout.store.glob("original/*/[0-9]*")}
    kept_ids = {path.name.partition(".")[0] for path in kept(begun)}
    assert str(post["id"]) in kept_ids
    assert after.files == sum(str(each["id"]) not in held | kept_ids for each in wanted)
    assert before.files < 10  # those after the last post that was followed, by the density of ids

"""Following the running year: files come ahead of their release, and nothing else changes."""

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.errors import SourceError, StoreError
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import bucket_of
from danbooru_pipeline.outcomes import Status
from danbooru_pipeline.posts.report import read_report, write_posts_report
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.follow import compare_with_sweep, read_state
from danbooru_pipeline.store.follow.seen import read_seen
from danbooru_pipeline.store.follow.state import MAX_TRIES, write_state
from danbooru_pipeline.store.ledger import read_ledger
from danbooru_pipeline.store.planning import plan_stored_bucket
from danbooru_pipeline.years import cutoff
from danbooru_pipeline_tests.support.altered import altered
from danbooru_pipeline_tests.support.followed import (
    AUTUMN,
    JANUARY,
    SPRING,
    SUMMER,
    Follower,
    content_of,
    current,
    following,
    new_post,
    old_jpg,
)


@pytest.fixture
def follower(booru: BooruProcess, settings: Settings) -> Iterator[Follower]:
    """An empty root; it follows from the start of the running year."""
    with following(booru, settings) as follower:
        yield follower


@pytest.fixture
def begun(follower: Follower) -> Follower:
    """A root that has the posts of 2021, but not their files."""
    follower.bring(2021)
    return follower


def test_new_files_come_as_a_build_stores_them(follower: Follower, booru: BooruProcess) -> None:
    """Each visible post of the running year gets its file, its 512px image and a row of the coming release."""
    report = follower.follow(SUMMER)
    new = ((post, datetime.fromisoformat(post["created_at"])) for post in booru.truth(2022))
    seen = [post for post, at in new if at.astimezone(UTC).year == 2022 and at < SUMMER - timedelta(hours=12)]
    visible = [post for post in seen if post.get("md5")]
    assert report.posts == len(seen)
    assert report.files == len(visible) > 3
    for post in visible:
        row = follower.row_of(post)
        assert row is not None
        assert (row.status, row.first_release, row.md5) == (Status.OK, 2022, post["md5"])
        assert follower.layout.original(post["id"], row.held_ext or "").stat().st_size == row.size
        assert (row.px512_sha256 is not None) == follower.layout.px512(post["id"]).exists()
    assert all(follower.row_of(post) is None for post in seen if not post.get("md5"))
    assert report.left == 0
    assert follower.layout.metadata_years == []


def test_second_run_asks_for_no_file_and_changes_nothing(follower: Follower, booru: BooruProcess) -> None:
    """What is there is not asked for again, and the store stays as it is."""
    follower.follow(SUMMER)
    before = follower.files_and_rows()
    again = follower.follow()
    assert (again.posts, again.files, follower.files_asked) == (0, 0, 0)
    assert follower.files_and_rows() == before


def test_uploads_settle_first(follower: Follower, booru: BooruProcess) -> None:
    """A post is left alone for twelve hours, and followed after them."""
    post = new_post(booru)
    created = datetime.fromisoformat(post["created_at"]).astimezone(UTC)
    follower.follow(created + timedelta(hours=11))
    assert follower.row_of(post) is None
    assert follower.follow(created + timedelta(hours=13)).files == 1
    assert follower.row_of(post) is not None


def test_gap_is_closed(follower: Follower, booru: BooruProcess) -> None:
    """After months without a run nothing is skipped: all posts of the gap are there, and what was replaced in it."""
    follower.follow(SPRING)
    known = old = new_post(booru, before=SPRING)
    follower.go_to(SUMMER)
    booru.change(known["id"], "replaced")
    report = follower.follow(AUTUMN + timedelta(days=60))
    state = read_state(follower.layout)
    assert state is not None
    posts = [p for p in booru.truth(2022) if p.get("md5") and SPRING.isoformat() < p["created_at"] < "2022-11-29"]
    assert posts
    assert all(follower.row_of(post) is not None for post in posts)
    assert report.kept == 1
    row = follower.row_of(known)
    assert row is not None
    assert row.md5 == old["md5"]


def test_replaced_file_of_a_release_stays(begun: Follower, booru: BooruProcess) -> None:
    """The file and row of an earlier release are left as they are; the new file is kept under its MD5."""
    post = old_jpg(booru)
    begun.build(post, 2021)
    before = content_of(begun.layout.store)
    begun.go_to(SPRING)
    booru.change(post["id"], "replaced")
    begun.follow()
    new = current(booru, post)
    kept = begun.layout.replaced(post["id"], new["md5"], new["file_ext"])
    assert kept.exists()
    after = content_of(begun.layout.store)
    for name in (f"original/{bucket_of(post['id'])}/{post['id']}.jpg", f"ledger/{bucket_of(post['id'])}.parquet"):
        assert after[name] == before[name]
    booru.set_year(2021)  # an earlier release is built again: as if nothing had been followed
    booru.reset_requests()
    report = begun.build(post, 2021)
    assert (report.requests, report.changed, begun.files_asked) == (0, 0, 0)
    assert content_of(begun.layout.store) == after


def test_followed_posts_are_not_counted_in_an_earlier_release(begun: Follower, booru: BooruProcess) -> None:
    """A build of the year before sees no post of the running year, in its plan or in its report."""
    begun.follow(SUMMER)
    post = new_post(booru)
    bucket = bucket_of(post["id"])
    plan = plan_stored_bucket(
        begun.layout, bucket, 2021, ledger=read_ledger(begun.layout.ledger(bucket)), exclude_tags=frozenset()
    )
    assert [row.id for row in plan.keep] == [post["id"]]
    assert (plan.fetch, plan.settle, plan.recheck) == ((), (), ())
    report = begun.build(post, 2021)
    assert (report.posts, report.files, report.bytes_stored) == (0, 0, 0)


@pytest.mark.parametrize("is_new", [False, True])
def test_january_finds_what_was_replaced(begun: Follower, booru: BooruProcess, *, is_new: bool) -> None:
    """A post that was replaced twice in the year costs January no request, and gets the file that the sweep names."""
    post = new_post(booru, before=SPRING) if is_new else old_jpg(booru)
    begun.build(post, 2021)
    begun.follow(SPRING)
    for moment in (SUMMER, AUTUMN):
        begun.go_to(moment)
        booru.change(post["id"], "replaced")
        begun.follow()
    begun.bring(2022)
    booru.reset_requests()
    begun.build(post, 2022)
    row, last = begun.row_of(post), current(booru, post)
    assert row is not None
    assert (row.status, row.md5, row.first_release) == (Status.OK, last["md5"], 2022 if is_new else 2021)
    assert begun.files_asked == 0


def test_file_that_came_back_is_there(begun: Follower, booru: BooruProcess) -> None:
    """Where the site took a replacement back, the release has the first file again without a request."""
    post = old_jpg(booru)
    begun.build(post, 2021)
    for moment, revision in ((SPRING, None), (SUMMER, 0)):
        begun.go_to(moment)
        booru.change(post["id"], "replaced", revision=revision)
        begun.follow()
    begun.bring(2022)
    booru.reset_requests()
    begun.build(post, 2022)
    row = begun.row_of(post)
    assert row is not None
    assert row.md5 == post["md5"] == current(booru, post)["md5"]
    assert begun.files_asked == 0


def test_release_gets_the_file_that_its_metadata_names_though_it_is_gone(begun: Follower, booru: BooruProcess) -> None:
    """Metadata names the second of three files, as an old dump does: the site has lost that file, the store has it."""
    post = old_jpg(booru)
    begun.build(post, 2021)
    begun.go_to(SPRING)
    booru.change(post["id"], "replaced")
    begun.follow()
    second = current(booru, post)
    begun.bring(2022)  # as a dump of that moment says it
    begun.go_to(SUMMER)
    booru.change(post["id"], "replaced")
    begun.go_to(AUTUMN)
    booru.reset_requests()
    begun.build(post, 2022)
    row = begun.row_of(post)
    assert row is not None
    assert (row.status, row.md5, begun.files_asked) == (Status.OK, second["md5"], 0)


def test_file_replaced_before_it_settled_is_kept_too(begun: Follower, booru: BooruProcess) -> None:
    """A post that got another file within twelve hours has both: the site names the old one for thirty days."""
    post = new_post(booru)
    created = datetime.fromisoformat(post["created_at"]).astimezone(UTC)
    begun.follow(created - timedelta(days=1))
    begun.go_to(created + timedelta(hours=2))
    booru.change(post["id"], "replaced")
    begun.go_to(created + timedelta(hours=5))
    booru.change(old_jpg(booru)["id"], "deleted")
    for hours in (6, 13):  # the replacement is told of, and is long over when the post has settled
        begun.follow(created + timedelta(hours=hours))
    row = begun.row_of(post)
    assert row is not None
    assert row.md5 == current(booru, post)["md5"] != post["md5"]
    assert begun.layout.replaced(post["id"], post["md5"], post["file_ext"]).exists()


@pytest.mark.parametrize("kind", ["banned", "deleted", "expunged"])
def test_what_moderators_did_is_seen(begun: Follower, booru: BooruProcess, kind: str) -> None:
    """A ban and a deletion are seen in the night, and no file is asked for; what is left is January's to find."""
    begun.follow(SPRING)
    post = new_post(booru, before=SPRING)
    begun.go_to(SUMMER)
    booru.change(post["id"], kind)
    begun.follow()
    assert not any(post["md5"] in name for name in booru.requested_files())
    seen = next(row for row in read_seen(begun.layout).to_pylist() if row["id"] == post["id"])
    assert seen["is_banned"] == (kind == "banned")
    assert seen["is_deleted"] == (kind == "deleted" or post["is_deleted"])
    begun.bring(2022)
    missed = compare_with_sweep(begun.layout, 2022)
    assert missed is not None
    assert (missed.hidden, missed.deleted, missed.expunged) == (0, 0, int(kind == "expunged"))


@pytest.mark.parametrize("has_sweep", [True, False])
def test_account_that_is_shown_less_sees_nothing_expunged(
    booru: BooruProcess, settings: Settings, *, has_sweep: bool
) -> None:
    """A post that something happened to, and that this account is not shown any more, is not noted as expunged."""
    hidden: set[str] = set()
    with (
        altered(booru, lambda record: None if record["rating"] in hidden else record) as url,
        following(booru, settings.replace(api_url=url)) as follower,
    ):
        if has_sweep:
            follower.bring(2021)
        follower.follow(SUMMER)
        post = new_post(booru)
        follower.go_to(AUTUMN)
        booru.change(post["id"], "deleted")
        hidden.add(post["rating"])
        assert follower.follow().expunged == 0
        hidden.clear()
        assert follower.follow().expunged == 0
        seen = next(row for row in read_seen(follower.layout).to_pylist() if row["id"] == post["id"])
        assert (seen["is_deleted"], seen["is_expunged"]) == (True, False)
        state = read_state(follower.layout)
        assert state is not None
        assert post["rating"] in state.kinds


def test_what_following_missed_is_counted(begun: Follower, booru: BooruProcess) -> None:
    """January's sweep is held against what was followed: later posts, other files, posts that were hidden."""
    begun.follow(SUMMER)
    first, second, third = [
        post for post in booru.truth(2022) if post.get("md5") and "2022-01-12" < post["created_at"] < "2022-09-28"
    ][:3]
    begun.go_to(AUTUMN)
    for post, kind in ((first, "replaced"), (second, "banned"), (third, "deleted")):
        booru.change(post["id"], kind)
    later = [
        p for p in booru.truth(2022) if SUMMER.isoformat() <= p["created_at"] and p["created_at"] < "2022-12-31T19"
    ]
    begun.bring(2022)
    missed = compare_with_sweep(begun.layout, 2022)
    assert missed is not None
    assert (missed.files, missed.hidden, missed.deleted, missed.expunged) == (1, 1, 1, 0)
    assert abs(missed.posts - len(later)) <= 1  # the last post before New Year may be on either side
    assert f"{missed.posts} new posts" in missed.line()
    assert missed.as_numbers()["following_missed_files"] == 1


def test_dry_run_counts_and_changes_nothing(begun: Follower, booru: BooruProcess) -> None:
    """A dry run requests no file and writes nothing; the run after it does what it said."""
    begun.go_to(SUMMER)
    before = content_of(begun.layout.root)
    told = begun.follow(dry_run=True)
    assert begun.files_asked == 0
    assert content_of(begun.layout.root) == before
    done = begun.follow()
    assert (told.posts, told.files, told.kept, told.last_id) == (done.posts, done.files, done.kept, done.last_id)
    assert told.lines()[1].startswith("would fetch")


@pytest.mark.parametrize("fault", ["gone", "corrupt", "truncate"])
def test_file_that_does_not_come_leaves_no_trace(begun: Follower, booru: BooruProcess, fault: str) -> None:
    """No row speaks of it, so January decides alone; the next run asks again and takes it."""
    post = new_post(booru)
    booru.set_fault(post["md5"], fault)
    report = begun.follow(SUMMER)
    assert (report.left, begun.row_of(post)) == (1, None)
    assert not begun.layout.original(post["id"], post["file_ext"]).exists()
    assert not begun.layout.px512(post["id"]).exists()
    booru.clear_faults()
    again = begun.follow()
    assert (again.files, again.left) == (1, 0)
    assert begun.row_of(post) is not None


def test_file_that_never_comes_is_given_up(begun: Follower, booru: BooruProcess) -> None:
    """After some nights a file is left to the build, which asks once more; the report goes on counting it."""
    post = new_post(booru)
    booru.set_fault(post["md5"], "gone")
    asked, reports = [], []
    for night in range(MAX_TRIES + 2):
        reports.append(begun.follow(SUMMER + timedelta(days=night)))
        asked.append(any(post["md5"] in name for name in booru.requested_files()))
    assert asked == [True] * MAX_TRIES + [False] * 2
    assert [report.left for report in reports] == [1] * (MAX_TRIES - 1) + [0] * 3
    assert [report.given_up for report in reports] == [0] * (MAX_TRIES - 1) + [1] * 3
    begun.bring(2022)
    after = begun.follow(JANUARY[2022])
    assert (after.left, after.given_up) == (0, 0)


def test_dead_site_stops_the_run_and_loses_nothing(begun: Follower, booru: BooruProcess) -> None:
    """A site that fails ends the run with its error; the next one goes on where the last one was whole."""
    begun.follow(SPRING)
    state = read_state(begun.layout)
    begun.go_to(SUMMER)
    booru.set_fault("posts", "error")
    with pytest.raises(SourceError):
        begun.follow()
    assert read_state(begun.layout) == state
    booru.clear_faults()
    begun.follow()
    assert begun.row_of(new_post(booru)) is not None


def test_excluded_tags_are_left_alone(follower: Follower, booru: BooruProcess) -> None:
    """The operator's tags keep files out while following as they do in a build."""
    post = new_post(booru)
    settings = follower.settings.replace(exclude_tags=(post["tag_string"].split()[0],))
    with following(booru, settings) as other:
        other.follow(SUMMER)
        assert other.row_of(post) is None


def test_state_of_another_site_is_refused(follower: Follower) -> None:
    """The state of another site stops the run with one line that says what to do."""
    follower.follow(SPRING)
    text = follower.layout.follow_state.read_text()
    follower.layout.follow_state.write_text(text.replace(follower.settings.api_url, "https://other.example"))
    with pytest.raises(StoreError, match=r"https://other.example.*remove"):
        follower.follow(SUMMER)


def test_damage_costs_pages_and_no_file(begun: Follower, booru: BooruProcess) -> None:
    """A damaged state is set aside and following begins anew; what it saw makes a figure, and stops nothing."""
    begun.follow(SUMMER)
    before = begun.files_and_rows()
    begun.layout.follow_state.write_text("{")
    for part in begun.layout.follow_parts:
        part.write_bytes(b"PAR1")
    begun.follow(dry_run=True)
    assert begun.layout.follow_state.read_text() == "{"
    assert begun.follow().posts > 3
    assert not booru.requested_files()
    assert begun.files_and_rows() == before
    assert len(list(begun.layout.follow.glob("state.json.damaged-*"))) == 1
    assert compare_with_sweep(begun.layout, 2021) is not None


def test_two_runs_do_not_meet(follower: Follower) -> None:
    """A second run is refused while the first one works; a dry run is not."""
    follower.go_to(SPRING)
    with exclusive(follower.layout.follow_lock):
        with pytest.raises(StoreError, match="another run follows"):
            follower.follow()
        follower.follow(dry_run=True)


def test_sweep_overtakes_following(begun: Follower, booru: BooruProcess) -> None:
    """Posts that a sweep has read since are of its release; following goes on after them."""
    begun.follow(SPRING)
    begun.bring(2022)
    report = begun.follow(JANUARY[2022])
    years = {int(post["created_at"][:4]) for post in booru.truth(2022) if post["id"] <= report.last_id}
    assert report.posts < 10
    assert max(years) == 2023


def test_post_with_an_id_too_high_for_its_time_hides_none_below_it(begun: Follower, booru: BooruProcess) -> None:
    """A sweep whose last post was imported above posts of the next year: all of these are followed, and none missed."""
    new = [post for post in booru.truth(2022) if cutoff(2021) < datetime.fromisoformat(post["created_at"]) < SPRING]
    report = read_report(begun.layout, 2021)
    assert report is not None
    odd = dataclasses.replace(report, max_id=new[-1]["id"], first_beyond=new[0]["id"])
    write_posts_report(begun.layout, 2021, odd)
    begun.follow(SUMMER)
    assert len(new) > 3
    assert all(begun.row_of(post) is not None for post in new if post.get("md5"))
    begun.bring(2022)
    missed = compare_with_sweep(begun.layout, 2022)
    assert missed is not None
    later = [p for p in booru.truth(2022) if SUMMER.isoformat() <= p["created_at"] < "2022-12-31T19"]
    assert abs(missed.posts - len(later)) <= 1  # the last post before New Year may be on either side


def test_posts_that_an_earlier_version_skipped_count_as_missed(begun: Follower, booru: BooruProcess) -> None:
    """Following that began too high is told of by the figure: posts of the year are new whatever their ids."""
    begun.follow(SPRING)
    state = read_state(begun.layout)
    assert state is not None
    first = new_post(booru)
    write_state(begun.layout, dataclasses.replace(state, start_id=first["id"], last_id=first["id"]))
    for part in begun.layout.follow_parts:
        part.unlink()
    begun.follow(SUMMER)
    begun.bring(2022)
    missed = compare_with_sweep(begun.layout, 2022)
    assert missed is not None
    known = set(read_seen(begun.layout)["id"].to_pylist())
    expected = {
        p["id"] for p in booru.truth(2022) if cutoff(2021) < datetime.fromisoformat(p["created_at"]) <= cutoff(2022)
    }
    assert first["id"] in expected - known
    assert missed.posts == len(expected - known)


def test_layout_of_kept_files_is_closed(follower: Follower) -> None:
    """A path of a kept file is made from an id, an MD5 and an extension of the list, and from nothing else."""
    layout, md5 = follower.layout, "0" * 32
    assert layout.replaced(1234, md5, "png") == layout.store / f"replaced/0234/1234.{md5}.png"
    wrong: list[tuple[Any, ...]] = [
        (1, "../../x", "png"),
        (1, md5, "exe"),
        (0, md5, "png"),
        (1, md5.upper() + "A", "png"),
    ]
    for arguments in wrong:
        with pytest.raises(ValueError, match=r"extension|MD5|positive"):
            layout.replaced(*arguments)


@pytest.mark.parametrize("kind", ["deleted", "replaced"])
def test_time_ahead_of_the_clock_blinds_no_later_run(begun: Follower, booru: BooruProcess, kind: str) -> None:
    """A site whose clock ran forty days ahead for a while is followed from the own clock on."""
    post = old_jpg(booru)
    begun.build(post, 2021)
    begun.follow(SPRING)
    booru.set_clock(SPRING + timedelta(days=40))
    booru.change(new_post(booru, before=SPRING)["id"], kind)
    begun.follow()
    state = read_state(begun.layout)
    assert state is not None
    assert state.changes_until <= SPRING
    begun.go_to(SPRING + timedelta(days=5))
    booru.change(post["id"], "replaced")
    assert begun.follow().kept == 1


def test_state_ahead_of_the_clock_goes_back_as_far_as_the_site_keeps_files(
    begun: Follower, booru: BooruProcess
) -> None:
    """A state that an earlier version moved into the future is brought back, and misses no file that is still there."""
    post = old_jpg(booru)
    begun.build(post, 2021)
    begun.follow(SPRING)
    booru.change(post["id"], "replaced")
    state = read_state(begun.layout)
    assert state is not None
    write_state(begun.layout, dataclasses.replace(state, changes_until=SPRING + timedelta(days=9999)))
    assert begun.follow(SPRING + timedelta(days=20)).kept == 1


@pytest.mark.parametrize("answer", [(404, b"{}"), (410, b"{}"), (422, b"{}"), (200, b"[]")])
@pytest.mark.parametrize("down", ["/post_events.json", "/post_replacements.json"])
def test_feed_that_is_down_for_a_night_is_read_from_where_it_was(
    booru: BooruProcess, settings: Settings, down: str, answer: tuple[int, bytes]
) -> None:
    """While one feed tells nothing, the other one goes on, and what the first one had to tell is told later."""
    instead: dict[str, tuple[int, bytes]] = {}
    with (
        altered(booru, lambda record: record, instead=instead) as url,
        following(booru, settings.replace(api_url=url)) as follower,
    ):
        follower.bring(2021)
        old = old_jpg(booru)
        follower.build(old, 2021)
        follower.follow(SPRING)
        deleted = next(p for p in booru.truth(2021) if p.get("md5") and not p["is_deleted"] and p["id"] != old["id"])
        is_events = down == "/post_events.json"
        for day, (id_, kind) in enumerate(
            ((deleted["id"], "deleted"), (old["id"], "replaced"))[:: 1 if is_events else -1]
        ):
            follower.go_to(SPRING + timedelta(days=1 + 2 * day))
            booru.change(id_, kind)
        instead[down] = answer
        follower.follow(SPRING + timedelta(days=4))
        instead.clear()
        follower.follow(SPRING + timedelta(days=10))
        seen = {row["id"]: row["is_deleted"] for row in read_seen(follower.layout).to_pylist()}
        assert seen.get(deleted["id"])
        assert seen.get(old["id"]) is not None
        new = current(booru, old)
        assert follower.layout.replaced(old["id"], new["md5"], new["file_ext"]).exists()


def test_state_of_an_earlier_version_goes_on(begun: Follower, booru: BooruProcess) -> None:
    """A state with one time for both feeds is read, and what happened since is seen."""
    post = old_jpg(booru)
    begun.build(post, 2021)
    begun.follow(SPRING)
    state = json.loads(begun.layout.follow_state.read_bytes())
    for name in ("events_until", "replacements_until", "kinds"):
        del state[name]
    begun.layout.follow_state.write_text(json.dumps(state))
    begun.go_to(SPRING + timedelta(days=1))
    booru.change(post["id"], "replaced")
    assert begun.follow(SPRING + timedelta(days=2)).kept == 1


def test_killed_step_is_repeated_without_a_second_request(follower: Follower, booru: BooruProcess) -> None:
    """Without the state of the last step everything is read again, and no file is asked for again."""
    follower.follow(SPRING)
    state = follower.layout.follow_state.read_bytes()
    follower.follow(SUMMER)
    before = follower.files_and_rows()
    follower.layout.follow_state.write_bytes(state)
    again = follower.follow()
    assert follower.files_asked == 0
    assert again.posts > 0
    assert follower.files_and_rows() == before

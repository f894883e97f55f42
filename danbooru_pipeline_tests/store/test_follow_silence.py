"""Following a site that does not answer for a night: nothing is forgotten, and nothing is asked for ever."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.errors import SourceError
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.follow import FollowReport, read_state
from danbooru_pipeline.store.follow.state import MAX_TRIES
from danbooru_pipeline_tests.support.altered import BY_IDS, altered
from danbooru_pipeline_tests.support.followed import JANUARY, SPRING, Follower, current, following, new_post, old_jpg
from danbooru_pipeline_tests.support.sites import Record


@dataclass
class Night:
    """A root that follows a site which can be made to answer questions by ids otherwise.

    Attributes:
        instead: the answer to them; empty while the site answers.
    """

    follower: Follower
    instead: dict[str, tuple[int, bytes]]

    @property
    def booru(self) -> BooruProcess:
        """The site as it is."""
        return self.follower.booru

    def replace(self, post: Record, *, days: float) -> None:
        """Let a post get another file, so many days after the first run."""
        self.follower.go_to(SPRING + timedelta(days=days))
        self.booru.change(post["id"], "replaced")

    def follow(self, *, days: float) -> FollowReport:
        """Follow, so many days after the first run."""
        return self.follower.follow(SPRING + timedelta(days=days))

    def waiting(self) -> set[int]:
        """Posts that nothing was answered about: those of a test, and one that the overlap with the first run names."""
        state = read_state(self.follower.layout)
        assert state is not None
        return set(state.waiting)

    def has_new_file_of(self, post: Record) -> bool:
        """Whether the file that a post has in the end is kept."""
        new = current(self.booru, post)
        return self.follower.layout.replaced(post["id"], new["md5"], new["file_ext"]).exists()


@pytest.fixture
def night(booru: BooruProcess, settings: Settings) -> Iterator[Night]:
    """A root with the posts of 2021 that has followed once, in spring."""
    instead: dict[str, tuple[int, bytes]] = {}
    with (
        altered(booru, lambda record: record, instead=instead) as url,
        following(booru, settings.replace(api_url=url, retry_seconds=0.5)) as follower,
    ):
        follower.bring(2021)
        follower.build(old_jpg(booru), 2021)
        follower.follow(SPRING)
        yield Night(follower, instead)


def two_posts(booru: BooruProcess) -> tuple[Record, Record]:
    """A post of 2021 whose file is held, and one of 2022 that the first run brought."""
    return old_jpg(booru), new_post(booru, before=SPRING)


@pytest.mark.parametrize(
    "answer", [(404, b"{}"), (410, b"{}"), (422, b"{}"), (400, b""), (302, b""), (403, b""), (500, b"")]
)
def test_refused_questions_are_like_silence_and_are_asked_again(night: Night, answer: tuple[int, bytes]) -> None:
    """The posts wait in the state, new posts come all the same, and the run says with which status it was refused."""
    posts = two_posts(night.booru)
    for number, post in enumerate(posts):
        night.replace(post, days=1 + 0.6 * number)
    night.instead[BY_IDS] = answer
    refused = night.follow(days=100)
    waiting = night.waiting()
    assert waiting >= {post["id"] for post in posts}
    assert (refused.unanswered, refused.changed, refused.expunged) == (len(waiting), 0, 0)
    assert f"HTTP {answer[0]}" in refused.refused
    assert refused.refused in refused.lines()
    settled = SPRING + timedelta(days=100 - 1)
    later = [p for p in night.booru.truth(2022) if SPRING < datetime.fromisoformat(p["created_at"]) < settled]
    assert refused.posts >= len(later) > 0
    night.instead.clear()
    again = night.follow(days=101)
    assert (again.kept, again.unanswered, again.refused) == (2, 0, "")
    assert all(map(night.has_new_file_of, posts))


def test_site_that_always_refuses_the_question_is_followed_by_its_new_posts(night: Night) -> None:
    """Known posts are given up after so many runs, new posts never are, and every run that was refused says so."""
    night.replace(old_jpg(night.booru), days=1)
    night.instead[BY_IDS] = (422, b"{}")
    reports = [night.follow(days=2 + 9 * number) for number in range(MAX_TRIES + 2)]
    found = sum(report.posts for report in reports)
    settled = SPRING + timedelta(days=2 + 9 * (MAX_TRIES + 1) - 1)
    assert found >= sum(SPRING < datetime.fromisoformat(p["created_at"]) < settled for p in night.booru.truth(2022)) > 0
    assert all("HTTP 422" in report.refused for report in reports[:MAX_TRIES])
    assert [bool(report.unanswered) for report in reports[: MAX_TRIES + 1]] == [True] * (MAX_TRIES - 1) + [False] * 2
    assert reports[MAX_TRIES - 1].never_answered


def test_site_that_refuses_us_is_not_followed(night: Night) -> None:
    """A site that refuses everything ends the run, and the next one takes what the feeds told of and the new posts."""
    night.replace(old_jpg(night.booru), days=1)
    before = read_state(night.follower.layout)
    night.instead["/posts.json"] = night.instead[BY_IDS] = (403, b"")
    with pytest.raises(SourceError, match="HTTP 403"):
        night.follow(days=2)
    state = read_state(night.follower.layout)
    assert before is not None
    assert state is not None
    assert state.last_id == before.last_id
    night.instead.clear()
    assert night.follow(days=3).kept == 1


@pytest.mark.parametrize("answer", [b"[]", b'{"success": false}', b"[1]"])
def test_posts_that_nothing_was_said_about_are_asked_about_again(night: Night, answer: bytes) -> None:
    """An empty answer is none: the posts wait in the state, however far the feeds moved on, and the run says so."""
    posts = two_posts(night.booru)
    for number, post in enumerate(posts):
        night.replace(post, days=1 + 0.6 * number)
    night.instead[BY_IDS] = (200, answer)
    silent = night.follow(days=2)
    waiting = night.waiting()
    assert waiting >= {post["id"] for post in posts}
    assert (silent.unanswered, silent.changed, silent.expunged, silent.never_answered) == (len(waiting), 0, 0, 0)
    assert f"nothing was answered about {len(waiting)} posts; the next run asks again" in silent.lines()
    night.instead.clear()
    night.follower.go_to(SPRING + timedelta(days=3))
    other = next(
        p for p in night.booru.truth(2021) if p.get("md5") and p["id"] != posts[0]["id"] and not p["is_deleted"]
    )
    night.booru.change(other["id"], "deleted")
    assert night.follow(days=5).unanswered == 0
    assert all(map(night.has_new_file_of, posts))


def test_post_that_is_never_answered_about_is_left_to_the_sweep(night: Night) -> None:
    """It is asked about on so many runs and no more, and the last of them says that it gave up."""
    post = old_jpg(night.booru)
    night.replace(post, days=1)
    night.instead[BY_IDS] = (200, b"[]")
    reports, waits = [], []
    for number in range(MAX_TRIES + 1):
        reports.append(night.follow(days=2 + number))
        waits.append(post["id"] in night.waiting())
    assert waits == [True] * (MAX_TRIES - 1) + [False] * 2
    named = reports[0].unanswered
    assert [report.never_answered for report in reports] == [0] * (MAX_TRIES - 1) + [named, 0]
    line = f"{named} posts got no answer on {MAX_TRIES} runs; the sweep in January finds what became of them"
    assert line in reports[MAX_TRIES - 1].lines()


def test_old_file_of_a_post_that_was_silent_comes_with_its_answer(night: Night) -> None:
    """A post that was replaced twice in a silent night has both files kept by the next one."""
    post = new_post(night.booru, before=SPRING)
    night.replace(post, days=1)
    night.replace(post, days=1.5)
    night.instead[BY_IDS] = (200, b"[]")
    night.follow(days=2)
    assert post["id"] in night.waiting()
    night.instead.clear()
    assert night.follow(days=9).kept == 2


def test_file_of_an_earlier_release_that_did_not_come_is_asked_for_again(night: Night) -> None:
    """A sweep that is known already does not make following forget the new file of one of its posts."""
    post = old_jpg(night.booru)
    night.replace(post, days=1)
    night.booru.set_fault(current(night.booru, post)["md5"], "gone")
    assert night.follow(days=2).left == 1
    night.booru.clear_faults()
    night.replace(new_post(night.booru, before=SPRING), days=4)
    assert night.follow(days=5).left == 0
    assert night.follow(days=9).left == 0
    assert night.has_new_file_of(post)


def test_new_sweep_ends_the_wait_for_files_and_not_for_answers(night: Night) -> None:
    """Files of the swept year are left to its build; what became of a post since the sweep is still asked about."""
    post = old_jpg(night.booru)
    night.replace(post, days=1)
    night.instead[BY_IDS] = (200, b"[]")
    night.follow(days=2)
    night.instead.clear()
    night.follower.bring(2022)
    assert night.follower.follow(JANUARY[2022]).unanswered == 0
    assert night.has_new_file_of(post)

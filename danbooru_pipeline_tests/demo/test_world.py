"""The demo's posts and their history."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from danbooru_pipeline.demo.site.records import format_time
from danbooru_pipeline.demo.site.world import AWKWARD, World
from danbooru_pipeline.years import cutoff

SIZES = (1, 2, 5, 12, 40, 400)


@pytest.mark.parametrize("posts", SIZES)
def test_first_year_has_the_requested_number_of_posts(posts: int) -> None:
    """There are exactly as many posts as requested up to the cutoff of 2021, and a few after it."""
    shown = World(posts).as_of(2021)
    assert sum(post.created_at <= cutoff(2021) for post in shown) == posts
    assert len(shown) > posts


@pytest.mark.parametrize("posts", SIZES)
@pytest.mark.parametrize("year", [2019, 2021, 2022, 2024])
def test_ids_and_times_ascend(posts: int, year: int) -> None:
    """A higher id never has an earlier time, and no id occurs twice."""
    shown = World(posts).as_of(year)
    assert [post.id for post in shown] == sorted({post.id for post in shown})
    assert [post.created_at for post in shown] == sorted(post.created_at for post in shown)


@pytest.mark.parametrize("year", [2021, 2022, 2023])
def test_year_has_posts_on_both_sides_of_its_cutoff(year: int) -> None:
    """One post is a tenth of a second before the cutoff, and the next half an hour after it."""
    times = [format_time(post.created_at) for post in World(40).as_of(year)]
    assert f"{year}-12-31T18:59:59.900-05:00" in times
    assert f"{year}-12-31T19:30:00.000-05:00" in times


def test_full_size_world_fills_every_bucket() -> None:
    """With 3200 posts every one of the 1000 buckets has posts in every year, and few ids are missing."""
    world = World(3200)
    for year in (2021, 2022, 2023):
        shown = world.as_of(year)
        assert len({post.id % 1000 for post in shown}) == 1000
        assert 0.01 < 1 - len(shown) / shown[-1].id < 0.04


def test_kinds_follow_their_shares() -> None:
    """Slightly more than half of the files are JPG, a third PNG, and every awkward kind occurs."""
    posts = World(3200).as_of(2021)
    exts = Counter(post.kind.ext for post in posts)
    assert 0.50 < exts["jpg"] / len(posts) < 0.60
    assert 0.28 < exts["png"] / len(posts) < 0.37
    assert set(AWKWARD) <= {post.kind for post in posts}


@pytest.mark.parametrize("posts", [40, 400])
def test_year_changes_something_of_each_kind(posts: int) -> None:
    """In 2022 posts are expunged, replaced with another extension, banned, deleted, re-rated and retagged."""
    world = World(posts)
    before, after = ({post.id: post for post in world.as_of(year)} for year in (2021, 2022))
    kept = [(before[i], after[i]) for i in before if i in after]
    assert world.expunged(2022)
    assert any(old.kind.ext != new.kind.ext and new.revision == old.revision + 1 for old, new in kept)
    assert any(not old.is_banned and new.is_banned for old, new in kept)
    assert any(not old.is_deleted and new.is_deleted for old, new in kept)
    assert any(old.tags != new.tags for old, new in kept)
    assert any(old.rating == "s" and new.rating == "q" for old, new in kept)
    assert any(old.rating in "qe" and new.rating in "gs" for old, new in kept)


def test_general_comes_with_2022() -> None:
    """No post is rated general as of 2021; new posts and a few old ones are as of 2022."""
    world = World(400)
    assert {post.rating for post in world.as_of(2021)} == set("sqe")
    later = world.as_of(2022)
    assert {post.rating for post in later} == set("gsqe")
    assert {post.rating for post in later if post.created_at.year < 2022} == set("gsqe")


def test_replaced_posts_have_a_new_updated_at() -> None:
    """A replaced post has an updated_at in the year of its replacement."""
    for post in World(400).as_of(2022):
        if post.revision:
            assert post.updated_at.year == 2022


def test_world_is_the_same_each_time_and_differs_by_seed() -> None:
    """Size, seed and year determine the world; another seed gives another one."""
    assert World(40, seed=1).as_of(2022) == World(40, seed=1).as_of(2022)
    assert World(40, seed=1).as_of(2022) != World(40, seed=2).as_of(2022)


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2021, 12, 31, 23, 3, 35, 373_000, tzinfo=UTC), "2021-12-31T18:03:35.373-05:00"),
        (datetime(2021, 3, 14, 6, 59, 59, tzinfo=UTC), "2021-03-14T01:59:59.000-05:00"),
        (datetime(2021, 3, 14, 7, tzinfo=UTC), "2021-03-14T03:00:00.000-04:00"),
        (datetime(2021, 11, 7, 5, 59, 59, tzinfo=UTC), "2021-11-07T01:59:59.000-04:00"),
        (datetime(2021, 11, 7, 6, tzinfo=UTC), "2021-11-07T01:00:00.000-05:00"),
        (datetime(2006, 3, 20, 12, tzinfo=UTC), "2006-03-20T07:00:00.000-05:00"),
        (datetime(2006, 10, 29, 5, 59, tzinfo=UTC), "2006-10-29T01:59:00.000-04:00"),
        (datetime(2006, 10, 29, 6, tzinfo=UTC), "2006-10-29T01:00:00.000-05:00"),
    ],
)
def test_times_are_written_in_new_york(moment: datetime, written: str) -> None:
    """Times have New York's offset on that day, by the daylight saving rules of that year."""
    assert format_time(moment) == written

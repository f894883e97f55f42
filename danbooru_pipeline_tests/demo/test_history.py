"""The demo site on its way from one January to the next: posts come and change, and events tell of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.demo.site.history import ChangeKind, changes_until, posts_at, year_of
from danbooru_pipeline.demo.site.world import World, january_after

JANUARY = january_after(2021)


@pytest.mark.parametrize("posts", [1, 40, 400])
@pytest.mark.parametrize("year", [2019, 2021, 2022, 2024])
def test_january_is_what_the_world_says(posts: int, year: int) -> None:
    """In the January after a year the site shows exactly the posts of that year."""
    world = World(posts)
    assert tuple(posts_at(world, january_after(year)).values()) == world.as_of(year)
    assert year_of(january_after(year)) == year


@pytest.mark.parametrize("month", range(2, 13))
def test_site_changes_post_by_post(month: int) -> None:
    """Between two Januaries a post is as it was or as it will be, and changes when it says it was updated."""
    world, moment = World(400), datetime(2022, month, 1, tzinfo=UTC)
    before, after = ({post.id: post for post in world.as_of(year)} for year in (2021, 2022))
    shown = posts_at(world, moment)
    for id_, post in shown.items():
        assert post in {before.get(id_), after.get(id_)}
        assert post.created_at <= moment
        assert post.updated_at <= moment or post == before.get(id_, post)
    assert {id_ for id_, post in after.items() if post.created_at <= moment} <= shown.keys()


def test_every_kind_of_change_is_told_in_the_order_of_time() -> None:
    """In a year posts are replaced, banned, deleted and expunged, each at a time of its own."""
    changes = changes_until(World(400), january_after(2022))
    assert {change.kind for change in changes} == {
        ChangeKind.REPLACED, ChangeKind.BANNED, ChangeKind.DELETED, ChangeKind.EXPUNGED,
    }  # fmt: skip
    assert [change.at for change in changes] == sorted(change.at for change in changes)
    assert all(JANUARY < change.at < january_after(2022) for change in changes)


def get(booru: BooruProcess, client: httpx.Client, path: str, **params: str) -> Any:
    """What the API answers."""
    return client.get(f"{booru.api_url}{path}", params=params).raise_for_status().json()


def visible(booru: BooruProcess) -> dict[str, Any]:
    """Some post with a file of its own."""
    wrong = set(booru.kinds(2021)["wrong_md5"])
    return next(post for post in booru.truth(2021) if post.get("md5") and post["id"] not in wrong)


def test_replaced_file_vanishes_after_thirty_days(booru: BooruProcess, client: httpx.Client) -> None:
    """The old file is served for 30 days, the new one at once; the record of replacements names both."""
    post = visible(booru)
    booru.change(post["id"], "replaced")
    new = get(booru, client, f"/posts/{post['id']}.json")
    assert new["md5"] != post["md5"]
    for days, status in ((0, 200), (29, 200), (30, 404), (300, 404)):
        booru.set_clock(JANUARY + timedelta(days=days))
        assert client.get(post["file_url"]).status_code == status
        assert client.get(new["file_url"]).status_code == 200
    (told,) = (each for each in get(booru, client, "/post_replacements.json") if each["post_id"] == post["id"])
    assert (told["old_md5"], told["md5"]) == (post["md5"], new["md5"])
    booru.change(post["id"], "replaced", revision=0)
    assert get(booru, client, f"/posts/{post['id']}.json")["md5"] == post["md5"]


@pytest.mark.parametrize("kind", ["banned", "deleted", "expunged"])
def test_moderators_are_obeyed_and_told_of(booru: BooruProcess, client: httpx.Client, kind: str) -> None:
    """A banned post hides its file, a deleted one says so, an expunged one is gone and has no events at all."""
    post = visible(booru)
    booru.set_clock(JANUARY + timedelta(days=1))
    booru.change(post["id"], kind)
    answer = client.get(f"{booru.api_url}/posts/{post['id']}.json")
    assert answer.status_code == (404 if kind == "expunged" else 200)
    if kind != "expunged":
        assert ("md5" in answer.json()) == (kind == "deleted")
        assert answer.json()["is_deleted"] == (kind == "deleted" or post["is_deleted"])
    told = [each for each in get(booru, client, "/post_events.json", limit="1000") if each["post_id"] == post["id"]]
    assert [each["model_type"] for each in told] == ([] if kind == "expunged" else ["ModAction", "Post"])
    booru.forget_changes()
    assert get(booru, client, f"/posts/{post['id']}.json")["md5"] == post["md5"]


def test_events_are_searched_by_time(booru: BooruProcess, client: httpx.Client) -> None:
    """Events have no ids: they come newest first, or oldest first from a moment on, in numbered pages."""
    newest = get(booru, client, "/post_events.json", limit="1000")
    times = [datetime.fromisoformat(each["event_at"]) for each in newest]
    assert times == sorted(times, reverse=True)
    assert "id" not in newest[0]
    since = times[3].isoformat()
    search = {"search[event_at]": f">={since}", "search[order]": "event_at_asc", "limit": "3"}
    assert get(booru, client, "/post_events.json", **search, page="2") == newest[0:1]
    assert get(booru, client, "/post_events.json", **search) == newest[3:0:-1]


def test_unknown_changes_are_refused(booru: BooruProcess) -> None:
    """A control for a post or a kind that does not exist changes nothing and says so."""
    with pytest.raises(ValueError, match="melted"):
        booru.change(1, "melted")
    with pytest.raises(ValueError, match="99999"):
        booru.change(99_999, "banned")


def test_edits_are_no_events(booru: BooruProcess, client: httpx.Client) -> None:
    """A new rating shows on the post and in no event, as on the site."""
    post = visible(booru)
    before = get(booru, client, "/post_events.json", limit="1000")
    booru.change(post["id"], "rerated")
    assert (get(booru, client, f"/posts/{post['id']}.json")["rating"] in "gs") != (post["rating"] in "gs")
    assert get(booru, client, "/post_events.json", limit="1000") == before

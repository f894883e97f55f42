"""The demo's API port, over real HTTP."""

import base64
import json
from typing import Any

import httpx
import pytest

from danbooru_pipeline.demo.process import BooruProcess

COLUMNS = [
    "id", "created_at", "uploader_id", "score", "source", "md5", "last_comment_bumped_at", "rating",
    "image_width", "image_height", "tag_string", "fav_count", "file_ext", "last_noted_at", "parent_id",
    "has_children", "approver_id", "tag_count_general", "tag_count_artist", "tag_count_character",
    "tag_count_copyright", "file_size", "up_score", "down_score", "is_pending", "is_flagged", "is_deleted",
    "tag_count", "updated_at", "is_banned", "pixiv_id", "last_commented_at", "has_active_children", "bit_flags",
    "tag_count_meta", "has_large", "has_visible_children", "tag_string_general", "tag_string_character",
    "tag_string_copyright", "tag_string_artist", "tag_string_meta", "file_url", "large_file_url",
    "preview_file_url",
]  # fmt: skip


def list_ids(client: httpx.Client, booru: BooruProcess, **params: object) -> list[int]:
    """Ids of one page of posts, in the order of the response."""
    response = client.get(f"{booru.api_url}/posts.json", params={k: str(v) for k, v in params.items()})
    assert response.status_code == 200, response.text
    return [post["id"] for post in response.json()]


def read_error(response: httpx.Response) -> tuple[int, str]:
    """Status and name of a JSON error."""
    body = response.json()
    assert set(body) == {"success", "error", "message", "backtrace"}
    assert body["success"] is False
    return response.status_code, body["error"]


def test_records_have_the_columns_of_the_site_in_its_order(booru: BooruProcess, client: httpx.Client) -> None:
    """A record has exactly the real site's columns of before 2023, in its order, and the media asset that came then."""
    [post] = client.get(f"{booru.api_url}/posts.json?tags=id:2").json()
    assert [name for name in post if name != "media_asset"] == COLUMNS
    assert "pixel_hash" in post["media_asset"]


def test_records_are_consistent(booru: BooruProcess) -> None:
    """Tag counts, categories, order and addresses of all posts are consistent."""
    for post in booru.truth(2022, expunged=True):
        tags = post["tag_string"].split()
        assert tags == sorted(tags)
        assert post["tag_count"] == len(tags)
        parts: list[str] = []
        for category in ("general", "artist", "copyright", "character", "meta"):
            names = post[f"tag_string_{category}"].split()
            assert len(names) == post[f"tag_count_{category}"]
            parts += names
        assert sorted(parts) == tags
        if "md5" in post:
            md5 = post["md5"]
            assert post["file_url"] == f"{booru.cdn_url}/original/{md5[:2]}/{md5[2:4]}/{md5}.{post['file_ext']}"


def test_media_asset_has_variants(booru: BooruProcess) -> None:
    """A record has a media asset with a pixel hash and variants; a hidden post's lacks MD5, key and variants."""
    posts = booru.truth(2023)
    shown = next(post for post in posts if "md5" in post)["media_asset"]
    assert {"md5", "file_key", "variants", "pixel_hash"} <= set(shown)
    assert shown["variants"][-1]["type"] == "original"
    for post in posts:
        if "md5" not in post:
            assert not {"md5", "file_key", "variants"} & set(post["media_asset"])


def test_hidden_posts_keep_their_id_and_lose_their_file(booru: BooruProcess) -> None:
    """Restricted and banned posts are listed without MD5 and addresses, deleted ones with them."""
    posts = {post["id"]: post for post in booru.truth(2021)}
    kinds = booru.kinds(2021)
    for number in kinds["restricted"] + kinds["banned"]:
        assert not {"md5", "file_url", "large_file_url", "preview_file_url"} & set(posts[number])
    assert all(posts[number]["is_banned"] for number in kinds["banned"])
    assert all(posts[number]["is_deleted"] and posts[number]["file_url"] for number in kinds["deleted"])


def test_pages_by_id_are_exclusive_and_descend(booru: BooruProcess, client: httpx.Client) -> None:
    """``a<ID>`` returns the lowest ids above, ``b<ID>`` the highest below, both in descending order."""
    ids = [post["id"] for post in booru.truth(2021)]
    assert list_ids(client, booru, page="a0", limit=3) == ids[:3][::-1]
    assert list_ids(client, booru, page=f"a{ids[2]}", limit=3) == ids[3:6][::-1]
    assert list_ids(client, booru, page=f"b{ids[5]}", limit=2) == ids[3:5][::-1]
    assert list_ids(client, booru, page=f"a{ids[-1]}") == []


def test_limit_is_20_and_clamped(booru: BooruProcess, client: httpx.Client) -> None:
    """The default limit is 20 posts, and a limit is clamped to 0 to 200."""
    everything = len(booru.truth(2021))
    assert len(list_ids(client, booru)) == 20
    assert list_ids(client, booru, limit=0) == []
    assert list_ids(client, booru, limit=-5) == []
    assert len(list_ids(client, booru, limit=1000)) == everything
    assert len(list_ids(client, booru, tags="limit:3")) == 3


def test_numbered_pages_end_at_1000(booru: BooruProcess, client: httpx.Client) -> None:
    """Page 1000 is empty here, page 1001 is refused with 410, and an invalid page with 400."""
    assert list_ids(client, booru, page=2) == list_ids(client, booru, limit=40)[20:]
    assert list_ids(client, booru, page=1000) == []
    url = f"{booru.api_url}/posts.json"
    assert read_error(client.get(url, params={"page": "1001"})) == (410, "PaginationExtension::PaginationError")
    assert read_error(client.get(url, params={"page": "c7"}))[0] == 400


@pytest.mark.parametrize(
    ("tags", "low", "high"),
    [
        ("id:5..9", 5, 9),
        ("id:>=30", 30, 10**6),
        ("id:>30", 31, 10**6),
        ("id:<8", 1, 7),
        ("id:<=8", 1, 8),
        ("id:8", 8, 8),
        ("id:30..", 30, 10**6),
        ("id:..4 status:any", 1, 4),
        ("id:>3 id:<7", 4, 6),
    ],
)
def test_ids_are_searched_by_range(booru: BooruProcess, client: httpx.Client, tags: str, low: int, high: int) -> None:
    """All forms of an id range work, alone and combined."""
    want = [post["id"] for post in booru.truth(2021) if low <= post["id"] <= high]
    assert list_ids(client, booru, tags=tags, limit=200) == want[::-1]


def test_missing_ids_are_absent_from_a_list(booru: BooruProcess, client: httpx.Client) -> None:
    """Ids in a list that do not exist are silently left out."""
    ids = {post["id"] for post in booru.truth(2021)}
    asked = [1, 2, 3, 99_001, *(set(range(1, 43)) - ids)]
    assert list_ids(client, booru, tags="id:" + ",".join(map(str, asked))) == [3, 2, 1]


def test_posts_are_searched_by_rating_md5_and_tag(booru: BooruProcess, client: httpx.Client) -> None:
    """Ratings, MD5s, tags and excluded tags select the right posts."""
    posts = booru.truth(2021)
    safe = [post["id"] for post in posts if post["rating"] == "s"]
    assert list_ids(client, booru, tags="rating:s", limit=200) == safe[::-1]
    girls = [post["id"] for post in posts if "1girl" in post["tag_string"].split()]
    assert list_ids(client, booru, tags="1girl", limit=200) == girls[::-1]
    others = [post["id"] for post in posts if post["id"] not in girls]
    assert list_ids(client, booru, tags="-1girl", limit=200) == others[::-1]
    shown = next(post for post in posts if "md5" in post)
    assert list_ids(client, booru, tags=f"md5:{shown['md5']}") == [shown["id"]]
    assert client.get(f"{booru.api_url}/posts.json", params={"md5": shown["md5"]}).json() == shown


def test_more_than_two_tags_are_refused(booru: BooruProcess, client: httpx.Client) -> None:
    """Free metatags do not count towards the limit; a third tag is refused with 422."""
    assert list_ids(client, booru, tags="solo 1girl rating:s id:>0 status:any") is not None
    response = client.get(f"{booru.api_url}/posts.json", params={"tags": "solo 1girl order:score"})
    assert read_error(response) == (422, "PostQuery::TagLimitError")


def test_only_selects_attributes(booru: BooruProcess, client: httpx.Client) -> None:
    """``only`` returns the requested attributes, keeps hidden ones absent, and works for nested ones."""
    hidden = booru.kinds(2021)["restricted"][0]
    url = f"{booru.api_url}/posts.json"
    [post] = client.get(url, params={"tags": f"id:{hidden}", "only": "md5,rating,id,nonsense"}).json()
    assert list(post) == ["id", "rating"]
    booru.set_year(2023)
    [post] = client.get(url, params={"tags": "id:1", "only": "id,media_asset[id,status]"}).json()
    assert post == {"id": 1, "media_asset": {"id": 3, "status": "active"}}


def test_single_post_and_its_absence(booru: BooruProcess, client: httpx.Client) -> None:
    """A post is found by its id; an expunged one is a 404 with the site's own message."""
    gone = {p["id"] for p in booru.truth(2022, expunged=True)} - {p["id"] for p in booru.truth(2022)}
    number = gone.pop()
    url = f"{booru.api_url}/posts/{number}.json"
    assert client.get(url).json()["id"] == number
    booru.set_year(2022)
    response = client.get(url)
    assert read_error(response) == (404, "ActiveRecord::RecordNotFound")
    assert response.json()["message"] == "That record was not found."


@pytest.mark.parametrize(
    "agent", ["", "Mozilla/5.0 (X11)", "python-requests/2.32", "python-httpx/0.28", "curl/8", "Wget/1"]
)
def test_refused_agents_get_the_challenge_on_both_ports(booru: BooruProcess, client: httpx.Client, agent: str) -> None:
    """Clients without a name, browsers and bare tools get a 403 web page with the challenge header."""
    for url in (f"{booru.api_url}/posts.json", f"{booru.cdn_url}/original/00/00/{'0' * 32}.jpg"):
        response = client.get(url, headers={"User-Agent": agent})
        assert response.status_code == 403
        assert response.headers["cf-mitigated"] == "challenge"
        assert response.headers["content-type"].startswith("text/html")
    assert booru.requests() == {"forbidden": 2}


def test_login_is_checked(booru: BooruProcess, client: httpx.Client) -> None:
    """The known login is accepted as parameters and as a header; a wrong key is a JSON 401."""
    url = f"{booru.api_url}/posts.json"
    assert client.get(url, params={"login": "demo", "api_key": "demo-key"}).status_code == 200
    assert client.get(url, auth=("demo", "demo-key")).status_code == 200
    name = "SessionLoader::AuthenticationFailure"
    assert read_error(client.get(url, params={"login": "demo", "api_key": "wrong"})) == (401, name)
    assert read_error(client.get(url, auth=("demo", "wrong"))) == (401, name)
    broken = {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe").decode()}
    assert read_error(client.get(url, headers=broken)) == (401, name)


def test_tags_count_the_posts(booru: BooruProcess, client: httpx.Client) -> None:
    """The tags' post counts, paged by id, add up to the tag instances of all posts."""
    posts, tags = booru.truth(2021), []
    last = 0
    while page := client.get(f"{booru.api_url}/tags.json", params={"page": f"a{last}", "limit": "60"}).json():
        tags += page
        last = page[0]["id"]
    assert sum(tag["post_count"] for tag in tags) == sum(post["tag_count"] for post in posts)
    assert {tag["category"] for tag in tags} == {0, 1, 3, 4, 5}


def test_pools_name_posts_that_exist(booru: BooruProcess, client: httpx.Client) -> None:
    """Every post of a pool exists, and unknown tables are a JSON 404."""
    ids = {post["id"] for post in booru.truth(2021)}
    pools: list[dict[str, Any]] = client.get(f"{booru.api_url}/pools.json?limit=1000").json()
    assert pools
    assert all(set(pool["post_ids"]) <= ids and len(pool["post_ids"]) == pool["post_count"] for pool in pools)
    assert read_error(client.get(f"{booru.api_url}/favorites.json"))[0] == 404


def test_get_with_a_body_is_refused(booru: BooruProcess, client: httpx.Client) -> None:
    """A GET request with a body is a bad request."""
    response = client.request("GET", f"{booru.api_url}/posts.json", content=json.dumps({}))
    assert read_error(response) == (400, "ActionController::BadRequest")


def test_requests_are_counted_by_kind(booru: BooruProcess, client: httpx.Client) -> None:
    """The log counts lists, single posts, tables and files separately, and can be reset."""
    for path in ("/posts.json", "/posts/1.json", "/tags.json", "/pools.json", "/nonsense.json", "/counts/posts.json"):
        client.get(booru.api_url + path)
    client.get(f"{booru.cdn_url}/original/x.jpg")
    assert booru.requests() == {"posts": 1, "post": 1, "tags": 1, "pools": 1, "other": 1, "counts": 1, "files": 1}
    assert booru.requested_files() == ["/original/x.jpg"]
    booru.reset_requests()
    assert booru.requests() == {}

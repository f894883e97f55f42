"""The demo's CDN port, its files and its faults, over real HTTP."""

import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import pyvips

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.demo.site.files import FileStore
from danbooru_pipeline.demo.site.world import World


def md5_of(data: bytes) -> str:
    """MD5 as the site writes it."""
    return hashlib.md5(data).hexdigest()


def find_post(booru: BooruProcess, kind: str, year: int = 2021) -> dict[str, Any]:
    """A visible post with a kind of file or a role."""
    ids = booru.kinds(year)[kind]
    return next(post for post in booru.truth(year) if post["id"] in ids and "md5" in post)


@pytest.fixture
def plain(booru: BooruProcess) -> dict[str, Any]:
    """A post with an ordinary JPG and a right MD5."""
    kinds = booru.kinds(2021)
    number = next(i for i in kinds["jpg"] if i not in kinds["wrong_md5"] + kinds["restricted"] + kinds["banned"])
    return next(post for post in booru.truth(2021) if post["id"] == number)


def test_every_shown_file_is_what_its_record_says(booru: BooruProcess, client: httpx.Client) -> None:
    """MD5 and size of each file match its record, except for the MD5 of posts that are made to differ."""
    wrong = booru.kinds(2021)["wrong_md5"]
    assert wrong
    for post in booru.truth(2021):
        if "md5" in post:
            response = client.get(post["file_url"])
            assert response.status_code == 200
            assert len(response.content) == post["file_size"] == int(response.headers["content-length"])
            assert (md5_of(response.content) == post["md5"]) == (post["id"] not in wrong)


def test_pictures_have_the_size_in_their_records(booru: BooruProcess, client: httpx.Client) -> None:
    """Each picture's width and height, upright and of its first frame, are those in its record."""
    for post in booru.truth(2021):
        if "md5" in post and post["file_ext"] in {"jpg", "png", "gif", "webp"}:
            image = pyvips.Image.new_from_buffer(client.get(post["file_url"]).content, "", fail_on="none").autorot()
            assert (image.width, image.height) == (post["image_width"], post["image_height"]), post["id"]


@pytest.mark.parametrize(
    ("kind", "magic"),
    [
        ("jpg_is_png", b"\x89PNG"),
        ("zip", b"PK\x03\x04"),
        ("webm", b"\x1aE\xdf\xa3"),
        ("swf", b"FWS"),
        ("gif_animated", b"GIF89a"),
        ("jpg_truncated", b"\xff\xd8\xff"),
    ],
)
def test_files_begin_as_their_kind_does(booru: BooruProcess, client: httpx.Client, kind: str, magic: bytes) -> None:
    """Files begin with the magic bytes of their real type, whatever their extension."""
    assert client.get(find_post(booru, kind)["file_url"]).content.startswith(magic)


def test_awkward_pictures_are_what_they_claim(booru: BooruProcess, client: httpx.Client) -> None:
    """CMYK, grey, 16-bit, rotated, transparent and animated pictures really are what their kind says."""

    def load(kind: str) -> Any:
        return pyvips.Image.new_from_buffer(client.get(find_post(booru, kind)["file_url"]).content, "")

    assert load("jpg_cmyk").interpretation == "cmyk"
    assert load("jpg_grey").bands == 1
    assert load("png_16bit").format == "ushort"
    assert load("jpg_rotated").get("orientation") == 6
    assert "icc-profile-data" in load("jpg_profile").get_fields()
    assert load("png_black_lines").hasalpha()
    assert load("png_palette").hasalpha()
    assert load("gif_animated").get("n-pages") > 1
    assert load("webp_animated").get("n-pages") > 1
    assert b"acTL" in client.get(find_post(booru, "png_animated")["file_url"]).content


def test_ranges_continue_a_file(booru: BooruProcess, client: httpx.Client, plain: dict[str, Any]) -> None:
    """A range returns the rest of a file if it is still the same one."""
    whole = client.get(plain["file_url"])
    tag = whole.headers["etag"]
    rest = client.get(plain["file_url"], headers={"Range": "bytes=100-", "If-Range": tag})
    assert rest.status_code == 206
    assert rest.headers["content-range"] == f"bytes 100-{len(whole.content) - 1}/{len(whole.content)}"
    assert rest.content == whole.content[100:]
    assert client.get(plain["file_url"], headers={"Range": "bytes=-7"}).content == whole.content[-7:]
    assert client.get(plain["file_url"], headers={"Range": "bytes=3-5"}).content == whole.content[3:6]
    other = client.get(plain["file_url"], headers={"Range": "bytes=100-", "If-Range": '"other"'})
    assert (other.status_code, other.content) == (200, whole.content)
    assert client.get(plain["file_url"], headers={"Range": f"bytes={10**9}-"}).status_code == 416


def test_head_returns_the_length(booru: BooruProcess, client: httpx.Client, plain: dict[str, Any]) -> None:
    """HEAD returns length and type without a body, and the connection stays usable."""
    head = client.head(plain["file_url"])
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == plain["file_size"]
    assert head.headers["content-type"] == "image/jpeg"
    assert client.get(plain["file_url"]).status_code == 200


def test_unknown_files_are_a_page_with_404(booru: BooruProcess, client: httpx.Client) -> None:
    """The CDN answers requests for unknown files with a web page."""
    response = client.get(f"{booru.cdn_url}/original/00/11/0011{'0' * 28}.jpg")
    assert response.status_code == 404
    assert response.headers["content-type"].startswith("text/html")


def test_replaced_files_move(booru: BooruProcess, client: httpx.Client) -> None:
    """A year later a replaced post has another file with another extension, and its old address is gone."""
    booru.set_year(2022)
    number = booru.kinds(2022)["replaced"][0]
    old = next(post for post in booru.truth(2021) if post["id"] == number)
    new = next(post for post in booru.truth(2022) if post["id"] == number)
    assert old["file_ext"] != new["file_ext"]
    assert client.get(old["file_url"]).status_code == 404
    assert md5_of(client.get(new["file_url"]).content) == new["md5"]


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        ("gone", [404, 404]),
        ("error", [500, 500]),
        ("error_once", [500, 200]),
        ("flaky:3", [500, 503, 500, 200]),
        ("throttle:2", [429, 429, 200]),
        ("redirect", [302, 302]),
    ],
)
def test_faults_by_status(
    booru: BooruProcess, client: httpx.Client, plain: dict[str, Any], fault: str, statuses: list[int]
) -> None:
    """Faults in the status strike as often as specified; then the file is whole."""
    booru.set_fault(plain["md5"], fault)
    answers = [client.get(plain["file_url"]) for _ in statuses]
    assert [answer.status_code for answer in answers] == statuses
    if answers[-1].status_code == 200:
        assert md5_of(answers[-1].content) == plain["md5"]
    if fault.startswith("throttle"):
        assert answers[0].headers["retry-after"] == "1"


def test_faults_in_the_bytes(booru: BooruProcess, client: httpx.Client, plain: dict[str, Any]) -> None:
    """Corrupt, overlong, empty and replaced bodies have a 200 and a correct Content-Length."""

    def fetch_twice(fault: str) -> tuple[bytes, bytes]:
        booru.set_fault(plain["file_url"], fault)
        return client.get(plain["file_url"]).content, client.get(plain["file_url"]).content

    first, second = fetch_twice("corrupt")
    assert first == second
    assert len(first) == plain["file_size"]
    assert md5_of(first) != plain["md5"]
    first, second = fetch_twice("corrupt_random")
    assert first != second
    assert len(first) == len(second) == plain["file_size"]
    assert len(fetch_twice("too_long")[0]) > plain["file_size"]
    assert fetch_twice("empty") == (b"", b"")
    assert all(body.startswith(b"<!DOCTYPE html>") for body in fetch_twice("html"))
    first, second = fetch_twice("html_once")
    assert first.startswith(b"<!DOCTYPE html>")
    assert md5_of(second) == plain["md5"]


def test_faults_on_the_wire(booru: BooruProcess, client: httpx.Client, plain: dict[str, Any]) -> None:
    """Truncated and reset connections break the transfer, always or once; a range never gets past the cut."""
    booru.set_fault(plain["file_url"], "truncate")
    for headers in ({}, {"Range": f"bytes={plain['file_size'] // 2}-"}):
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(plain["file_url"], headers=headers)
    booru.set_fault(plain["file_url"], "truncate_once")
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(plain["file_url"])
    assert md5_of(client.get(plain["file_url"]).content) == plain["md5"]
    booru.set_fault(plain["file_url"], "reset")
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        client.get(plain["file_url"])
    booru.clear_faults()
    assert client.get(plain["file_url"]).status_code == 200


def test_slow_files_drip(booru: BooruProcess, client: httpx.Client, plain: dict[str, Any]) -> None:
    """A slow file takes long and arrives whole."""
    booru.set_fault(plain["md5"], "slow")
    started = time.monotonic()
    assert md5_of(client.get(plain["file_url"]).content) == plain["md5"]
    assert time.monotonic() - started > 1.5


def test_faults_of_the_api(booru: BooruProcess, client: httpx.Client) -> None:
    """A fault on ``posts`` makes the list of posts fail as the site does, and affects nothing else."""
    url = f"{booru.api_url}/posts.json"
    booru.set_fault("posts", "error_once")
    assert client.get(f"{booru.api_url}/posts/1.json").status_code == 200
    assert client.get(url).json()["error"] == "ActiveRecord::QueryCanceled"
    assert client.get(url).status_code == 200
    booru.set_fault("posts", "throttle:1")
    assert [client.get(url).status_code for _ in range(2)] == [429, 200]
    booru.set_fault("posts", "html")
    assert client.get(url).headers["content-type"].startswith("text/html")


def test_unknown_faults_are_refused(booru: BooruProcess) -> None:
    """An unknown fault is an error for the test that sets it."""
    with pytest.raises(ValueError, match="no such fault"):
        booru.set_fault("posts", "gremlins")


def test_files_are_counted(booru: BooruProcess, client: httpx.Client, plain: dict[str, Any]) -> None:
    """The log keeps every requested path, with repetitions, even under load."""

    def fetch() -> None:
        assert client.get(plain["file_url"]).status_code == 200

    threads = [threading.Thread(target=fetch) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    path = httpx.URL(plain["file_url"]).path
    assert booru.requested_files() == [path] * 20


def test_files_are_reused_and_reproducible(tmp_path: Path) -> None:
    """A second store on the same folder creates nothing, and another folder gets the same bytes."""
    posts = World(12).as_of(2021)
    first, other = FileStore(tmp_path / "a"), FileStore(tmp_path / "b")
    assert first.make(posts) == len(posts)
    assert FileStore(tmp_path / "a").make(posts) == 0
    other.make(posts)
    assert [first.facts(post) for post in posts] == [other.facts(post) for post in posts]

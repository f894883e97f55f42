"""Where a file is asked for, and with what: its record's address, then that of its MD5, never with our credentials."""

import socket
from pathlib import Path

import pytest

from danbooru_pipeline.fetch import download_file
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline_tests.support.downloads import PNG, Connect, Serve, assert_nothing_left, post_of
from danbooru_pipeline_tests.support.raw_server import Answer, RawServer, always, make_answer

POST = post_of(file_url="/data/moved.png")
DERIVED = f"/original/{POST.md5[:2]}/{POST.md5[2:4]}/{POST.md5}.png"
PAGE = b"<!DOCTYPE html><title>Sign in</title>"
FINE = make_answer(PNG)
OTHER = PNG[:-1] + b"?"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The path of the finished file."""
    return tmp_path / "store" / "0007" / "7.png"


def by_path(**answers: bytes) -> Answer:
    """Answer at the record's address and at the derived one; anything else is a 404."""
    known = {"/data/moved.png": answers.get("given"), DERIVED: answers.get("derived")}

    def answer(_server: RawServer, connection: socket.socket, target: str, _headers: dict[str, str]) -> None:
        connection.sendall(known.get(target) or make_answer(status=404))

    return answer


@pytest.mark.parametrize(
    "given",
    [
        make_answer(status=404),
        make_answer(status=410),
        make_answer(status=403),
        make_answer(status=302, headers={"Location": "https://elsewhere.example/"}),
        make_answer(PAGE),
        make_answer(),
        make_answer(bytes(10**6)),
        make_answer(OTHER),
        make_answer(b"no picture at all"),
        make_answer(status=400),
        make_answer(status=418),
    ],
    ids=["404", "410", "403", "redirect away", "page", "empty", "too large", "another file", "noise", "400", "418"],
)
def test_file_is_at_the_address_of_its_md5(serve: Serve, connect: Connect, target: Path, given: bytes) -> None:
    """If the record's address does not have the file, the address that follows from its MD5 does."""
    server = serve(by_path(given=given, derived=FINE))
    got = download_file(connect(server.url, retry_seconds=0.5), POST, target)
    assert (got.reason, got.requests) == (None, len(server.requests))
    assert server.targets[-1] == DERIVED
    assert server.targets.count(DERIVED) == 1
    assert target.read_bytes() == PNG


@pytest.mark.parametrize(
    ("given", "derived", "reason"),
    [
        (404, 404, Reason.GONE),
        (410, 404, Reason.GONE),
        (404, 403, Reason.REFUSED),
        (403, 404, Reason.REFUSED),
        (404, 503, Reason.RETRY_EXHAUSTED),
        (400, 404, Reason.RETRY_EXHAUSTED),
    ],
)
def test_gone_is_what_both_addresses_say(
    serve: Serve, connect: Connect, target: Path, given: int, derived: int, reason: Reason
) -> None:
    """A file is gone only if neither address knows it; else the other answer is the reason."""
    server = serve(by_path(given=make_answer(status=given), derived=make_answer(status=derived)))
    assert download_file(connect(server.url, retry_seconds=0.2), POST, target).reason is reason
    assert set(server.targets) == {"/data/moved.png", DERIVED}
    assert_nothing_left(target)


@pytest.mark.parametrize(
    ("derived", "requests"),
    [
        (make_answer(status=404), 3),
        (make_answer(status=403), 3),
        (make_answer(OTHER), 3),
        (make_answer(PNG + b"!"), 4),
        (make_answer(PAGE), 7),
    ],
    ids=["404", "403", "the same", "a third file", "page"],
)
def test_another_file_is_kept_if_no_address_has_the_right_one(
    serve: Serve, connect: Connect, target: Path, derived: bytes, requests: int
) -> None:
    """Another file, given twice by the record's address, is the outcome only once the other address is asked."""
    server = serve(by_path(given=make_answer(OTHER), derived=derived))
    got = download_file(connect(server.url, retry_seconds=30), POST, target)  # for all attempts, whatever the jitter
    assert (got.reason, got.in_place, got.size) == (Reason.MD5_DIFFERS, True, len(OTHER))
    assert got.requests == len(server.requests) == requests
    assert target.read_bytes() == OTHER
    assert list(target.parent.iterdir()) == [target]


def test_another_file_at_the_derived_address_is_kept(serve: Serve, connect: Connect, target: Path) -> None:
    """If the record's address has nothing, the file that the derived one gives twice is kept and flagged."""
    server = serve(by_path(derived=make_answer(OTHER)))
    got = download_file(connect(server.url, retry_seconds=5), POST, target)
    assert (got.reason, got.requests) == (Reason.MD5_DIFFERS, 3)
    assert target.read_bytes() == OTHER


@pytest.mark.parametrize("file_url", [None, DERIVED, "http://elsewhere.example/x.png"])
def test_one_address_is_asked_once(serve: Serve, connect: Connect, target: Path, file_url: str | None) -> None:
    """A record that names the derived address, none, or a foreign one costs one request for a file that is gone."""
    server = serve(by_path())
    got = download_file(connect(server.url), post_of(file_url=file_url), target)
    assert (got.reason, server.targets) == (Reason.GONE, [DERIVED])


def test_trouble_of_the_host_is_no_reason_for_another_address(serve: Serve, connect: Connect, target: Path) -> None:
    """Errors of the server say nothing about where the file is."""
    server = serve(always(make_answer(status=500)))
    assert download_file(connect(server.url, retry_seconds=0.2), POST, target).reason is Reason.RETRY_EXHAUSTED
    assert DERIVED not in server.targets


@pytest.mark.parametrize(
    "path",
    [
        "{api}/login?url=/x",
        "{api}/posts.json?tags=order:random",
        "{api}/profile.json",
        "{api}/posts.json",
        "//{host}/users/1/api_keys.json",
        "{cdn}/../posts/7.json",
        "{cdn}/redirect-to-api",
    ],
)
def test_credentials_go_to_api_paths_of_our_own_making_only(
    serve: Serve, connect: Connect, target: Path, path: str
) -> None:
    """Whatever address a record names, also on the API's host and through redirects, it gets no key and no cookie."""
    session = {"Set-Cookie": "_danbooru2_session=secret; path=/"}

    def of_api(_server: RawServer, connection: socket.socket, target: str, _headers: dict[str, str]) -> None:
        is_ours = target.startswith("/posts.json?limit=1")
        connection.sendall(make_answer(b"[]" if is_ours else PAGE, headers=session))

    api = serve(of_api)

    def of_cdn(_server: RawServer, connection: socket.socket, target: str, _headers: dict[str, str]) -> None:
        away = make_answer(status=302, headers={"Location": f"{api.url}/session/new"})
        connection.sendall(
            away if target == "/redirect-to-api" else FINE if target == DERIVED else make_answer(status=404)
        )

    cdn = serve(of_cdn)
    client = connect(api.url, cdn.url, login="me", api_key="hunter2secret", retry_seconds=0.2)
    client.get_json("/posts.json", {"limit": 1})
    url = path.format(api=api.url, cdn=cdn.url, host=api.url.removeprefix("http://"))
    assert download_file(client, post_of(file_url=url), target).reason is None
    client.get_json("/posts.json", {"limit": 1, "page": 2})
    asked = [*api.requests, *cdn.requests]
    assert sum("authorization" in headers for _, headers in asked) == 2
    for name, headers in asked:
        assert ("authorization" in headers) == name.startswith("/posts.json?limit=1")
        assert "cookie" not in headers


@pytest.mark.parametrize("userinfo", ["me:pw@", "me@", "me:hunter2secret@", ":@"])
def test_address_with_userinfo_is_not_used(serve: Serve, connect: Connect, target: Path, userinfo: str) -> None:
    """A record cannot choose who we are to the API's host."""
    api, cdn = serve(always(FINE)), serve(by_path(derived=FINE))
    client = connect(api.url, cdn.url, login="me", api_key="hunter2secret")
    url = api.url.replace("//", f"//{userinfo}") + "/file.png"
    assert download_file(client, post_of(file_url=url), target).reason is None
    assert not any("authorization" in headers for _, headers in [*api.requests, *cdn.requests])

"""Downloads: each file arrives whole, or gets the right reason and leaves nothing behind."""

import hashlib
import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import formatdate
from itertools import repeat
from pathlib import Path

import pytest

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.errors import SourceBlocked, SourceError, SourceUnreachable, SourceUnusable, StoreError
from danbooru_pipeline.fetch import BooruClient, Downloaded, download_file
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline_tests.support.downloads import PNG, Connect, Serve, assert_nothing_left, post_of
from danbooru_pipeline_tests.support.raw_server import Answer, RawServer, always, drip, make_answer

PAGE = b"<!DOCTYPE html><html><body>Sorry.</body></html>"
FINE = make_answer(PNG)


def real_post(booru: BooruProcess, number: int = 0) -> Fetch:
    """A plain post of the booru."""
    wrong = set(booru.kinds(2021)["wrong_md5"])
    found = [r for r in booru.truth(2021) if r["file_ext"] == "jpg" and r.get("md5") and r["id"] not in wrong]
    names = {"id": "id", "md5": "md5", "ext": "file_ext", "file_size": "file_size", "rating": "rating"}
    values = {name: found[number][key] for name, key in names.items()}
    return Fetch(file_url=found[number]["file_url"], **values)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The path of the finished file."""
    return tmp_path / "store" / "0007" / "7.png"


@pytest.fixture
def client(booru: BooruProcess, connect: Connect) -> BooruClient:
    """A client for the embedded booru."""
    return connect(booru.api_url, booru.cdn_url)


def test_good_file_arrives_whole(client: BooruClient, booru: BooruProcess, target: Path) -> None:
    """A good file takes one request, and is in place with its MD5."""
    post = real_post(booru)
    got = download_file(client, post, target)
    assert got == Downloaded(reason=None, in_place=True, size=post.file_size, md5=post.md5, requests=1, http_status=200)
    assert hashlib.md5(target.read_bytes(), usedforsecurity=False).hexdigest() == post.md5
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("gone", Reason.GONE),
        ("truncate", Reason.TRUNCATED),
        ("html", Reason.HTML_INSTEAD),
        ("corrupt_random", Reason.MD5_MISMATCH),
        ("empty", Reason.EMPTY),
        ("redirect", Reason.REDIRECTED),
        ("error", Reason.RETRY_EXHAUSTED),
        ("reset", Reason.RETRY_EXHAUSTED),
    ],
)
def test_fault_is_a_reason_and_leaves_nothing(
    client: BooruClient, booru: BooruProcess, target: Path, fault: str, reason: Reason
) -> None:
    """Each kind of failure has its reason, and leaves neither a file nor a part of one."""
    post = real_post(booru)
    booru.set_fault(str(post.md5), fault)
    got = download_file(client, post, target)
    assert (got.reason, got.in_place, got.size, got.md5) == (reason, False, None, None)
    assert got.requests == booru.requests()["files"]
    assert (got.requests == 1) == (reason in {Reason.GONE, Reason.REDIRECTED})
    assert_nothing_left(target)


@pytest.mark.parametrize("fault", ["error_once", "flaky:2", "truncate_once", "html_once", "slow"])
def test_transient_fault_is_overcome(booru: BooruProcess, connect: Connect, target: Path, fault: str) -> None:
    """A transient fault costs requests; the file is the right one in the end."""
    client = connect(booru.api_url, booru.cdn_url, retry_seconds=10.0)
    post = real_post(booru)
    booru.set_fault(str(post.md5), fault)
    got = download_file(client, post, target)
    assert (got.reason, got.md5) == (None, post.md5)
    assert (got.requests == 1) == (fault == "slow")


def test_throttling_does_not_count_as_failure(serve: Serve, connect: Connect, target: Path) -> None:
    """The file arrives after more 429s than failures are allowed."""
    busy = make_answer(status=429, headers={"Retry-After": "0"})
    server = serve(always(*[busy] * 7, FINE))
    got = download_file(connect(server.url), post_of(), target)
    assert (got.reason, got.requests) == (None, 8)


def test_retry_after_is_honoured_as_seconds_and_as_a_date(serve: Serve, connect: Connect, target: Path) -> None:
    """No request goes out before the time the server names, in either form."""
    began = time.time()
    date = formatdate(int(began) + 2, usegmt=True)  # whole seconds: one to two from now
    server = serve(always(make_answer(status=429, headers={"Retry-After": date}), FINE))
    got = download_file(connect(server.url, retry_seconds=5.0), post_of(), target)
    assert (got.reason, got.requests) == (None, 2)
    assert time.time() >= int(began) + 2


def test_same_wrong_bytes_twice_are_what_the_source_has(client: BooruClient, booru: BooruProcess, target: Path) -> None:
    """Complete bytes with another MD5 are kept and marked when they arrive twice."""
    post = real_post(booru)
    booru.set_fault(str(post.md5), "corrupt")
    got = download_file(client, post, target)
    assert (got.reason, got.in_place, got.requests) == (Reason.MD5_DIFFERS, True, 2)
    assert got.md5 == hashlib.md5(target.read_bytes(), usedforsecurity=False).hexdigest() != post.md5


def test_second_try_asks_for_a_fresh_copy(serve: Serve, connect: Connect, target: Path) -> None:
    """After a body with another MD5, the next request tells caches to fetch the file anew."""
    server = serve(always(make_answer(PNG + b"x"), FINE))
    assert download_file(connect(server.url), post_of(), target).reason is None
    assert ["cache-control" in headers for _, headers in server.requests] == [False, True]


def test_complete_file_smaller_than_declared_is_kept(serve: Serve, connect: Connect, target: Path) -> None:
    """A wrong size in the metadata does not reject a file that ends where its Content-Length says."""
    server = serve(always(make_answer(PNG)))
    got = download_file(connect(server.url), post_of(PNG + b"more"), target)
    assert (got.reason, got.size) == (Reason.MD5_DIFFERS, len(PNG))


def test_unrecognised_bytes_are_never_kept(serve: Serve, connect: Connect, target: Path) -> None:
    """A short text in place of a file is not accepted, however often it is sent."""
    server = serve(always(make_answer(b'{"error": "try later"}')))
    assert download_file(connect(server.url), post_of(), target).reason is Reason.MD5_MISMATCH
    assert_nothing_left(target)


@pytest.mark.parametrize("size", [len(PNG), None])
def test_early_end_without_announced_length_is_detected(
    serve: Serve, connect: Connect, target: Path, size: int | None
) -> None:
    """A body without a length that ends early is truncated, even if it is truncated at the same byte twice."""
    server = serve(always(make_answer(PNG[:-100], length=None)))
    got = download_file(connect(server.url), post_of(file_size=size), target)
    assert (got.reason, got.requests) == (Reason.TRUNCATED, len(server.requests))
    assert_nothing_left(target)


@pytest.mark.parametrize("length", [-1, None])
def test_body_longer_than_the_metadata_says_is_cut_off(
    serve: Serve, connect: Connect, target: Path, length: int | None
) -> None:
    """Some slack is allowed; a body far larger than the metadata declares is rejected every time."""
    server = serve(always(make_answer(PNG + bytes(10**6), length=length)))
    got = download_file(connect(server.url), post_of(), target)
    assert (got.reason, got.requests > 1) == (Reason.TOO_LARGE, True)
    assert_nothing_left(target)


def test_body_longer_than_its_header_says_ends_there(serve: Serve, connect: Connect, target: Path) -> None:
    """Bytes after the announced end are ignored."""
    server = serve(always(make_answer(PNG + b"trailing", length=len(PNG))))
    assert download_file(connect(server.url), post_of(), target).reason is None
    assert target.read_bytes() == PNG


def test_long_error_page_for_a_small_file_is_retried(serve: Serve, connect: Connect, target: Path) -> None:
    """An error page above the size limit is transient; it does not mark the post as too large."""
    server = serve(always(make_answer(PAGE + b" " * 10**6), FINE))
    assert download_file(connect(server.url), post_of(), target).reason is None


def test_compressed_body_is_limited_as_any_other(serve: Serve, connect: Connect, target: Path) -> None:
    """We did not request compression; bytes above the limit are not even decoded."""
    bomb = b"\x1f\x8b\x08" + bytes(10**6)
    server = serve(always(make_answer(bomb, headers={"Content-Encoding": "gzip"})))
    assert download_file(connect(server.url), post_of(), target).reason is Reason.TOO_LARGE
    assert server.requests[0][1]["accept-encoding"] == "identity"
    assert_nothing_left(target)


def test_drip_ends_at_the_deadline(serve: Serve, connect: Connect, target: Path) -> None:
    """A body that arrives byte by byte is given up at the deadline, although no read ever times out."""
    server = serve(drip(PNG))
    got = download_file(connect(server.url), post_of(file_size=100), target, base_seconds=0.3)
    assert (got.reason, got.requests) == (Reason.TRUNCATED, 1)
    assert_nothing_left(target)


@pytest.mark.parametrize("status", [408, 421, 425])
def test_an_answer_that_passes_is_followed_by_another_request(
    serve: Serve, connect: Connect, target: Path, status: int
) -> None:
    """What a balancer answers instead of the host says nothing of the file."""
    got = download_file(connect(serve(always(make_answer(status=status), make_answer(PNG))).url), post_of(), target)
    assert (got.reason, got.requests) == (None, 2)


def test_a_length_beside_chunks_is_not_waited_for(serve: Serve, connect: Connect, target: Path) -> None:
    """Chunks go before a declared length, so no read waits for bytes that only the length promises."""
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(PNG), PNG)
    lying = make_answer(body, length=10**6, headers={"Transfer-Encoding": "chunked"})

    def answer(server: RawServer, connection: socket.socket, _target: str, _headers: dict[str, str]) -> None:
        connection.sendall(lying[:-60])
        server.closing.wait(0.3)
        connection.sendall(lying[-60:])
        server.closing.wait(20)

    began = time.monotonic()
    got = download_file(connect(serve(answer).url), post_of(), target)
    assert (got.reason, time.monotonic() - began < 10) == (None, True)


def test_type_is_recognised_from_a_slow_body(serve: Serve, connect: Connect, target: Path) -> None:
    """A web page is recognised even if its first bytes arrive one by one."""

    def answer(server: RawServer, connection: socket.socket, target: str, headers: dict[str, str]) -> None:
        drip(PAGE, pause=0.002)(server, connection, target, headers)

    server = serve(answer)
    got = download_file(connect(server.url, retry_seconds=0.001), post_of(), target)
    assert got.reason is Reason.HTML_INSTEAD


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9.6\r\n", b"", b"\x00" * 100, make_answer(status=502)],
    ids=["ssh", "nothing", "zeros", "502"],
)
def test_garbage_is_a_failed_request(serve: Serve, connect: Connect, target: Path, answer: bytes) -> None:
    """Garbage instead of HTTP, a closed connection and a 502 are transient."""
    server = serve(always(answer, FINE))
    got = download_file(connect(server.url), post_of(), target)
    assert (got.reason, got.requests) == (None, 2)


@pytest.mark.parametrize("status", [401, 403, 451])
def test_refused_file_is_requested_once_and_others_continue(
    serve: Serve, connect: Connect, target: Path, status: int
) -> None:
    """One refusal concerns one file; the next file is fetched."""
    server = serve(always(make_answer(PAGE, status=status), FINE))
    client = connect(server.url)
    got = download_file(client, post_of(file_url=None), target)
    assert (got.reason, got.requests, got.http_status) == (Reason.REFUSED, 1, status)
    assert_nothing_left(target)
    assert download_file(client, post_of(), target).reason is None


def test_many_refusals_in_a_row_are_a_block(serve: Serve, connect: Connect, target: Path) -> None:
    """A host that refuses 25 files in a row blocks us."""
    server = serve(always(make_answer(PAGE, status=403)))
    client = connect(server.url)
    with pytest.raises(SourceBlocked, match="DANBOORU_CONTACT"):
        for _ in range(30):
            assert download_file(client, post_of(), target).reason is Reason.REFUSED
    assert len(server.requests) == 25


def test_challenge_is_a_block_at_once(serve: Serve, connect: Connect, target: Path) -> None:
    """A challenge page is about the client, whichever file was requested."""
    server = serve(always(make_answer(PAGE, status=403, headers={"CF-Mitigated": "challenge"})))
    with pytest.raises(SourceBlocked):
        download_file(connect(server.url), post_of(), target)
    assert_nothing_left(target)


def test_host_that_knows_no_file_is_the_wrong_host(serve: Serve, connect: Connect, target: Path) -> None:
    """A hundred consecutive 404s end the run, before a wrong address marks all posts as gone."""
    server = serve(always(make_answer(status=404)))
    client = connect(server.url)
    with pytest.raises(SourceUnusable, match="DANBOORU_CDN_URL"):
        for _ in range(200):
            assert download_file(client, post_of(), target).reason is Reason.GONE
    assert len(server.requests) == 100


def test_host_that_is_down_ends_the_run(connect: Connect, target: Path) -> None:
    """When a host no longer responds, the run stops instead of trying millions of files."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = connect(f"http://127.0.0.1:{port}", retry_seconds=0.001)
    reasons: list[Reason | None] = []
    with pytest.raises(SourceUnreachable, match="run again"):
        reasons.extend(download_file(client, post_of(), target).reason for _ in range(200))
    assert_nothing_left(target)


def test_foreign_file_url_is_never_contacted(serve: Serve, connect: Connect, target: Path) -> None:
    """An address on another host, or with another scheme, is replaced by the one derived from the MD5."""
    foreign, own = serve(always(FINE)), serve(always(FINE))
    client, post = connect(own.url), post_of()
    odd = ["http://[", "http://\x00", "//", "http://☃.net/", "file:///etc/passwd", own.url.replace("//", "//me:pw@")]
    urls = [foreign.url + "/a.png", foreign.url.replace("http:", "") + "/a.png", own.url.replace("http", "https")]
    for url in [*urls, *odd]:
        assert download_file(client, replace(post, file_url=url), target).reason is None
    assert foreign.requests == []
    assert set(own.targets) <= {f"/original/{post.md5[:2]}/{post.md5[2:4]}/{post.md5}.png", "/"}


@pytest.mark.parametrize(
    ("file_url", "asked"),
    [("/data/x.png", "/data/x.png"), ("data/x.png", "/data/x.png"), ("/data/a b#c.png", "/data/a%20b")],
)
def test_relative_file_url_belongs_to_the_file_host(
    serve: Serve, connect: Connect, target: Path, file_url: str, asked: str
) -> None:
    """Addresses without a host, as in old records, are resolved against the file host."""
    api, cdn = serve(always(make_answer(status=500))), serve(always(FINE))
    assert download_file(connect(api.url, cdn.url), post_of(file_url=file_url), target).reason is None
    assert (api.targets, cdn.targets) == ([], [asked])


def test_redirect_within_our_hosts_is_followed(serve: Serve, connect: Connect, target: Path) -> None:
    """Redirects within the two hosts lead to the file, and each counts as a request."""
    steps = [make_answer(status=s, headers={"Location": f"/step{s}"}) for s in (301, 302, 308)]
    server = serve(always(*steps, FINE))
    got = download_file(connect(server.url), post_of(), target)
    assert (got.reason, got.requests) == (None, 4)
    assert server.targets == ["/file.png", "/step301", "/step302", "/step308"]


def test_endless_redirects_end(serve: Serve, connect: Connect, target: Path) -> None:
    """The fourth redirect is not followed, at neither address of the file."""
    server = serve(always(make_answer(status=302, headers={"Location": "/again"})))
    got = download_file(connect(server.url), post_of(), target)
    assert (got.reason, got.requests, len(server.requests)) == (Reason.REDIRECTED, 8, 8)
    assert_nothing_left(target)


@pytest.mark.parametrize("location", ["{foreign}/x.png", "//169.254.169.254/", "http://[", "https://a b/", None])
def test_redirect_elsewhere_is_not_followed(serve: Serve, connect: Connect, target: Path, location: str | None) -> None:
    """A redirect to another host, to a broken address or to none contacts nobody else and keeps nothing."""
    foreign = serve(always(FINE))
    where = {} if location is None else {"Location": location.format(foreign=foreign.url)}
    server = serve(always(make_answer(status=302, headers=where)))
    got = download_file(connect(server.url, retry_seconds=0.001), post_of(), target)
    assert got.reason in {Reason.REDIRECTED, Reason.RETRY_EXHAUSTED}
    assert foreign.requests == []
    assert_nothing_left(target)


def test_new_file_is_a_new_inode(client: BooruClient, booru: BooruProcess, target: Path) -> None:
    """A file that a release shares by hard link stays as it is when the post's file is replaced."""
    target.parent.mkdir(parents=True)
    target.write_bytes(b"old")
    link = target.with_name("link")
    link.hardlink_to(target)
    assert download_file(client, real_post(booru), target).in_place
    assert link.read_bytes() == b"old"
    assert target.stat().st_ino != link.stat().st_ino


def test_failure_leaves_an_earlier_file_alone(client: BooruClient, booru: BooruProcess, target: Path) -> None:
    """What was there before a download failed is there afterwards."""
    target.parent.mkdir(parents=True)
    target.write_bytes(b"old")
    post = real_post(booru)
    booru.set_fault(str(post.md5), "truncate")
    assert not download_file(client, post, target).in_place
    assert [path.read_bytes() for path in target.parent.iterdir()] == [b"old"]


def test_full_disk_stops_before_the_first_byte(booru: BooruProcess, connect: Connect, target: Path) -> None:
    """Below the floor of free space nothing is requested, and the message says what to do."""
    client = connect(booru.api_url, booru.cdn_url, min_free_bytes=2**60)
    with pytest.raises(StoreError, match="DANBOORU_MIN_FREE_BYTES"):
        download_file(client, real_post(booru), target)
    assert "files" not in booru.requests()


def test_downloads_run_side_by_side(client: BooruClient, booru: BooruProcess, target: Path) -> None:
    """Concurrent downloads, even of the same file, do not interfere."""
    posts = [real_post(booru, number) for number in range(4)] * 4
    with ThreadPoolExecutor(8) as threads:
        targets = [target.with_name(str(number)) for number in range(len(posts))]
        got = list(threads.map(download_file, repeat(client), posts, targets))
    assert {one.reason for one in got} == {None}
    assert len(list(target.parent.iterdir())) == 16


def test_api_key_goes_to_the_api_alone(
    serve: Serve, connect: Connect, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The key is sent only in a header to the API host, and appears in no address, log line, repr or error."""
    api = serve(always(make_answer(b"[]"), make_answer(status=403)))
    cdn = serve(always(make_answer(status=302, headers={"Location": "/on"}), FINE))
    caplog.set_level(logging.DEBUG)
    client = connect(api.url, cdn.url, login="me", api_key="hunter2secret")
    client.get_json("/posts.json", {"limit": 1})
    download_file(client, post_of(), target)
    with pytest.raises(SourceError) as caught:
        client.get_json("/posts.json", {})
    assert [("authorization" in headers) for _, headers in api.requests] == [True, True]
    assert [("authorization" in headers) for _, headers in cdn.requests] == [False, False]
    seen = [*api.targets, *cdn.targets, caplog.text, repr(client), repr(client.settings), repr(caught.value)]
    assert "hunter2secret" not in "\n".join(seen)


BIG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 2000
HALF = len(BIG) // 2


def ranged(*, etag: str = '"one"', later_etag: str | None = None, shift: int = 0, honours: bool = True) -> Answer:
    """A server that interrupts its first response half-way, and sends the rest when asked for it."""
    asked = 0

    def answer(_server: RawServer, connection: socket.socket, _target: str, headers: dict[str, str]) -> None:
        nonlocal asked
        asked += 1
        name = {"ETag": etag if asked == 1 else later_etag or etag} if etag else {}
        wanted = headers.get("range")
        if asked == 1:
            connection.sendall(make_answer(BIG[:HALF], length=len(BIG), headers=name))
        elif wanted is None or not honours:
            connection.sendall(make_answer(BIG, headers=name))
        else:
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) + shift
            span = {"Content-Range": f"bytes {start}-{len(BIG) - 1}/{len(BIG)}"}
            connection.sendall(make_answer(BIG[start:], status=206, headers=name | span))

    return answer


def ranges_asked(server: RawServer) -> list[str | None]:
    """The Range header of each request."""
    return [headers.get("range") for _, headers in server.requests]


def test_interrupted_transfer_is_resumed(serve: Serve, connect: Connect, target: Path) -> None:
    """Only the rest is requested, and the whole file matches the metadata."""
    server = serve(ranged())
    got = download_file(connect(server.url), post_of(BIG), target)
    assert (got.reason, got.size) == (None, len(BIG))
    assert target.read_bytes() == BIG
    assert ranges_asked(server) == [None, f"bytes={HALF}-"]
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_transfer_is_resumed_by_the_next_run(serve: Serve, connect: Connect, target: Path) -> None:
    """What a run received before it gave up is kept for the next one, even in another process."""
    server = serve(ranged())
    first = download_file(connect(server.url, retry_seconds=0.001), post_of(BIG), target)
    assert (first.reason, first.requests) == (Reason.TRUNCATED, 1)
    assert not target.exists()
    assert download_file(connect(server.url), post_of(BIG), target).reason is None
    assert ranges_asked(server) == [None, f"bytes={HALF}-"]
    assert target.read_bytes() == BIG


@pytest.mark.parametrize(
    ("server_is", "asked"),
    [
        (ranged(later_etag='"two"'), 3),
        (ranged(shift=10), 3),
        (ranged(honours=False), 2),
        (ranged(etag=""), 2),
        (ranged(etag='W/"weak"'), 2),
    ],
    ids=["another file", "another place", "no ranges", "no name", "weak name"],
)
def test_rest_of_another_file_is_not_added(
    serve: Serve, connect: Connect, target: Path, server_is: Answer, asked: int
) -> None:
    """Unless the server confirms the same file from the right offset, the transfer starts over."""
    server = serve(server_is)
    assert download_file(connect(server.url, retry_seconds=20), post_of(BIG), target).reason is None
    assert target.read_bytes() == BIG
    assert len(server.requests) == asked
    assert [path.name for path in target.parent.iterdir()] == [target.name]

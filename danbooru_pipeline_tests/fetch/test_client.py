"""JSON requests: good answers come through, bad ones are retried or end in a clear error."""

import contextlib
import gzip
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.errors import SettingsError, SourceBlocked, SourceUnreachable, SourceUnusable
from danbooru_pipeline.fetch import BooruClient, download_file
from danbooru_pipeline.fetch.client import retry_after_seconds
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.version import version
from danbooru_pipeline_tests.support.certificate import certified
from danbooru_pipeline_tests.support.downloads import post_of
from danbooru_pipeline_tests.support.paces import rate_of
from danbooru_pipeline_tests.support.raw_server import Answer, RawServer, always, drip, make_answer

Serve = Callable[[Answer], RawServer]
Connect = Callable[..., BooruClient]

FINE = make_answer(b'[{"id": 1}]')
PAGE = make_answer(b"<!DOCTYPE html><html></html>")


@pytest.mark.parametrize(
    "bad",
    [
        make_answer(status=500),
        make_answer(status=408),
        make_answer(status=421),
        make_answer(status=425),
        make_answer(b"no gzip", headers={"Content-Encoding": "gzip"}),
        make_answer(gzip.compress(b"[]" * 1000)[:-9], headers={"Content-Encoding": "gzip"}),
        make_answer(status=503, headers={"Retry-After": "0"}),
        make_answer(status=429, headers={"Retry-After": "0"}),
        PAGE,
        make_answer(b'[{"id": 1}', length=30),
        make_answer(b'[{"id": 1}', length=None),
        b"",
        b"garbage\r\n\r\n",
        make_answer(b"\xff\xfe[]"),
        make_answer(b"[" * 100_000),
    ],
    ids=[
        "500",
        "408",
        "421",
        "425",
        "no_gzip",
        "half_gzip",
        "503",
        "429",
        "page",
        "short",
        "cut",
        "nothing",
        "garbage",
        "no_text",
        "nested",
    ],
)
def test_transient_failure_is_retried(serve: Serve, connect: Connect, bad: bytes) -> None:
    """A bad answer is followed by another request, whose good answer is returned."""
    server = serve(always(bad, FINE))
    answer = connect(server.url).get_json("/posts.json", {"limit": 1, "tags": "a b&c"})
    assert (answer.status, answer.value) == (200, [{"id": 1}])
    assert server.targets == ["/posts.json?limit=1&tags=a+b%26c"] * 2


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (PAGE, "not JSON"),
        (make_answer(status=500), "HTTP 500"),
        (make_answer(status=429, headers={"Retry-After": "900"}), "HTTP 429"),
    ],
    ids=["page", "error", "throttled"],
)
def test_permanent_failure_is_named(serve: Serve, connect: Connect, bad: bytes, told: str) -> None:
    """After the last attempt the error says what came instead, and what to do."""
    server = serve(always(bad))
    with pytest.raises(SourceUnusable, match=rf"{told}.*try again later"):
        connect(server.url).get_json("/posts.json", {})


def test_no_answer_is_unreachable(connect: Connect) -> None:
    """When nothing listens on the port, the message says which setting to check."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SourceUnreachable, match="DANBOORU_API_URL and the network"):
        connect(f"http://127.0.0.1:{port}").get_json("/posts.json", {})


@pytest.mark.parametrize("status", [401, 403])
def test_refusal_by_the_api_is_a_block_at_once(serve: Serve, connect: Connect, status: int) -> None:
    """An API that refuses us is not asked again."""
    server = serve(always(make_answer(b"{}", status=status)))
    with pytest.raises(SourceBlocked, match="DANBOORU_API_KEY"):
        connect(server.url).get_json("/posts.json", {})
    assert len(server.requests) == 1


def test_wrong_key_is_a_block(booru: BooruProcess, connect: Connect) -> None:
    """The booru's own answer to a wrong key stops the run."""
    with pytest.raises(SourceBlocked, match="DANBOORU_API_KEY"):
        connect(booru.api_url, booru.cdn_url, login="me", api_key="wrong").get_json("/posts.json", {})


@pytest.mark.parametrize("status", [301, 400, 404, 410, 422, 501])
@pytest.mark.parametrize("body", [b'{"message": "no"}', b"<html>no</html>"])
def test_client_error_is_returned_without_a_retry(serve: Serve, connect: Connect, status: int, body: bytes) -> None:
    """A status that is about the request, not about the server, is the caller's to judge, and is not retried."""
    server = serve(always(make_answer(body, status=status, headers={"Location": "http://127.0.0.1:1/"})))
    answer = connect(server.url).get_json("/x.json", {})
    assert answer.status == status
    assert answer.value in ({"message": "no"}, None)
    assert len(server.requests) == 1


def test_overlong_body_is_cut_off(serve: Serve, connect: Connect) -> None:
    """A body larger than any honest one is not read to its end."""
    server = serve(always(make_answer(b" " * (51 * 2**20))))
    with pytest.raises(SourceUnusable, match="too many bytes"):
        connect(server.url).get_json("/posts.json", {})
    assert len(server.requests) == 1


def test_compressed_json_is_decompressed(serve: Serve, connect: Connect) -> None:
    """JSON is requested with gzip, since a sweep is tens of gigabytes of it."""
    server = serve(always(make_answer(gzip.compress(b'[{"id": 2}]'), headers={"Content-Encoding": "gzip"})))
    assert connect(server.url).get_json("/posts.json", {}).value == [{"id": 2}]
    assert server.requests[0][1]["accept-encoding"] == "gzip"


def test_bomb_is_cut_off(serve: Serve, connect: Connect) -> None:
    """A small body that decompresses to far too much is not decompressed to its end."""
    bomb = gzip.compress(bytes(200 * 2**20), 1)
    server = serve(always(make_answer(bomb, headers={"Content-Encoding": "gzip"})))
    with pytest.raises(SourceUnusable, match="too many bytes"):
        connect(server.url).get_json("/posts.json", {})


def test_nested_bomb_is_not_opened(serve: Serve, connect: Connect) -> None:
    """Encodings we did not request are refused unread."""
    server = serve(always(make_answer(b"x", headers={"Content-Encoding": "gzip, gzip"})))
    with pytest.raises(SourceUnusable, match="encoding"):
        connect(server.url).get_json("/posts.json", {})


def test_drip_ends_at_the_deadline(serve: Serve, connect: Connect) -> None:
    """JSON that arrives byte by byte is given up at the deadline."""
    server = serve(drip(b"[" + b" " * 1000 + b"]"))
    with pytest.raises(SourceUnusable, match="too slowly"):
        connect(server.url, json_seconds=0.2, retry_seconds=0.001).get_json("/posts.json", {})


def test_compressed_bytes_without_content_end_at_the_deadline(serve: Serve, connect: Connect) -> None:
    """Empty blocks of gzip without end are given up at the deadline, though there is nothing to look at."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    packed = zlib.compressobj(wbits=31)
    block = packed.compress(b"") + packed.flush(zlib.Z_SYNC_FLUSH)

    def answer(server: RawServer, connection: socket.socket, _target: str, _headers: dict[str, str]) -> None:
        connection.sendall(head + b"%x\r\n%s\r\n" % (len(block), block))
        while not server.closing.wait(0.02):
            more = packed.flush(zlib.Z_SYNC_FLUSH) or b"\0\0\0\xff\xff"
            connection.sendall(b"%x\r\n%s\r\n" % (len(more), more))

    server = serve(answer)
    began = time.monotonic()
    with pytest.raises(SourceUnusable, match="too slowly"):
        connect(server.url, json_seconds=0.2, retry_seconds=0.001).get_json("/posts.json", {})
    assert time.monotonic() - began < 20


@pytest.mark.needs("openssl")
def test_a_certificate_that_is_refused_is_named_at_once(connect: Connect, tmp_path: Path) -> None:
    """Why it is refused is in the message, of a file's host, too, and no second attempt is made."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        greeted: list[bool] = []

        def talk() -> None:
            context = certified(tmp_path)
            with contextlib.suppress(OSError):
                while True:
                    plain = listener.accept()[0]
                    greeted.append(True)
                    with contextlib.suppress(OSError), plain, context.wrap_socket(plain, server_side=True):
                        pass

        threading.Thread(target=talk, daemon=True).start()
        client = connect(f"https://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(SourceUnreachable, match=r"certificate is refused: self.signed certificate, 1 attempts"):
            client.get_json("/posts.json", {})
        assert len(greeted) == 1
        with pytest.raises(SourceUnreachable, match=r"failed 100 requests.*certificate is refused"):
            for _ in range(100):
                download_file(client, post_of(), tmp_path / "1.png")
        listener.shutdown(socket.SHUT_RDWR)


def test_user_agent_says_who_we_are(serve: Serve, connect: Connect) -> None:
    """The User-Agent is exactly our name, our version and the operator's contact."""
    server = serve(always(make_answer(b"[]")))
    connect(server.url, contact="Me@Example.org").get_json("/posts.json", {})
    assert server.requests[0][1]["user-agent"] == f"danbooru-pipeline/{version().number} (+me@example.org)"
    assert re.fullmatch(r"danbooru-pipeline/\S+ \(\+loopback\)", Settings().user_agent)


@pytest.mark.parametrize("text", ["soon", "²", "-1", "Mon, 99 Foo 2000", "Fri, 31 Dec 99999 00:00:00 GMT", ""])
def test_malformed_retry_after_is_ignored(text: str) -> None:
    """A Retry-After that is neither a number nor a date counts as absent."""
    assert retry_after_seconds({"retry-after": text}) is None


def test_retry_after_in_the_past_is_now() -> None:
    """A date in the past asks for no delay."""
    assert retry_after_seconds({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


def test_public_host_without_contact_is_never_asked() -> None:
    """A client for a public host cannot even be created without a contact."""
    with pytest.raises(SettingsError, match="DANBOORU_CONTACT"):
        BooruClient(Settings())


def test_throttled_host_is_asked_less_often(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    """A 429 lowers the rate of its host."""
    pace = Layout(tmp_path / "root").pace
    pace.parent.mkdir(parents=True)
    server = serve(always(make_answer(status=429, headers={"Retry-After": "0"}), FINE))
    client = connect(server.url)
    before = rate_of(server.url, record=pace, budget=client.limiter.rate)
    client.get_json("/posts.json", {})
    assert rate_of(server.url, record=pace, budget=client.limiter.rate) < before

"""Dumps over HTTP, as servers really answer: a dump is read whole, or refused in one line that says what to do."""

import contextlib
import functools
import gzip
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import Any

import pyarrow as pa
import pytest

from danbooru_pipeline.errors import SourceUnreachable, SourceUnusable
from danbooru_pipeline.fetch import remote_file
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.sources import SweepReport, bring_posts
from danbooru_pipeline.sources.files import DumpSource
from danbooru_pipeline_tests.support.dumps import lines_of_2021
from danbooru_pipeline_tests.support.web import serving

ROWS = 40
LINES = lines_of_2021(range(1, ROWS + 1))
#: The first half of the lines.
HALF = LINES[: LINES.find(b"\n", len(LINES) // 2) + 1]


class Asked(BaseHTTPRequestHandler):
    """A request of ``posts.json``, and short ways to answer it; `turn` counts those with the same method."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, answer: Callable[["Asked"], None], asked: list[tuple[str, float]]) -> None:
        self.answer, self.asked, self.turn = answer, asked, 0
        super().__init__(*args)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer; a dump of one file has no other."""
        if self.path != "/posts.json":
            self.send(status=404)
            return
        self.asked.append((self.command, time.monotonic()))
        self.turn = sum(method == self.command for method, _ in self.asked)
        self.answer(self)

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self.do_GET()

    def send(self, body: bytes = b"", status: int = 200, *, length: int | None = -1, **headers: str) -> None:
        """Send an answer; a `length` below zero is that of the body, and None announces none."""
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.close_connection = True
        if self.command == "GET":
            self.wfile.write(body)


def bring(answer: Callable[[Asked], None], layout: Layout, *, seconds: float = 1.0) -> tuple[SweepReport, list[Any]]:
    """Bring the posts of a dump whose server answers so; gives what it was asked, too."""
    asked: list[tuple[str, float]] = []
    with serving(functools.partial(Asked, answer=answer, asked=asked)) as address:
        source = DumpSource(address, user_agent="tests", retry_seconds=seconds)
        now = datetime(2022, 1, 20, tzinfo=UTC)
        return bring_posts(source, layout, 2021, now=now, progress=lambda _line: None), asked


@pytest.mark.parametrize("status", [204, 400, 401, 403, 404, 405, 406, 410, 411, 429, 500, 501, 502])
def test_a_head_that_fails_means_nothing(layout: Layout, status: int) -> None:
    """Whatever a server answers to HEAD but a success, GET alone says what is there."""
    report, _ = bring(lambda it: it.send(status=status) if it.command == "HEAD" else it.send(LINES), layout)
    assert report.rows == ROWS


def test_a_head_without_an_answer_means_nothing(layout: Layout) -> None:
    """A server that hangs up on HEAD is asked by GET."""

    def answer(it: Asked) -> None:
        if it.command == "HEAD":
            it.close_connection = True
        else:
            it.send(LINES)

    assert bring(answer, layout)[0].rows == ROWS


def test_a_file_that_get_does_not_find_is_absent(layout: Layout) -> None:
    """What neither HEAD nor GET finds is not there."""
    with pytest.raises(SourceUnusable, match="has no posts of 2021"):
        bring(lambda it: it.send(status=404), layout)


def test_a_body_shorter_than_announced_is_no_end(layout: Layout) -> None:
    """Where only HEAD tells the length, a body that ends before it is an interruption, at the end of a line, too."""

    def answer(it: Asked) -> None:
        if it.command == "HEAD":
            it.send(LINES)
        else:
            it.send(HALF if it.turn < 3 else LINES, length=None)

    assert bring(answer, layout)[0].rows == ROWS


def test_a_body_that_stays_shorter_is_refused(layout: Layout) -> None:
    """A body that never reaches the announced length is refused, and no posts are written."""
    with pytest.raises(SourceUnreachable, match=rf"ended after {len(HALF):,} of {len(LINES):,} bytes.*run again"):
        bring(lambda it: it.send(LINES) if it.command == "HEAD" else it.send(HALF, length=None), layout)
    assert not layout.posts(2021).exists()


def test_plain_lines_without_any_length_are_refused(layout: Layout) -> None:
    """Without a declared end nobody knows whether lines are all of them; what is packed shows its own end."""
    with pytest.raises(SourceUnusable, match=r"without its length.*download it"):
        bring(lambda it: it.send(LINES, length=None), layout)
    assert bring(lambda it: it.send(gzip.compress(LINES), length=None), layout)[0].rows == ROWS
    with pytest.raises(SourceUnusable, match="truncated"):
        bring(lambda it: it.send(gzip.compress(LINES)[:-20], length=None), layout)


@pytest.mark.parametrize("wait", ["1", "date"])
def test_a_dump_waits_as_long_as_asked(layout: Layout, wait: str) -> None:
    """No request comes before the time that Retry-After names, in either form."""

    def answer(it: Asked) -> None:
        if it.command == "HEAD":
            it.send(LINES)
        elif it.turn == 1:
            it.send(status=503, Retry_After=formatdate(time.time() + 2, usegmt=True) if wait == "date" else wait)
        else:
            it.send(LINES)

    report, asked = bring(answer, layout, seconds=10)
    (_, first), (_, second) = asked[1:]
    assert report.rows == ROWS
    assert second - first >= 0.9


def test_a_wait_that_is_too_long_is_named(layout: Layout) -> None:
    """A wait beyond what the operator allows ends the read at once, with its length and what to set."""
    with pytest.raises(SourceUnreachable, match=r"wait 86,400 seconds.*DANBOORU_RETRY_SECONDS"):
        bring(lambda it: it.send(status=429, Retry_After="86400"), layout)
    with pytest.raises(SourceUnreachable, match=r"wait 86,400 seconds.*DANBOORU_RETRY_SECONDS"):
        bring(lambda it: it.send(LINES) if it.command == "HEAD" else it.send(status=503, Retry_After="86400"), layout)


def test_a_throttle_without_end_ends(layout: Layout) -> None:
    """A server that says "wait 0 seconds" for ever is not asked for ever."""
    with pytest.raises(SourceUnreachable, match="HTTP 429"):
        bring(lambda it: it.send(status=429, Retry_After="0"), layout, seconds=0.5)


def test_a_wait_is_told(layout: Layout) -> None:
    """While a server asks for time, a line says which file is waited for, why, and for how long."""

    def answer(it: Asked) -> None:
        it.send(LINES) if it.command == "HEAD" or it.turn > 1 else it.send(status=503, Retry_After="1")

    said: list[str] = []
    with serving(functools.partial(Asked, answer=answer, asked=[])) as address:
        source = DumpSource(address, user_agent="tests", retry_seconds=10)
        bring_posts(source, layout, 2021, now=datetime(2022, 1, 20, tzinfo=UTC), progress=said.append)
    assert f"{address}/posts.json: HTTP 503; asked again in 1 s" in said


def drip(it: Asked, *, pieces: int, seconds: float) -> None:
    """Send the lines in so many pieces, each after some time."""
    it.send(b"" if it.command == "GET" else LINES, length=len(LINES))
    size = -(-len(LINES) // pieces)
    with contextlib.suppress(OSError):
        for start in range(0, len(LINES) if it.command == "GET" else 0, size):
            time.sleep(seconds)
            it.wfile.write(LINES[start : start + size])


def test_a_drip_feed_ends(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body below the lowest rate ends after some attempts with that reason; a slow one above it comes whole."""
    monkeypatch.setattr(remote_file, "_PACE_SECONDS", 0.2)
    assert bring(lambda it: drip(it, pieces=3, seconds=0.1), layout)[0].rows == ROWS
    layout.posts(2021).unlink()
    with pytest.raises(SourceUnreachable, match=r"interrupted.*fewer than 16,384 bytes a second\); run again"):
        bring(lambda it: drip(it, pieces=1000, seconds=0.05), layout)
    assert not layout.posts(2021).exists()


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "deflate": zlib.compress,
    "gzip": gzip.compress,
    "br": lambda data: bytes(pa.compress(data, codec="brotli", asbytes=True)),
    "zstd": lambda data: bytes(pa.Codec("zstd").compress(data, asbytes=True)),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_declared_encoding_is_decoded(layout: Layout, encoding: str) -> None:
    """A body that a server compressed unasked is decoded as it declares; a cut one is refused."""
    body = ENCODINGS[encoding](LINES)
    assert bring(lambda it: it.send(body, Content_Encoding=encoding), layout)[0].rows == ROWS
    assert bring(lambda it: it.send(body, length=None, Content_Encoding=encoding), layout)[0].rows == ROWS
    with pytest.raises(SourceUnusable, match=r"truncated|ends early"):
        bring(lambda it: it.send(body[:-9], Content_Encoding=encoding), layout)


def test_a_refused_range_begins_anew(layout: Layout) -> None:
    """A server that refuses the rest is asked for the whole again, without a range, and must send the same."""

    def answer(it: Asked) -> None:
        if it.command == "HEAD" or "Range" not in it.headers:
            body = HALF if it.command == "GET" and it.turn == 1 else LINES
            it.send(body, length=len(LINES), ETag='"1"')
        else:
            it.send(status=416, ETag='"2"')

    report, asked = bring(answer, layout)
    assert report.rows == ROWS
    assert [method for method, _ in asked] == ["HEAD", "GET", "GET", "GET"]


@pytest.mark.parametrize("most", [len(LINES) // 7, len(LINES)])
def test_a_range_shorter_than_asked_for_is_no_end(layout: Layout, most: int) -> None:
    """A server may send less of the rest than it was asked for, even up to the end of a line: the rest is asked for."""

    def answer(it: Asked) -> None:
        if "Range" not in it.headers:
            return it.send(LINES if it.command == "HEAD" else HALF, length=len(LINES), ETag='"1"')
        start = int(it.headers["Range"][6:-1])
        end = LINES.index(b"\n", min(start + most, len(LINES) - 1)) + 1
        return it.send(LINES[start:end], 206, ETag='"1"', Content_Range=f"bytes {start}-{end - 1}/{len(LINES)}")

    report, asked = bring(answer, layout, seconds=9)
    assert report.rows == ROWS
    assert len(asked) >= (3 if most == len(LINES) else 5)


@pytest.mark.parametrize("headers", [{"ETag": '"2"'}, {}, {"ETag": '"1"', "Content_Encoding": "gzip"}])
def test_a_range_of_another_version_is_not_taken(layout: Layout, headers: dict[str, Any]) -> None:
    """A server that does not look at If-Range sends a part of what it has now: nothing is put together from two."""
    newer = LINES.replace(b'"rating":"s"', b'"rating":"e"')

    def answer(it: Asked) -> None:
        if "Range" not in it.headers:
            it.send(LINES if it.command == "HEAD" or it.turn > 1 else HALF, length=len(LINES), ETag='"1"')
        else:
            start = int(it.headers["Range"][6:-1])
            it.send(newer[start:], 206, Content_Range=f"bytes {start}-{len(newer) - 1}/{len(newer)}", **headers)

    assert bring(answer, layout)[0].rows == ROWS
    assert b'"rating":"e"' not in layout.posts(2021).read_bytes()


def test_a_body_of_another_length_than_announced_is_refused(layout: Layout) -> None:
    """A cache that has half a file, and says that this is all, does not make half a dump."""
    with pytest.raises(SourceUnusable, match=rf"announced with {len(LINES):,} bytes, and came with {len(HALF):,}; run"):
        bring(lambda it: it.send(LINES if it.command == "HEAD" else HALF, ETag='"1"'), layout)
    assert not layout.posts(2021).exists()


def test_a_login_in_the_address_is_in_no_message(layout: Layout) -> None:
    """What a message says about an address leaves out its login, whichever step fails."""
    answers = [
        lambda it: it.send(status=403),
        lambda it: it.send(LINES if it.command == "HEAD" else HALF),
        lambda it: it.send(b"<html>", status=200),
        lambda it: it.send(LINES, length=None) if it.command == "GET" else it.send(status=500),
        lambda it: it.send(b"no gzip", Content_Encoding="gzip"),
        lambda it: it.send(status=429, Retry_After="900"),
    ]
    for answer in answers:
        with serving(functools.partial(Asked, answer=answer, asked=[])) as address:
            place = address.replace("//", "//bob:S3cret@")
            source = DumpSource(place, user_agent="tests", retry_seconds=0.1)
            with pytest.raises((SourceUnreachable, SourceUnusable)) as raised:
                bring_posts(source, layout, 2021, now=datetime(2022, 1, 20, tzinfo=UTC), progress=lambda _line: None)
        assert "S3cret" not in str(raised.value)
        assert "//***@127.0.0.1" in str(raised.value)

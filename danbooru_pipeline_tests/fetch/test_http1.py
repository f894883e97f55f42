"""HTTP/1.1 on one connection: what an answer is however it is cut, and what is none."""

import gc
import itertools
import time
import weakref
from collections.abc import Iterable
from typing import Any

import h11
import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.fetch.http1 import MAX_BYTES_ASIDE, Answer, Connection, Timeouts

HEAD = b'HTTP/1.1 200 OK\r\nETag: "a"\r\n'


class Pieces(httpcore.NetworkStream):
    """A connection on which these bytes arrive, one piece a read; then its end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = [piece for piece in pieces if piece]
        self.sent = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the library's
        """The next piece."""
        return self.pieces.pop(0) if self.pieces else b""

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the library's
        """Keep what is sent."""
        self.sent += buffer

    def close(self) -> None:
        """Nothing is open."""

    def get_extra_info(self, info: str) -> Any:  # noqa: ARG002 - the library's
        """Nothing is known."""
        return None


def ask(*pieces: bytes, is_head_only: bool = False) -> Answer:
    """The answer to a request, its body unread."""
    connection = Connection(Pieces(pieces))
    return connection.send(b"GET / HTTP/1.1\r\n\r\n", (), is_head_only=is_head_only, timeouts=Timeouts())


def read(*pieces: bytes, is_head_only: bool = False) -> tuple[int, bytes, bool]:
    """Status and body of an answer, and whether its connection may be used again."""
    answer = ask(*pieces, is_head_only=is_head_only)
    body = b"".join(answer.body())
    return answer.status, body, answer.leaves_connection_usable


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The bytes in pieces."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def chunked(body: bytes, places: list[int]) -> bytes:
    """A body in chunks, with an extension and a trailer."""
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(chunk), chunk) for chunk in cut(body, places))
    return b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX-Sum: 1\r\n\r\n"


def as_read_by_h11(data: bytes) -> tuple[int, bytes]:
    """Status and body as another implementation reads them."""
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(data)
    peer.receive_data(b"")
    status, body = 0, b""
    while not isinstance(event := peer.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
    return status, body


@given(
    body=st.binary(max_size=400),
    form=st.sampled_from(["length", "chunks", "end"]),
    interim=st.booleans(),
    places=st.lists(st.integers(0, 10_000), max_size=12),
    chunks=st.lists(st.integers(0, 10_000), max_size=5),
    status=st.sampled_from([200, 206, 404, 503]),
)
def test_an_answer_is_the_same_however_it_is_cut(
    *, body: bytes, form: str, interim: bool, places: list[int], chunks: list[int], status: int
) -> None:
    """By length, chunks or the connection's end, with an interim answer or not: as another implementation reads it."""
    head = b"HTTP/1.1 %d Any\r\nServer: x\r\n" % status
    rest = {
        "length": b"Content-Length: %d\r\n\r\n%s" % (len(body), body),
        "chunks": chunked(body, chunks),
        "end": b"\r\n" + body,
    }[form]
    data = b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n" * interim + head + rest
    assert read(*cut(data, places)) == (status, body, form != "end")
    assert as_read_by_h11(data) == (status, body)


@given(body=st.binary(min_size=1, max_size=200), places=st.lists(st.integers(0, 10_000), max_size=9), data=st.data())
def test_a_body_that_ends_early_is_an_error(body: bytes, places: list[int], data: st.DataObject) -> None:
    """Wherever the connection ends, a body whose end was declared is not taken for whole."""
    for rest in (b"Content-Length: %d\r\n\r\n%s" % (len(body), body), chunked(body, [])):
        whole = HEAD + rest
        end = data.draw(st.integers(0, len(whole) - 1))
        with pytest.raises(httpx.RemoteProtocolError):
            read(*cut(whole[:end], places))


@pytest.mark.parametrize("rest", [b"Content-Length: 3\r\n\r\nabc", chunked(b"abc", [])])
@pytest.mark.parametrize("more", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz", HEAD, b"\0" * 9])
@pytest.mark.parametrize("apart", [0, 1, 4])
def test_what_comes_after_an_answer_is_no_answer(rest: bytes, more: bytes, apart: int) -> None:
    """Bytes behind the body change nothing of it, and nobody asks on that connection again."""
    data = HEAD + rest + more
    place = len(data) - len(more) - apart  # in one read, or in a later one with the end of the body
    answer = ask(data[:place], data[place:]) if apart else ask(data)
    assert (answer.status, answer.headers[0]) == (200, (b"ETag", b'"a"'))
    assert b"".join(answer.body()) == b"abc"
    assert not answer.leaves_connection_usable


@pytest.mark.parametrize(
    ("answer", "is_usable"),
    [
        (HEAD + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", True),
        (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3   \r\nabc\r\n0  \r\n\r\n", True),
        (b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", True),
        (HEAD + b"Content-Length: 3\r\ncontent-length: 3\r\n\r\nabc", True),
        (HEAD + b"Content-Length: 3 ,3\r\n\r\nabc", True),
        (HEAD + b"X-A: a\x16b\xe3\r\n folded\r\nContent-Length: 3\r\n\r\nabc", True),
        (HEAD + b"Upgrade: h2,h2c\r\nConnection: Upgrade, Keep-Alive\r\nContent-Length: 3\r\n\r\nabc", True),
        (HEAD.replace(b"\r", b"") + b"Content-Length: 3\n\nabc", True),
    ],
    ids=[
        "close",
        "1.0",
        "1.0 kept",
        "chunks before length",
        "padded",
        "no reason",
        "length twice",
        "length as a list",
        "odd value",
        "upgrade offered",
        "lines end in LF",
    ],
)
def test_a_connection_is_kept_if_the_host_keeps_it(answer: bytes, *, is_usable: bool) -> None:
    """What version and header say of the connection holds."""
    assert read(answer) == (200, b"abc", is_usable)


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body(status: int) -> None:
    """Neither these statuses nor an answer to HEAD have one, whatever their length says."""
    assert read(b"HTTP/1.1 %d Any\r\n\r\n" % status) == (status, b"", True)
    assert read(HEAD + b"Content-Length: 999\r\n\r\n", is_head_only=True) == (200, b"", True)
    assert read(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", is_head_only=True) == (200, b"", True)
    assert read(HEAD + b"Content-Length: 3\r\n\r\nabc", is_head_only=True) == (200, b"", False)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"<html>\r\n\r\n",
        b"SSH-2.0-x\r\n",
        HEAD + b"Content-Length: 3, 4\r\n\r\nabc",
        b"HTTP/1.1 101 Upgrade\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        HEAD + b"Content-Length: 99999999999999999999999999\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"no header\r\n\r\n",
        HEAD + b"a" * (MAX_BYTES_ASIDE + 10),
        HEAD + b"X-A: b\r\n" * MAX_BYTES_ASIDE,
        b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_BYTES_ASIDE,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * (MAX_BYTES_ASIDE * 2),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-A: b\r\n" * MAX_BYTES_ASIDE,
    ],
    ids=lambda answer: answer[-12:].decode(),
)
def test_what_is_no_answer_is_an_error(answer: bytes) -> None:
    """No HTTP, lengths that contradict each other, heads and wrappings of chunks without end."""
    with pytest.raises(httpx.RemoteProtocolError):
        read(*cut(answer, list(range(0, len(answer), 4000))))


@pytest.mark.parametrize("rest", [b"Content-Length: 3\r\n\r\nabc", chunked(b"abc", []), b"\r\nabc"])
def test_an_answer_that_was_read_is_no_cycle(rest: bytes) -> None:
    """There is one for each of millions of files: each is freed with its last reference."""
    answer = ask(HEAD + rest)
    assert b"".join(answer.body()) == b"abc"
    known = weakref.ref(answer)
    gc.disable()
    try:
        del answer
        assert known() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 103 Early\r\nConnection: close\r\n\r\n", b"HTTP/1.0 100 Continue\r\n\r\n"]
)
def test_an_interim_answer_closes_nothing(interim: bytes) -> None:
    """What an interim answer says about the connection is not about the answer that follows it."""
    assert read(interim + HEAD + b"Content-Length: 3\r\n\r\nabc") == (200, b"abc", True)


@pytest.mark.parametrize("status", [b"000", b"099", b"99", b"1000"])
def test_a_status_that_is_none_is_no_answer(status: bytes) -> None:
    """Below 100 nothing is interim, so what follows cannot be passed over for ever."""
    with pytest.raises(httpx.RemoteProtocolError):
        read(b"HTTP/1.1 " + status + b" Any\r\n\r\n", *itertools.repeat(b"a\n\n" * 1000, 100))


class Drip(Pieces):
    """A connection on which a byte arrives each millisecond, without end."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next piece, or byte."""
        time.sleep(0.001)
        return super().read(max_bytes, timeout) or b"a"


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 103 Early\r\n\r\n", HEAD])
def test_a_head_has_one_time_limit(begun: bytes) -> None:
    """A head that comes byte by byte is given up when the time of a read is over, though each read has its byte."""
    began = time.monotonic()
    with pytest.raises(httpcore.ReadTimeout):
        Connection(Drip([begun])).send(b"", (), is_head_only=False, timeouts=Timeouts(read=0.2))
    assert 0.2 <= time.monotonic() - began < 10


@pytest.mark.parametrize("rest", [b"Content-Length: 999999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n1;", b"\r\n"])
def test_a_body_has_the_time_limit_that_it_is_given(rest: bytes) -> None:
    """Also where no byte of it arrives, only what chunks are wrapped in."""
    answer = Connection(Drip([HEAD + rest])).send(b"", (), is_head_only=False, timeouts=Timeouts(read=30))
    answer.deadline = time.monotonic() + 0.2
    with pytest.raises(httpcore.ReadTimeout):
        list(answer.body())
    assert time.monotonic() < answer.deadline + 10

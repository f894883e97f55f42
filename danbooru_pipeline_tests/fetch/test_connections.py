"""Connections: kept, taken in the order of last use, replaced when the host closed them; errors are the library's."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import httpcore
import httpx
import pytest

from danbooru_pipeline.fetch.connections import _ERRORS, TurnsTransport, limit_body
from danbooru_pipeline.fetch.gil_turns import set_low_watermark

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"


@contextlib.contextmanager
def host(talk: Callable[[socket.socket, int, list[bytes]], None]) -> Iterator[tuple[str, list[bytes]]]:
    """A port; `talk` gets each connection with its number, and the requests so far. Yields address and requests."""
    requests: list[bytes] = []
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    number = len(threads)
                    thread = threading.Thread(target=talk, args=(connection, number, requests), daemon=True)
                    threads.append(thread)
                    thread.start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(5)


def answering(most: int = 1000) -> Callable[[socket.socket, int, list[bytes]], None]:
    """Answers so many requests of a connection, then closes it."""

    def talk(connection: socket.socket, number: int, requests: list[bytes]) -> None:
        with connection, contextlib.suppress(OSError):
            for _ in range(most):
                data = connection.recv(65536)
                if not data:
                    return
                requests.append(b"%d " % number + data)
                connection.sendall(ANSWER)

    return talk


@contextlib.contextmanager
def transport(seconds: float = 5.0) -> Iterator[TurnsTransport]:
    """A transport that is closed after the block."""
    made = TurnsTransport(trust_env=False, timeout=httpx.Timeout(seconds))
    try:
        yield made
    finally:
        made.close()


def body_of(sender: TurnsTransport, url: str) -> bytes:
    """Send a request, and read its body."""
    response = sender.get(httpx.URL(url), {"User-Agent": "tests"})
    try:
        return b"".join(response.iter_raw())
    finally:
        response.close()


def test_requests_one_after_the_other_share_a_connection() -> None:
    """The next request goes out on the connection of the last one, with the headers that it was given."""
    with host(answering()) as (url, requests), transport() as sender:
        assert [body_of(sender, f"{url}/{n}") for n in range(5)] == [b"abc"] * 5
    assert [request.split(b" ")[0] for request in requests] == [b"0"] * 5
    assert f"Host: {url.removeprefix('http://')}\r\n".encode() in requests[0]
    assert b"User-Agent: tests\r\n" in requests[0]


def test_requests_at_the_same_time_have_connections_of_their_own() -> None:
    """A connection whose body is being read serves nobody else; the one given back last is used next."""
    with host(answering()) as (url, requests), transport() as sender:
        first = sender.get(httpx.URL(url), {})
        assert body_of(sender, url) == b"abc"
        first.read()
        first.close()
        body_of(sender, url)
    assert [request.split(b" ")[0] for request in requests] == [b"0", b"1", b"0"]


def test_connection_that_the_host_closed_is_replaced() -> None:
    """A host may close a connection between two requests."""
    closed = threading.Event()

    def talk(connection: socket.socket, number: int, requests: list[bytes]) -> None:
        answering(1)(connection, number, requests)
        closed.set()

    with host(talk) as (url, requests), transport() as sender:
        for _ in range(3):
            assert body_of(sender, url) == b"abc"
            assert closed.wait(5)
            closed.clear()
    assert len(requests) == 3


def test_body_that_is_not_read_is_not_left_on_the_connection() -> None:
    """A response that is closed before its body is there costs its connection; one that came with its head does not."""

    def talk(connection: socket.socket, number: int, requests: list[bytes]) -> None:
        with connection, contextlib.suppress(OSError):
            requests.append(b"%d " % number + connection.recv(65536))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
            if not connection.recv(65536):
                return
            requests.append(b"bytes on a connection that was to be closed")

    with host(talk) as (url, requests), transport() as sender:
        for _ in range(2):
            sender.get(httpx.URL(url), {}).close()
    assert [request.split(b" ")[0] for request in requests] == [b"0", b"1"]
    with host(answering()) as (url, requests), transport() as sender:
        sender.get(httpx.URL(url), {}).close()
        assert body_of(sender, url) == b"abc"
    assert [request.split(b" ")[0] for request in requests] == [b"0", b"0"]


def test_no_connection_outlives_its_transport() -> None:
    """Closing closes the idle ones at once, and one in use when it is given back."""
    ended = threading.Semaphore(0)

    def talk(connection: socket.socket, number: int, requests: list[bytes]) -> None:
        answering()(connection, number, requests)
        ended.release()

    with host(talk) as (url, _), transport() as sender:
        in_use = sender.get(httpx.URL(url), {})
        body_of(sender, url)
        sender.close()
        assert ended.acquire(timeout=5)
        assert in_use.read() == b"abc"
        in_use.close()
        assert ended.acquire(timeout=5)


def test_every_error_below_has_its_name_above() -> None:
    """Whatever the lower library raises, callers catch an error of the upper one."""
    for kind in vars(httpcore).values():
        if isinstance(kind, type) and issubclass(kind, _ERRORS):
            assert issubclass(getattr(httpx, kind.__name__), httpx.TransportError)


@pytest.mark.parametrize("headers", [{"X-A": "b\r\nX-C: d"}, {"X-A\n": "b"}, {"X-A": "b\0"}])
def test_a_header_cannot_become_two(headers: dict[str, str]) -> None:
    """A line break or a NUL in a header is refused before anything is sent."""
    with host(answering()) as (url, requests), transport() as sender:
        with pytest.raises(httpx.LocalProtocolError):
            sender.get(httpx.URL(url), headers)
        assert body_of(sender, url) == b"abc"
    assert len(requests) == 1


def test_forms_are_sent_with_their_body() -> None:
    """The library's client sends what it likes through the same connections."""
    with host(answering()) as (url, requests), transport() as sender, httpx.Client(transport=sender) as client:
        assert client.put(url, data={"a": "b"}).content == b"abc"
        assert client.get(url).content == b"abc"
    sent = b"".join(requests)
    assert sent.startswith(b"0 PUT / HTTP/1.1\r\n")
    assert b"Content-Length: 3\r\n" in sent
    assert b"\r\n\r\na=b" in sent


def test_a_host_by_its_address_of_version_6_is_named_in_brackets() -> None:
    """The header Host has the brackets that the address needs."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener, transport() as sender:
        requests: list[bytes] = []
        threading.Thread(target=lambda: answering(1)(listener.accept()[0], 0, requests), daemon=True).start()
        port = listener.getsockname()[1]
        assert body_of(sender, f"http://[::1]:{port}/") == b"abc"
    assert f"Host: [::1]:{port}\r\n".encode() in requests[0]


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", b"nonsense\r\n\r\n"])
def test_what_goes_wrong_is_an_error_of_the_library(answer: bytes) -> None:
    """No answer, half a body and no HTTP at all are transport errors, as is a port that nobody listens on."""

    def talk(connection: socket.socket, _number: int, _requests: list[bytes]) -> None:
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    with host(talk) as (url, _), transport() as sender, pytest.raises(httpx.TransportError):
        body_of(sender, url)
    with transport() as sender, pytest.raises(httpx.ConnectError):
        body_of(sender, url)


def test_a_slow_body_below_the_mark_is_no_time_out() -> None:
    """What arrived within the time-out counts, though it is less than a read waits for; silence is a time-out."""
    go = threading.Event()

    def talk(connection: socket.socket, _number: int, _requests: list[bytes]) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + bytes(1000))
            go.wait(5)
            connection.sendall(bytes(1000))
            connection.recv(1)  # until the client gives up

    with host(talk) as (url, _), transport(0.3) as sender:
        response = sender.get(httpx.URL(url), {})
        body = response.iter_raw()
        assert len(next(body)) == 1000
        set_low_watermark(response, 399_000)
        go.set()
        assert len(next(body)) == 1000
        set_low_watermark(response, 398_000)
        with pytest.raises(httpx.ReadTimeout):
            next(body)
        response.close()


@pytest.mark.parametrize("end", ["closed", "reset"])
def test_a_request_that_meets_the_end_of_a_kept_connection_is_sent_again(end: str) -> None:
    """Its host may not have seen it: nothing fails, though every kept connection is one that the host forgot."""
    kept, may_end = threading.Semaphore(0), threading.Event()

    def talk(connection: socket.socket, number: int, requests: list[bytes]) -> None:
        with connection:
            requests.append(b"%d " % number + connection.recv(65536))
            connection.sendall(ANSWER)
            if number >= 3:
                return answering()(connection, number, requests)
            kept.release()
            connection.recv(65536)  # the next request, which gets no answer
            may_end.wait(5)
            if end == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return None

    with host(talk) as (url, requests), transport() as sender:
        opened = [sender.get(httpx.URL(url), {}) for _ in range(3)]
        for response in opened:
            response.read()
            response.close()
            assert kept.acquire(timeout=5)
        may_end.set()
        assert [body_of(sender, f"{url}/{n}") for n in range(4)] == [b"abc"] * 4
    assert [request.split(b" ")[0] for request in requests] == [b"0", b"1", b"2", *[b"3"] * 4]


def test_a_change_is_sent_once_on_a_connection_of_its_own() -> None:
    """Nobody can tell whether a form that met the end of a connection was received, so none is risked on a kept one."""
    with host(answering()) as (url, requests), transport() as sender, httpx.Client(transport=sender) as client:
        client.get(url)
        client.put(url, data={"a": "b"})
        client.get(url)
    assert [b" ".join(request.split(b" ")[:2]) for request in requests] == [b"0 GET", b"1 PUT", b"1 GET"]


def test_an_answer_that_stops_half_way_is_not_asked_for_again() -> None:
    """Once a byte of an answer came, whoever sent the request decides about another one."""

    def talk(connection: socket.socket, number: int, requests: list[bytes]) -> None:
        with connection:
            requests.append(b"%d " % number + connection.recv(65536))
            connection.sendall(ANSWER)
            requests.append(b"%d " % number + connection.recv(65536))
            connection.sendall(b"HTTP/1.1 2")

    with host(talk) as (url, requests), transport() as sender:
        body_of(sender, url)
        with pytest.raises(httpx.RemoteProtocolError):
            body_of(sender, url)
    assert len(requests) == 2


def test_a_body_is_late_however_often_a_byte_arrives() -> None:
    """The time limit of a body ends a read that waits for more of it."""

    def talk(connection: socket.socket, _number: int, _requests: list[bytes]) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
            while True:
                connection.sendall(b"a")
                time.sleep(0.02)

    with host(talk) as (url, _), transport(30) as sender:
        response = sender.get(httpx.URL(url), {})
        limit_body(response, time.monotonic() + 0.2)
        began = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            response.read()
        assert time.monotonic() - began < 10
        response.close()


def test_an_address_that_swallows_everything_costs_its_time_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a broken way to IPv6: the next connection goes to the address that answered."""
    with host(answering(1)) as (url, requests), socket.socket() as deaf, transport(1.2) as sender:
        port = httpx.URL(url).port
        assert port is not None
        deaf.bind(("127.0.0.2", port))
        deaf.listen(0)
        fill = [socket.socket() for _ in range(4)]
        for each in fill:
            each.setblocking(False)  # noqa: FBT003 - the library's
            each.connect_ex(("127.0.0.2", port))
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port)) for n in (2, 1)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda name, *_: found if name == "pictures.example" else found[1:])
        seconds = []
        for _ in range(3):
            began = time.monotonic()
            assert body_of(sender, f"http://pictures.example:{port}/") == b"abc"
            seconds.append(time.monotonic() - began)
        for each in fill:
            each.close()
    assert seconds[0] >= 1.2 > max(seconds[1:])
    assert len(requests) == 3

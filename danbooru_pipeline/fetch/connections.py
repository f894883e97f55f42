"""The connections of a client: a stack of idle ones per host, and the way to put a request on one.

The library's own pool looks at every idle connection, by a system call each, before every request, and its client
builds objects that a download never uses. Together that cost more CPU than hashing a picture. Here a request takes the
connection that was used last. Threads share a stack; a connection serves one request at a time.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final

import httpcore
import httpx

from danbooru_pipeline.fetch.environment import DEFAULT_PORTS, Proxy, proxy_for, trusted_certificates
from danbooru_pipeline.fetch.gil_turns import TurnsBackend
from danbooru_pipeline.fetch.http1 import Answer, Connection, Headers, Timeouts

#: What a request that is sent without the library's client has besides its own headers, as the client would send them.
_PLAIN_HEADERS: Final = ((b"Accept", b"*/*"), (b"Connection", b"keep-alive"))

#: What may be sent again when nobody can tell whether it was received. Anything else gets a connection of its own.
_REPEATABLE: Final = frozenset({"GET", "HEAD"})
#: Where a response has its `Answer`.
_ANSWER: Final = "answer"

_ERRORS: Final = (httpcore.TimeoutException, httpcore.NetworkError)

#: Scheme, host and port.
_Origin = tuple[str, str, int]


class TurnsTransport(httpx.BaseTransport):
    """Sends requests on kept connections, whose threads give up their turn while they wait for the network.

    Args:
        trust_env: whether certificates and proxies may come from the environment.
        timeout: of requests that are sent by `get`.
    """

    def __init__(self, *, trust_env: bool, timeout: httpx.Timeout) -> None:
        self._trust_env = trust_env
        self._proxies: dict[_Origin, Proxy | None] = {}
        self._certificates = trusted_certificates(trust_env=trust_env)  # loaded once: it takes 23 ms
        self._certificates.set_alpn_protocols(["http/1.1"])
        self._timeouts = Timeouts.of(timeout.as_dict())
        self._backend = TurnsBackend()
        self._idle: dict[_Origin, list[Connection]] = defaultdict(list)  # guarded by _lock
        self._lock = threading.Lock()
        self._is_closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request of the library's client."""
        assert isinstance(request.stream, httpx.SyncByteStream)
        timeouts = Timeouts.of(request.extensions.get("timeout", {}))
        return self._send(request.method, request.url, request.headers.raw, request.stream, timeouts)

    def get(self, url: httpx.URL, headers: Mapping[str, str]) -> httpx.Response:
        """Send a GET without the library's client: without cookies, authentication and redirects."""
        own = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
        return self._send("GET", url, [(b"Host", url.netloc), *_PLAIN_HEADERS, *own], (), self._timeouts)

    def close(self) -> None:
        """Close all connections; those in use, once they are given back."""
        with self._lock:
            self._is_closed = True
            idle = [connection for each in self._idle.values() for connection in each]
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _send(
        self, method: str, url: httpx.URL, headers: Headers, body: Iterable[bytes], timeouts: Timeouts
    ) -> httpx.Response:
        origin = (url.scheme, url.raw_host.decode("ascii"), url.port or DEFAULT_PORTS[url.scheme])
        proxy = self._proxy_of(origin)
        login: Headers
        target, login = url.raw_path, []
        if proxy is not None and url.scheme == "http":
            target, login = b"%s://%s%s" % (url.raw_scheme, url.netloc, url.raw_path), proxy.headers
        head = _head_of(method, target, [*headers, *login])
        send = partial(_send_on, head=head, body=body, is_head_only=method == "HEAD", timeouts=timeouts)
        with _errors_of_httpx():
            sent = self._send_kept(origin, send) if method in _REPEATABLE else None
            if sent is None:
                opened = self._open(origin, proxy, timeouts)
                sent = opened, send(opened)
        connection, answer = sent
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer, partial(self._give_back, connection, origin)),
            extensions={"network_stream": connection.stream, _ANSWER: answer},
        )

    def _send_kept(self, origin: _Origin, send: Callable[[Connection], Answer]) -> tuple[Connection, Answer] | None:
        """Send a request on an idle connection; None without one, or if its host closed it as the request went out."""
        connection = self._take_idle(origin)
        if connection is None:
            return None
        try:
            return connection, send(connection)
        except (httpcore.ReadError, httpcore.WriteError, httpx.RemoteProtocolError):
            if connection.is_answered:
                raise
        self._close_idle(origin)
        return None

    def _proxy_of(self, origin: _Origin) -> Proxy | None:
        """Asked once for each host: the environment of a process does not change."""
        if not self._trust_env:
            return None
        if origin not in self._proxies:
            self._proxies[origin] = proxy_for(*origin[:2])
        return self._proxies[origin]

    def _take_idle(self, origin: _Origin) -> Connection | None:
        """A connection that the host has not closed, the one used last; None without one."""
        while True:
            with self._lock:
                idle = self._idle[origin]
                connection = idle.pop() if idle else None
            if connection is None or not connection.has_expired():
                return connection
            connection.close()

    def _close_idle(self, origin: _Origin) -> None:
        """Close what waits for a host that no longer knows one of its connections: it may know none of them."""
        with self._lock:
            idle = self._idle.pop(origin, [])
        for connection in idle:
            connection.close()

    def _open(self, origin: _Origin, proxy: Proxy | None, timeouts: Timeouts) -> Connection:
        """A new connection to a host, or to the proxy that leads to it."""
        scheme, host, port = origin if proxy is None else (proxy.scheme, proxy.host, proxy.port)
        stream: httpcore.NetworkStream = self._backend.connect_tcp(host, port, timeouts.connect)
        try:
            if scheme == "https":
                stream = stream.start_tls(self._certificates, host, timeouts.connect)
            if proxy is not None and origin[0] == "https":
                _open_tunnel(stream, origin, proxy, timeouts)
                stream = stream.start_tls(self._certificates, origin[1], timeouts.connect)
        except BaseException:
            stream.close()
            raise
        return Connection(stream)

    def _give_back(self, connection: Connection, origin: _Origin, *, is_usable: bool) -> None:
        """Take a connection whose response is closed."""
        connection.keep()
        with self._lock:
            if is_usable and not self._is_closed:
                self._idle[origin].append(connection)
                return
        connection.close()


class _Body(httpx.SyncByteStream):
    """The body of a response; closing it gives its connection back."""

    def __init__(self, answer: Answer, give_back: Callable[..., None]) -> None:
        self._answer = answer
        self._give_back: Callable[..., None] | None = give_back

    def __iter__(self) -> Iterator[bytes]:
        with _errors_of_httpx():
            yield from self._answer.body()

    def close(self) -> None:
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            give_back(is_usable=self._answer.leaves_connection_usable)


def limit_body(response: httpx.Response, deadline: float) -> None:
    """Give the body of a response a time by which it has to be whole, as `time.monotonic` counts.

    A read beyond it raises `httpx.ReadTimeout`, however often a byte arrives.
    """
    answer = response.extensions.get(_ANSWER)
    if isinstance(answer, Answer):
        answer.deadline = deadline


def _send_on(
    connection: Connection, *, head: bytes, body: Iterable[bytes], is_head_only: bool, timeouts: Timeouts
) -> Answer:
    """Send a request; a connection on which that fails is closed."""
    try:
        return connection.send(head, body, is_head_only=is_head_only, timeouts=timeouts)
    except BaseException:
        connection.close()
        raise


def _open_tunnel(stream: httpcore.NetworkStream, origin: _Origin, proxy: Proxy, timeouts: Timeouts) -> None:
    """Make a proxy pass on what is sent, unread, to a host.

    Raises:
        httpx.ProxyError: it does not.
    """
    _, host, port = origin
    place = f"[{host}]:{port}".encode() if ":" in host else f"{host}:{port}".encode()
    head = _head_of("CONNECT", place, [(b"Host", place), *proxy.headers])
    answer = Connection(stream).send(head, (), is_head_only=True, timeouts=timeouts)
    if not httpx.codes.is_success(answer.status):
        raise httpx.ProxyError(f"the proxy {proxy.host}:{proxy.port} answers HTTP {answer.status}")


def _head_of(method: str, target: bytes, headers: Headers) -> bytes:
    """The head of a request.

    Raises:
        httpx.LocalProtocolError: a line would become two.
    """
    lines = [b"%s %s HTTP/1.1" % (method.encode("ascii"), target), *(b"%s: %s" % pair for pair in headers)]
    head = b"\r\n".join([*lines, b"", b""])
    if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1 or b"\0" in head:
        raise httpx.LocalProtocolError("a header of the request contains a line break or a NUL")
    return head


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    """Raise an error of the lower library as the upper one names it: both use the same names."""
    try:
        yield
    except _ERRORS as error:
        raise getattr(httpx, type(error).__name__, httpx.TransportError)(str(error)) from error

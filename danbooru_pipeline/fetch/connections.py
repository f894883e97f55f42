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

from danbooru_pipeline.fetch.gil_turns import TurnsBackend
from danbooru_pipeline.fetch.http1 import Answer, Connection, Headers, Timeouts

#: What a request that is sent without the library's client has besides its own headers, as the client would send them.
_PLAIN_HEADERS: Final = ((b"Accept", b"*/*"), (b"Connection", b"keep-alive"))
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_ERRORS: Final = (httpcore.TimeoutException, httpcore.NetworkError)

#: Scheme, host and port.
_Origin = tuple[str, str, int]


class TurnsTransport(httpx.BaseTransport):
    """Sends requests on kept connections, whose threads give up their turn while they wait for the network.

    Args:
        trust_env: whether certificates may come from the environment.
        timeout: of requests that are sent by `get`.
    """

    def __init__(self, *, trust_env: bool, timeout: httpx.Timeout) -> None:
        self._certificates = httpx.create_ssl_context(trust_env=trust_env)  # loaded once: it takes 23 ms
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
        head = _head_of(method, url, headers)
        origin = (url.scheme, url.raw_host.decode("ascii"), url.port or _DEFAULT_PORTS[url.scheme])
        with _errors_of_httpx():
            connection = self._take_idle(origin) or self._open(origin, timeouts)
            try:
                answer = connection.send(head, body, is_head_only=method == "HEAD", timeouts=timeouts)
            except BaseException:
                connection.close()
                raise
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer, partial(self._give_back, connection, origin)),
            extensions={"network_stream": connection.stream},
        )

    def _take_idle(self, origin: _Origin) -> Connection | None:
        """A connection that the host has not closed, the one used last; None without one."""
        while True:
            with self._lock:
                idle = self._idle[origin]
                connection = idle.pop() if idle else None
            if connection is None or not connection.has_expired():
                return connection
            connection.close()

    def _open(self, origin: _Origin, timeouts: Timeouts) -> Connection:
        scheme, host, port = origin
        stream: httpcore.NetworkStream = self._backend.connect_tcp(host, port, timeouts.connect)
        if scheme == "https":
            try:
                stream = stream.start_tls(self._certificates, host, timeouts.connect)
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


def _head_of(method: str, url: httpx.URL, headers: Headers) -> bytes:
    """The head of a request.

    Raises:
        httpx.LocalProtocolError: a line would become two.
    """
    lines = [b"%s %s HTTP/1.1" % (method.encode("ascii"), url.raw_path), *(b"%s: %s" % pair for pair in headers)]
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

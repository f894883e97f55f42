"""The connections of a client: a stack of idle ones per host, and the way to put a request on one.

The library's own pool looks at every idle connection, by a system call each, before every request, and its client
builds objects that a download never uses. Together that cost more CPU than hashing a picture. Here a request takes the
connection that was used last, and HTTP itself is still the library's. Threads share a stack; a connection serves one
request at a time.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, NoReturn

import httpcore
import httpx

from danbooru_pipeline.fetch.gil_turns import TurnsBackend

#: What a request that is sent without the library's client has besides its own headers, as the client would send them.
_PLAIN_HEADERS: Final = ((b"Accept", b"*/*"), (b"Connection", b"keep-alive"))
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_KEEPALIVE_SECONDS: Final = 5.0

_ERRORS: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
)

Headers = list[tuple[bytes, bytes]]


class TurnsTransport(httpx.BaseTransport):
    """Sends requests on kept connections, whose threads give up their turn while they wait for the network.

    Args:
        trust_env: whether certificates may come from the environment.
        timeout: of requests that are sent by `get`.
    """

    def __init__(self, *, trust_env: bool, timeout: httpx.Timeout) -> None:
        self._certificates = httpx.create_ssl_context(trust_env=trust_env)  # loaded once: it takes 23 ms
        self._timeout = {"timeout": timeout.as_dict()}
        self._idle: dict[bytes, list[httpcore.HTTPConnection]] = defaultdict(list)  # by host; guarded by _lock
        self._lock = threading.Lock()
        self._is_closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request of the library's client."""
        assert isinstance(request.stream, httpx.SyncByteStream)
        inner = httpcore.Request(
            method=request.method,
            url=_url_of(request.url),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        return self._send(inner)

    def get(self, url: httpx.URL, headers: Mapping[str, str]) -> httpx.Response:
        """Send a GET without the library's client: without cookies, authentication and redirects."""
        host = url.raw_host if url.port is None else b"%s:%d" % (url.raw_host, url.port)
        own = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
        sent: Headers = [(b"Host", host), *_PLAIN_HEADERS, *own]
        return self._send(httpcore.Request("GET", _url_of(url), headers=sent, extensions=self._timeout))

    def close(self) -> None:
        """Close all connections; those in use, once they are given back."""
        with self._lock:
            self._is_closed = True
            idle = [connection for each in self._idle.values() for connection in each]
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _send(self, request: httpcore.Request) -> httpx.Response:
        connection = self._take(request.url.origin)
        try:
            response = connection.handle_request(request)
        except _ERRORS as error:
            connection.close()
            _raise_as_httpx(error)
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(self, connection, request.url.origin, response.stream),
            extensions=response.extensions,
        )

    def _take(self, origin: httpcore.Origin) -> httpcore.HTTPConnection:
        """A connection that the host has not closed: the one used last, else a new one."""
        while True:
            with self._lock:
                idle = self._idle[_key(origin)]
                connection = idle.pop() if idle else None
            if connection is None:
                return httpcore.HTTPConnection(
                    origin,
                    ssl_context=self._certificates,
                    keepalive_expiry=_KEEPALIVE_SECONDS,
                    network_backend=TurnsBackend(),
                )
            if not connection.has_expired():
                return connection
            connection.close()

    def give_back(self, connection: httpcore.HTTPConnection, origin: httpcore.Origin) -> None:
        """Take a connection whose response is closed."""
        with self._lock:
            if connection.is_idle() and not self._is_closed:
                self._idle[_key(origin)].append(connection)
                return
        connection.close()


class _Body(httpx.SyncByteStream):
    """The body of a response; closing it gives its connection back."""

    def __init__(
        self, transport: TurnsTransport, connection: httpcore.HTTPConnection, origin: httpcore.Origin, stream: Any
    ) -> None:
        self._stream = stream
        self._give_back: Callable[[], None] | None = partial(transport.give_back, connection, origin)

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except _ERRORS as error:
            _raise_as_httpx(error)

    def close(self) -> None:
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            self._stream.close()
            give_back()


def _key(origin: httpcore.Origin) -> bytes:
    return b"%s://%s:%d" % (origin.scheme, origin.host, origin.port)


def _url_of(url: httpx.URL) -> httpcore.URL:
    port = url.port or _DEFAULT_PORTS.get(url.scheme)
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=port, target=url.raw_path)


def _raise_as_httpx(error: Exception) -> NoReturn:
    """Raise an error of the lower library as the upper one names it: both use the same names."""
    raise getattr(httpx, type(error).__name__, httpx.TransportError)(str(error)) from error

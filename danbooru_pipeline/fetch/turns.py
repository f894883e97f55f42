"""How many download threads compute at once; the others wait for the network.

Threads that are all ready to run fight over the interpreter's one lock: with 32 of them each system call becomes a
change of threads, and a download costs twice the CPU time that it costs alone. So a download computes only in its turn,
and lets another have it wherever it waits. The interpreter is one a process, and so is this.
"""

import contextlib
import ssl
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final

import httpcore
import httpx

#: One that has the interpreter's lock, and one that hashes, writes or reads without it.
TURNS: Final = 2
#: Taken from a socket at once. The library's own 64 KiB make four passes through it of an ordinary picture.
READ_BYTES: Final = 2**18

_turns = threading.Semaphore(TURNS)
_mine = threading.local()


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Compute in turn for the length of the block. A thread that has its turn already must not ask for another."""
    with _turns:
        _mine.held = True
        try:
            yield
        finally:
            _mine.held = False


@contextlib.contextmanager
def away() -> Iterator[None]:
    """Wait for something for the length of the block, so that another thread has the turn; nothing without one."""
    if not getattr(_mine, "held", False):
        yield
        return
    _mine.held = False
    _turns.release()
    try:
        yield
    finally:
        _turns.acquire()
        _mine.held = True


class TurnsTransport(httpx.HTTPTransport):
    """The library's transport, whose threads are away while they wait for the network."""

    def __init__(self, *, limits: httpx.Limits, trust_env: bool) -> None:
        certificates = httpx.create_ssl_context(trust_env=trust_env)  # read once: that takes 23 ms
        super().__init__(verify=certificates, limits=limits, trust_env=trust_env)
        self._pool = httpcore.ConnectionPool(  # the library's own takes no backend
            ssl_context=certificates,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Backend(),
        )


class _Backend(httpcore.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        with away():
            return _Stream(super().connect_tcp(host, port, timeout, local_address, socket_options))


class _Stream(httpcore.NetworkStream):
    """A connection whose every wait is `away`."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with away():
            return self._stream.read(max(max_bytes, READ_BYTES), timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)  # a request, which fits the socket's buffer

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        with away():
            return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

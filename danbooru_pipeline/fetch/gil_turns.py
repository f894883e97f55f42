"""One download thread computes at a time; the others wait for the network or the disk.

Threads that are all ready to run fight over the interpreter's one lock: with 32 of them each system call becomes a
change of threads, and a download costs twice the CPU time that it costs alone. So a download computes only in its turn,
and lets another have it wherever it waits. The interpreter is one a process, and so is this.
"""

import contextlib
import functools
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

import httpcore
import httpx

#: Taken from a socket at once. The library's own 64 KiB make four passes through it of an ordinary picture.
READ_BYTES: Final = 2**18

#: A thread that waits for a body sleeps until so much of it is there; the network brings it in pieces of 1.4 KB.
PIECE_BYTES: Final = 2**16
#: Bytes that TLS may have taken from the socket without handing them out: a record.
_RECORD_BYTES: Final = 17 * 2**10

_turn = threading.Lock()
_mine = threading.local()
T = TypeVar("T")


@contextlib.contextmanager
def cpu_turn() -> Iterator[None]:
    """Compute in turn for the length of the block. A thread that has its turn already must not ask for another."""
    with _turn:
        _mine.held = True
        try:
            yield
        finally:
            _mine.held = False


@contextlib.contextmanager
def without_turn() -> Iterator[None]:
    """Wait for something for the length of the block, so that another thread has the turn; nothing without one."""
    if not getattr(_mine, "held", False):
        yield
        return
    _mine.held = False
    _turn.release()
    try:
        yield
    finally:
        _turn.acquire()
        _mine.held = True


def set_low_watermark(response: httpx.Response, remaining: int) -> None:
    """Have the next read of a body wait for a good piece of it.

    Args:
        response: whose body is read.
        remaining: bytes of it that are still to come; 0 at its end, or when that is not known.
    """
    stream = response.extensions.get("network_stream")
    if isinstance(stream, _Stream):
        stream.set_low_watermark(max(1, min(PIECE_BYTES, remaining - _RECORD_BYTES)))


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
        with without_turn():
            return _Stream(super().connect_tcp(host, port, timeout, local_address, socket_options))


class _Stream(httpcore.NetworkStream):
    """A connection that is asked before it is waited for, and whose every wait is `away`."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._socket = stream.get_extra_info("socket")
        self._number = self._socket.fileno()
        self._socket.settimeout(0)  # the library sets it anew for each read, and waits before it looks
        self._low_water = 1

    def set_low_watermark(self, size: int) -> None:
        """Count the socket as ready to be read when so many bytes are there, or it ended."""
        if size != self._low_water:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
            self._low_water = size

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        most = max(max_bytes, READ_BYTES)
        try:
            data: bytes = self._patiently(functools.partial(self._socket.recv, most), select.POLLIN, timeout)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(error) from error
        except OSError as error:
            raise httpcore.ReadError(error) from error
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            while buffer:
                sent = self._patiently(functools.partial(self._socket.send, buffer), select.POLLOUT, timeout)
                buffer = buffer[sent:]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(error) from error
        except OSError as error:
            raise httpcore.WriteError(error) from error

    def _patiently(self, call: Callable[[], T], event: int, timeout: float | None) -> T:
        """What a call returns when the socket is ready for it.

        Raises:
            OSError: of the call; `TimeoutError` when so many seconds went by.
        """
        while True:
            try:
                return call()
            except BlockingIOError:
                awaited = event
            except ssl.SSLWantReadError:
                awaited = select.POLLIN
            except ssl.SSLWantWriteError:
                awaited = select.POLLOUT
            poll = select.poll()
            poll.register(self._number, awaited)
            with without_turn():
                is_ready = poll.poll(None if timeout is None else timeout * 1000)
            if not is_ready:
                raise TimeoutError(f"not ready within {timeout} s")

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        with without_turn():
            return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

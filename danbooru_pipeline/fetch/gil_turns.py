"""One download thread uses the CPU at a time; the others wait for the network or the disk.

Runnable threads compete for the GIL: with 32 of them every system call becomes a thread switch, and a download costs
twice the CPU time that it costs alone. So a download thread runs only while it holds the turn, and gives the turn up
wherever it waits. There is one GIL per process, and one turn.
"""

import contextlib
import functools
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

import httpcore
import httpx

#: Size of one read from a socket. With the library's own 64 KiB an ordinary picture takes four passes through it.
READ_BYTES: Final = 2**18

#: A thread that waits for a body sleeps until this much has arrived; packets bring 1.4 KB each. Most pictures are
#: smaller, so they take one wake-up. What arrives more slowly is read when the time-out is over.
WATERMARK_BYTES: Final = 2**18
#: Upper bound of a TLS record: bytes that TLS may have read from the socket and not handed out yet.
_TLS_RECORD_BYTES: Final = 17 * 2**10

#: To connect takes a tenth of that; an address that does not answer takes the whole time limit.
_SLOW_SECONDS: Final = 1.0

_turn = threading.Lock()
_this_thread = threading.local()
T = TypeVar("T")


@contextlib.contextmanager
def cpu_turn() -> Iterator[None]:
    """Hold the turn for the length of the block.

    Not reentrant: a thread that holds the turn must not ask for it again.
    """
    with _turn:
        _this_thread.held = True
        try:
            yield
        finally:
            _this_thread.held = False


@contextlib.contextmanager
def without_turn() -> Iterator[None]:
    """Give the turn to another thread for the length of a block that waits. Without the turn it does nothing."""
    if not getattr(_this_thread, "held", False):
        yield
        return
    _this_thread.held = False
    _turn.release()
    try:
        yield
    finally:
        _turn.acquire()
        _this_thread.held = True


def set_low_watermark(response: httpx.Response, remaining: int) -> None:
    """Make the next read of a body wait for `WATERMARK_BYTES` (SO_RCVLOWAT), or for less near its end.

    Args:
        response: whose body is being read.
        remaining: bytes of the body still to come; 0 at its end, or when its length is unknown.
    """
    stream = response.extensions.get("network_stream")
    if isinstance(stream, _Stream):
        stream.set_low_watermark(max(1, min(WATERMARK_BYTES, remaining - stream.read_ahead_bytes)))


class TurnsBackend(httpcore.SyncBackend):
    """Opens connections whose threads give up their turn while they wait.

    The addresses of a host are tried in their order. Where that took long, as with a broken way to IPv6, which swallows
    what is sent, the one that answered is tried first from then on: a time limit at each connection would be felt.
    """

    def __init__(self) -> None:
        self._answering: dict[tuple[str, int], str] = {}

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect without the turn."""
        known, began = self._answering.get((host, port)), time.monotonic()
        with without_turn():
            if known is not None:
                try:
                    return _Stream(super().connect_tcp(known, port, timeout, local_address, socket_options))
                except (httpcore.ConnectError, httpcore.ConnectTimeout):
                    self._answering.pop((host, port), None)
            stream = _Stream(super().connect_tcp(host, port, timeout, local_address, socket_options))
        if time.monotonic() - began > _SLOW_SECONDS:
            with contextlib.suppress(OSError):  # it may be closed again
                self._answering[host, port] = stream.get_extra_info("server_addr")[0]
        return stream


class _Stream(httpcore.NetworkStream):
    """A connection that tries each call before it polls, and polls without the turn.

    Attributes:
        read_ahead_bytes: what may have been read from the socket and not handed out yet.
    """

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._socket = stream.get_extra_info("socket")
        self._number = self._socket.fileno()
        # Non-blocking, once: the library sets a time-out for each read, and polls before it reads.
        self._socket.settimeout(0)
        self._low_watermark = 1
        self.read_ahead_bytes = _TLS_RECORD_BYTES if isinstance(self._socket, ssl.SSLSocket) else 0

    def set_low_watermark(self, size: int) -> None:
        """Set SO_RCVLOWAT: the socket counts as readable once this many bytes have arrived, or it has ended."""
        if size != self._low_watermark:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
            self._low_watermark = size

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        size = max(max_bytes, READ_BYTES)
        try:
            data: bytes = self._when_ready(functools.partial(self._socket.recv, size), select.POLLIN, timeout=timeout)
        except TimeoutError as error:
            late = self._arrived(size)
            if not late:
                raise httpcore.ReadTimeout(error) from error
            return late
        except OSError as error:
            raise httpcore.ReadError(error) from error
        return data

    def _arrived(self, size: int) -> bytes:
        """What arrived below the mark while a read waited in vain; empty when there is nothing."""
        self.set_low_watermark(1)
        try:
            return bytes(self._socket.recv(size))
        except OSError:
            return b""

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            while buffer:
                sent = self._when_ready(functools.partial(self._socket.send, buffer), select.POLLOUT, timeout=timeout)
                buffer = buffer[sent:]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(error) from error
        except OSError as error:
            raise httpcore.WriteError(error) from error

    def _when_ready(self, call: Callable[[], T], event: int, *, timeout: float | None) -> T:
        """Make a call on the socket as soon as the socket is ready for it.

        Raises:
            OSError: the call failed; `TimeoutError` when the socket was not ready for `timeout` seconds.
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
            encrypted = self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _Nested(encrypted) if isinstance(self._socket, ssl.SSLSocket) else _Stream(encrypted)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Nested(httpcore.NetworkStream):
    """TLS inside TLS, behind a proxy that is itself reached by TLS: its socket cannot be asked, so each call waits."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with without_turn():
            return self._stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with without_turn():
            self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

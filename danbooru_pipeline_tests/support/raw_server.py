"""A server that answers with any bytes at all: for what no well-behaved HTTP server can be made to do."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

#: Gets the request's target and its headers in lower case, and writes an answer to the connection.
Answer = Callable[["RawServer", socket.socket, str, dict[str, str]], None]


class RawServer:
    """One listening port; one request a connection, which is closed after it."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._threads: list[threading.Thread] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def targets(self) -> list[str]:
        """What was asked for, in order."""
        return [target for target, _ in self.requests]

    def serve(self) -> None:
        """Take connections until the port is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._talk, args=(connection,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Stop listening, and wait for the answers that are under way."""
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _talk(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError, TimeoutError):
            connection.settimeout(5)
            data = b""
            while b"\r\n\r\n" not in data:
                piece = connection.recv(65536)
                if not piece:
                    return
                data += piece
            first, *lines = data.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            target = first.split(" ")[1]
            self.requests.append((target, headers))
            self.answer(self, connection, target, headers)


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[RawServer]:
    """Run a server until the block ends."""
    server = RawServer(answer)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(5)


def make_answer(
    body: bytes = b"", *, status: int = 200, length: int | None = -1, headers: Mapping[str, str] | None = None
) -> bytes:
    """An HTTP answer; a `length` below zero is that of the body, and None announces none."""
    lines = [f"HTTP/1.1 {status} Any", "Connection: close"]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def always(*answers: bytes) -> Answer:
    """Send these one after the other, one a request, and the last one from then on."""
    left = list(answers)

    def answer(_server: RawServer, connection: socket.socket, _target: str, _headers: dict[str, str]) -> None:
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    return answer


def drip(body: bytes, *, pause: float = 0.05) -> Answer:
    """Announce a body and send it byte by byte."""

    def answer(server: RawServer, connection: socket.socket, _target: str, _headers: dict[str, str]) -> None:
        connection.sendall(make_answer(length=len(body)))
        for byte in body:
            connection.sendall(bytes([byte]))
            if server.closing.wait(pause):
                return

    return answer


def json_by(give: Callable[[str, dict[str, str]], Any]) -> Answer:
    """Answer by path and parameters with JSON, which bytes are already; with a 404 where there is None."""

    def answer(_server: RawServer, connection: socket.socket, target: str, _headers: dict[str, str]) -> None:
        parts = urlsplit(target)
        value = give(parts.path, dict(parse_qsl(parts.query)))
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        connection.sendall(make_answer(b"{}", status=404) if value is None else make_answer(body))

    return answer

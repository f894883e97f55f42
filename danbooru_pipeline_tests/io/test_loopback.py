"""A server for this machine: clients that hang up are nothing to tell, and what goes wrong is told in one line."""

import logging
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from danbooru_pipeline.io.loopback import HOST, LoopbackServer
from danbooru_pipeline_tests.support.processes import wait_until


class Handler(BaseHTTPRequestHandler):
    """Answers a path, and fails at one."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer, or fail."""
        if self.path == "/broken":
            raise ValueError("two\nlines\x1b[31m")
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Counting(LoopbackServer):
    """Counts the connections that it is done with."""

    done = 0

    def shutdown_request(self, request: Any) -> None:
        """Count."""
        super().shutdown_request(request)
        self.done += 1


@contextmanager
def serving() -> Iterator[Counting]:
    """A server that runs."""
    with Counting(0, Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: Counting, path: str, *, reset: bool) -> bytes:
    """What a client gets that hangs up afterwards: as usual, or by a reset while the server waits for its next one."""
    done = server.done
    with socket.create_connection((HOST, server.port), timeout=20) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        answer = client.recv(1000)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: server.done > done, seconds=20, every=0.01)
    return answer


def test_a_reset_is_silence(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """A client that resets a waiting connection leaves no word, and the server answers the next one."""
    with serving() as server, caplog.at_level(logging.DEBUG):
        for reset in (True, True, False):
            assert ask(server, "/", reset=reset).startswith(b"HTTP/1.1 200")
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_a_fault_is_one_line(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """An error while a request is answered is one line with its place, whatever its text; the server goes on."""
    with serving() as server:
        assert ask(server, "/broken", reset=False) == b""
        assert ask(server, "/", reset=False).startswith(b"HTTP/1.1 200")
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith(
        r"danbooru-pipeline: a request was not answered (ValueError: two\nlines\x1b[31m in test_loopback.py, line"
    )
    assert said.isprintable()
    assert "Traceback" not in capfd.readouterr().err

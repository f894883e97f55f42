"""A folder on the web, with ranges."""

import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Ranged(SimpleHTTPRequestHandler):
    """A web server that knows ranges, as all that matter do."""

    def do_GET(self) -> None:
        """Answer a request of a file, or of a part of it."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data, asked = path.read_bytes(), re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and int(asked[1]) >= len(data):
            self.send_error(416)
            return
        part = data[int(asked[1]) : int(asked[2]) + 1 if asked[2] else None] if asked else data
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def web(folder: Path) -> Iterator[str]:
    """A folder on the web."""
    with serving(partial(Ranged, directory=str(folder))) as address:
        yield address


class Server(ThreadingHTTPServer):
    """A server whose clients may hang up: a traceback would be taken for what the command under test says."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what is not a client's doing."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server for the length of a block."""
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""A web server for this machine alone: it listens on 127.0.0.1, and knows by which hosts a browser here calls it.

A page of another site that is open in the same browser can send requests to it, under a name of its own. So who answers
compares the Host with `hosts` first.
"""

import logging
import socketserver
import sys
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from danbooru_pipeline.errors import on_one_line

HOST: Final = "127.0.0.1"
_log = logging.getLogger("danbooru_pipeline")


class LoopbackServer(ThreadingHTTPServer):
    """Answers in threads that do not keep the process alive; port 0 takes a free one."""

    daemon_threads = True

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__((HOST, port), handler)

    def server_bind(self) -> None:
        """Bind, without asking DNS for this machine's name, which the base would."""
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base's
        """Say in one line what went wrong with a request; a client that hangs up, at any moment, is nothing."""
        error = sys.exception()
        if error is None or isinstance(error, ConnectionError):
            return
        place = traceback.extract_tb(error.__traceback__)[-1]
        _log.error(
            "danbooru-pipeline: a request was not answered (%s in %s, line %s); the server goes on; report it",
            on_one_line(f"{type(error).__name__}: {error}"[:300]),
            Path(place.filename).name,
            place.lineno,
        )

    @property
    def port(self) -> int:
        """That it listens on."""
        return int(self.server_address[1])

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that requests of this machine name."""
        return frozenset({f"{HOST}:{self.port}", f"localhost:{self.port}"})

"""A web server for this machine alone: it listens on 127.0.0.1, and knows by which hosts a browser here calls it.

A page of another site that is open in the same browser can send requests to it, under a name of its own. So who answers
compares the Host with `hosts` first.
"""

import socketserver
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

HOST: Final = "127.0.0.1"


class LoopbackServer(ThreadingHTTPServer):
    """Answers in threads that do not keep the process alive; port 0 takes a free one."""

    daemon_threads = True

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__((HOST, port), handler)

    def server_bind(self) -> None:
        """Bind, without asking DNS for this machine's name, which the base would."""
        socketserver.TCPServer.server_bind(self)

    @property
    def port(self) -> int:
        """That it listens on."""
        return int(self.server_address[1])

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that requests of this machine name."""
        return frozenset({f"{HOST}:{self.port}", f"localhost:{self.port}"})

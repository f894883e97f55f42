"""A mail server and a webhook on loopback that keep what they receive."""

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler


class MailHandler(socketserver.StreamRequestHandler):
    """As much SMTP as a client needs to deliver one mail."""

    def handle(self) -> None:
        """Accept one mail and keep it."""
        self.wfile.write(b"220 ready\r\n")
        mail: list[bytes] = []
        for line in self.rfile:
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                mail = list(iter(self.rfile.readline, b".\r\n"))
                self.server.mails.append(b"".join(mail).decode())  # type: ignore[attr-defined] # set by the fixture
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


class HookHandler(BaseHTTPRequestHandler):
    """Keeps what is posted; refuses addresses that end with `broken`, and as many messages as its server is told."""

    def do_POST(self) -> None:
        """Accept one message."""
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.mails.append(json.loads(body)["text"])  # type: ignore[attr-defined] # set by the fixture
        refuses = self.server.refuses > 0  # type: ignore[attr-defined] # set by the fixture
        self.server.refuses -= refuses  # type: ignore[attr-defined]
        self.send_response(500 if refuses or self.path.endswith("broken") else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def listen(server: socketserver.TCPServer) -> Iterator[socketserver.TCPServer]:
    """Serve until the test ends."""
    server.mails = []  # type: ignore[attr-defined] # what was received
    server.refuses = 0  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()

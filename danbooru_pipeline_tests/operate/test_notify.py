"""Messages through a mail server and a webhook on loopback."""

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from danbooru_pipeline.errors import NotifyError
from danbooru_pipeline.operate.notify import channels, deliver, make_mail
from danbooru_pipeline.settings import Settings


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
    """Keeps what is posted; refuses addresses that end with `broken`."""

    def do_POST(self) -> None:
        """Accept one message."""
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.mails.append(json.loads(body)["text"])  # type: ignore[attr-defined] # set by the fixture
        self.send_response(500 if self.path.endswith("broken") else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def listen(server: socketserver.TCPServer) -> Iterator[socketserver.TCPServer]:
    """Serve until the test ends."""
    server.mails = []  # type: ignore[attr-defined] # what was received
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def mail_server() -> Iterator[socketserver.TCPServer]:
    """A running mail server."""
    yield from listen(socketserver.TCPServer(("127.0.0.1", 0), MailHandler))


@pytest.fixture
def hook() -> Iterator[socketserver.TCPServer]:
    """A running webhook."""
    yield from listen(HTTPServer(("127.0.0.1", 0), HookHandler))


def settings_of(mail: socketserver.TCPServer, hook: socketserver.TCPServer, path: str = "fine") -> Settings:
    """Settings with both channels."""
    return Settings(
        smtp_url=f"smtp://127.0.0.1:{mail.server_address[1]}",
        notify_to=("a@example.org", "b@example.org"),
        webhook_url=f"http://127.0.0.1:{hook.server_address[1]}/{path}",
    )


def test_both_channels_get_the_message(mail_server: socketserver.TCPServer, hook: socketserver.TCPServer) -> None:
    """Mail and webhook receive subject and body."""
    sent = deliver(settings_of(mail_server, hook), subject="Danbooru2021 is published", body="4.9 M images – all fine")
    assert sent == ("mail", "webhook")
    assert "Subject: Danbooru2021 is published" in mail_server.mails[0]  # type: ignore[attr-defined]
    assert "a@example.org, b@example.org" in mail_server.mails[0]  # type: ignore[attr-defined]
    assert "all fine" in hook.mails[0]  # type: ignore[attr-defined]


def test_refused_message_is_an_error_without_secrets(
    mail_server: socketserver.TCPServer, hook: socketserver.TCPServer
) -> None:
    """If one channel refuses, the error does not reveal its address, and the other still delivers."""
    with pytest.raises(NotifyError, match="webhook") as caught:
        deliver(settings_of(mail_server, hook, "secret-broken"), subject="s", body="b")
    assert "secret" not in str(caught.value)
    assert len(mail_server.mails) == 1  # type: ignore[attr-defined]


def test_nothing_is_sent_without_settings() -> None:
    """Without channels nothing is sent, and the result is empty."""
    assert deliver(Settings(), subject="s", body="b") == ()
    assert channels(Settings(smtp_url="smtp://127.0.0.1")) == ()


def test_subject_is_one_header() -> None:
    """A line break in a subject does not start another header."""
    mail = make_mail(Settings(notify_to=("a@example.org",)), subject="failed\nBcc: x@example.org", body="body")
    assert mail["Bcc"] is None

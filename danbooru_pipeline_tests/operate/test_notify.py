"""Messages through a mail server and a webhook on loopback."""

import socketserver
from collections.abc import Iterator
from http.server import HTTPServer

import pytest

from danbooru_pipeline.errors import NotifyError
from danbooru_pipeline.operate.notify import channels, deliver, make_mail
from danbooru_pipeline.settings import Settings
from danbooru_pipeline_tests.support.messages import HookHandler, MailHandler, listen


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

"""Messages to the operator, by mail, webhook or both, as the settings say. Callers write the text.

A message that a channel rejects is an error, so that the sensor that sends it shows red and retries; the error says
which channels took it, so that they do not get it again.
"""

import smtplib
import ssl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final
from urllib.parse import unquote, urlsplit

import httpx

from danbooru_pipeline.errors import NotifyError, SettingsError
from danbooru_pipeline.fetch.environment import http_client
from danbooru_pipeline.settings import Settings, is_loopback

TIMEOUT_SECONDS: Final = 20.0


def channels(settings: Settings) -> tuple[str, ...]:
    """The configured channels; empty if no notification channel is configured."""
    mail = ("mail",) if settings.smtp_url and settings.notify_to else ()
    return (*mail, "webhook") if settings.webhook_url else mail


def deliver(settings: Settings, *, subject: str, body: str, but: Collection[str] = ()) -> tuple[str, ...]:
    """Send a message through every configured channel but some. Returns the channels that accepted it.

    Raises:
        NotifyError: a channel rejected it; the others were tried nevertheless.
    """
    senders = {"mail": _send_mail, "webhook": _call_webhook}
    chosen = [name for name in channels(settings) if name not in but]
    accepted: list[str] = []
    problems: list[str] = []
    for name in chosen:
        try:
            senders[name](settings, subject=subject, body=body)
            accepted.append(name)
        except (
            OSError,
            ValueError,
            smtplib.SMTPException,
            httpx.HTTPError,
            SettingsError,
        ) as error:  # ValueError: what cannot be encoded
            # Without the error's own message: a webhook's address is a secret, and httpx quotes it.
            status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else ""
            problems.append(f"{name} ({type(error).__name__}{f' {status}' if status else ''})")
    if problems:
        raise NotifyError(
            f"{subject!r} was not delivered by {', '.join(problems)}; check DANBOORU_SMTP_URL, DANBOORU_NOTIFY_TO and "
            "DANBOORU_WEBHOOK_URL",
            accepted=accepted,
        )
    return tuple(accepted)


def send_heartbeat(settings: Settings) -> None:
    """Ask for the address that a monitor watches; it tells the operator when nobody asks any more.

    Raises:
        NotifyError: the monitor did not answer.
    """
    url = settings.heartbeat_url
    try:
        with http_client(url, timeout=TIMEOUT_SECONDS, trust_env=not is_loopback(url)) as client:
            client.get(url).raise_for_status()
    except httpx.HTTPError as error:
        # Without the error's own message, which quotes the address.
        raise NotifyError(f"the heartbeat failed ({type(error).__name__}); check DANBOORU_HEARTBEAT_URL") from None


def make_mail(settings: Settings, *, subject: str, body: str) -> EmailMessage:
    """Format a message as a mail."""
    message = EmailMessage()
    message["Subject"] = " ".join(subject.split())  # a line break would start another header
    message["From"] = settings.mail_sender
    message["To"] = ", ".join(settings.notify_to)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain="danbooru-pipeline.invalid")
    message.set_content(body)
    return message


def _send_mail(settings: Settings, *, subject: str, body: str) -> None:
    with _mail_server(settings.smtp_url) as server:
        server.send_message(make_mail(settings, subject=subject, body=body))


@contextmanager
def _mail_server(address: str) -> Iterator[smtplib.SMTP]:
    """Connect to the mail server, encrypted unless it is on loopback."""
    url = urlsplit(address)
    host, context = url.hostname or "", ssl.create_default_context()
    if url.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, url.port or 465, timeout=TIMEOUT_SECONDS, context=context)
    else:
        server = smtplib.SMTP(host, url.port or 25, timeout=TIMEOUT_SECONDS)
    with server:
        if url.scheme == "smtp" and not is_loopback(address):
            server.starttls(context=context)
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
        yield server


def _call_webhook(settings: Settings, *, subject: str, body: str) -> None:
    """Post in the format that Slack, Mattermost and Discord's Slack endpoint accept."""
    text = f"*{subject}*\n{body}"
    url = settings.webhook_url
    with http_client(url, timeout=TIMEOUT_SECONDS, trust_env=not is_loopback(url)) as client:
        client.post(url, json={"text": text}).raise_for_status()

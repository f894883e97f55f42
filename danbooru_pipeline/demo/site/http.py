"""What both of the demo's ports share: cheap keep-alive HTTP, refused clients, and faults on the wire."""

import contextlib
import secrets
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import cast

from danbooru_pipeline.demo.site.booru import Booru
from danbooru_pipeline.demo.site.faults import Effect
from danbooru_pipeline.demo.site.limits import is_refused_agent
from danbooru_pipeline.io.loopback import HOST, LoopbackServer

HTML = "text/html; charset=utf-8"
_DRIP_SECONDS, _DRIPS = 0.1, 20
_CHALLENGE = (
    b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking your browser.</body></html>"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """One response.

    Attributes:
        start: offset of the body in the whole file; above 0 only in a response to a Range.
        whole: length of the whole file; 0 means the length of the body.
    """

    status: int
    body: bytes
    content_type: str = HTML
    headers: Mapping[str, str] = field(default_factory=dict)
    start: int = 0
    whole: int = 0


def make_page(status: int, text: str = "") -> Reply:
    """A small web page, as servers and the site's front end send them."""
    title = f"{status} {HTTPStatus(status).phrase}"
    return Reply(
        status,
        f"<!DOCTYPE html><html><head><title>{title}</title></head><body>{text or title}</body></html>\n".encode(),
    )


class BooruServer(LoopbackServer):
    """One listening port."""

    block_on_close = False
    request_queue_size = 512

    def __init__(self, port: int, handler: type["BooruHandler"]) -> None:
        super().__init__(port, handler)
        self.booru: Booru | None = None

    @property
    def url(self) -> str:
        """Address without a trailing slash."""
        return f"http://{HOST}:{self.port}"


class BooruHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def booru(self) -> Booru:
        """The site behind both ports."""
        booru = cast("BooruServer", self.server).booru
        if booru is None:
            raise RuntimeError("the server got a request before its site was ready")
        return booru

    def date_time_string(self, timestamp: float | None = None) -> str:
        """A time as a header has it; now by default, by the clock of the site."""
        booru = cast("BooruServer", self.server).booru
        ahead = booru.seconds_ahead if booru is not None else 0.0
        return super().date_time_string(time.time() + ahead if timestamp is None else timestamp)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Log nothing; the request log counts."""

    def refuse_agent(self) -> bool:
        """Send the challenge page to a client with a refused User-Agent. Returns whether it did."""
        if not is_refused_agent(self.headers.get("User-Agent")):
            return False
        self.booru.log.count("forbidden")
        self.send(Reply(403, _CHALLENGE, headers={"cf-mitigated": "challenge", "Server": "cloudflare"}))
        return True

    def send(self, reply: Reply, *, announced: int | None = None) -> None:
        """Write a response in one call."""
        self.wfile.write(self._head(reply, announced) + (b"" if self.command == "HEAD" else reply.body))

    def _head(self, reply: Reply, announced: int | None = None) -> bytes:
        length = len(reply.body) if announced is None else announced
        lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}", f"Date: {self.date_time_string()}"]
        lines += [f"Content-Type: {reply.content_type}", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        if self.close_connection:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def error_reply(self, status: int) -> Reply:
        """How this port reports an error."""
        return make_page(status)

    def send_with_fault(self, reply: Reply, effect: Effect | None) -> None:
        """Write a response, with the fault applied if it affects the wire."""
        if effect is Effect.RESET:
            # A linger time of zero makes the kernel send RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        elif effect is Effect.TRUNCATE:
            self.close_connection = True
            # Half of the whole file, so that no client can complete it with ranges.
            left = max(0, (reply.whole or len(reply.body)) // 2 - reply.start)
            self.send(replace(reply, body=reply.body[:left]), announced=len(reply.body))
        elif effect is Effect.SLOW:
            self._drip(reply)
        elif effect is Effect.REDIRECT:
            self.send(Reply(302, b"", headers={"Location": f"http://mirror.invalid{self.path}"}))
        else:
            self.send(self._replace_reply(effect) or reply)

    def _replace_reply(self, effect: Effect | None) -> Reply | None:
        statuses = {Effect.GONE: 404, Effect.ERROR: 500, Effect.UNAVAILABLE: 503}
        if effect in statuses:
            return self.error_reply(statuses[effect])
        if effect is Effect.THROTTLE:
            return replace(make_page(429), headers={"Retry-After": "1"})
        return make_page(200, "The site is down for maintenance.") if effect is Effect.HTML else None

    def _drip(self, reply: Reply) -> None:
        self.wfile.write(self._head(reply))
        step = max(1, -(-len(reply.body) // _DRIPS))
        for position in range(0, len(reply.body), step):
            time.sleep(_DRIP_SECONDS)
            with contextlib.suppress(ConnectionError):
                self.wfile.write(reply.body[position : position + step])


def spoil_body(body: bytes, effect: Effect | None) -> bytes:
    """Apply a fault that affects the bytes."""
    if effect is Effect.HALF:
        return body[: len(body) // 2]
    if effect is Effect.EMPTY:
        return b""
    if effect is Effect.TOO_LONG:
        return body + bytes(100_000)
    if effect not in {Effect.CORRUPT, Effect.CORRUPT_RANDOM} or not body:
        return body
    # The first bytes stay, so that only a check of the whole file detects it.
    middle = len(body) // 2
    piece = body[middle : middle + 64]
    other = secrets.token_bytes(len(piece)) if effect is Effect.CORRUPT_RANDOM else bytes(byte ^ 0x5A for byte in piece)
    return body[:middle] + other + body[middle + len(piece) :]

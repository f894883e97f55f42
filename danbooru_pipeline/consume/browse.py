"""Serves a release to the web browsers of this machine: loopback only, read only, with ranges, nothing outside of it.

No link below the release is followed (see `io.untrusted`). A request that names another host is refused, so that no
page of the web can read a release through its visitor's browser. The page is the release's own, which somebody may have
made to do harm: it may load and ask for what is in the release, and nothing else.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import BinaryIO, Final, cast
from urllib.parse import unquote, urlsplit

from danbooru_pipeline import stop
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.images.signature import MEDIA_TYPES
from danbooru_pipeline.io.loopback import HOST, LoopbackServer
from danbooru_pipeline.io.untrusted import is_plain, opened
from danbooru_pipeline.release.documents.browser import LARGEST_ID
from danbooru_pipeline.release.release_json import Release, read_release
from danbooru_pipeline.release_paths import BROWSE, BROWSE_RELEASE

_TYPES: Final = {
    "css": "text/css; charset=utf-8", "jpeg": MEDIA_TYPES["jpg"], "js": "text/javascript; charset=utf-8",
    "json": "application/json", "md": "text/plain; charset=utf-8", "txt": "text/plain; charset=utf-8",
    **{name: MEDIA_TYPES[name] for name in ("avif", "bmp", "gif", "jpg", "mp3", "mp4", "png", "webm", "webp")},
}  # fmt: skip
#: Pages that are ours. HTML of a post would run as a page of this server, so it is not shown as one.
_PAGES: Final = ("index.html", f"{BROWSE}/index.html")
#: What `browse/index.html` says of itself and `index.html` needs, for a page that does not say it.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_CHUNK_BYTES: Final = 2**18
_WAIT_SECONDS: Final = 0.2
_IDLE_SECONDS: Final = 30


class ReleaseServer(LoopbackServer):
    """One release on one port of this machine."""

    block_on_close = False
    request_queue_size = 128
    timeout = _WAIT_SECONDS

    def __init__(self, release: Path, port: int) -> None:
        self.release = release
        super().__init__(port, _Handler)

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://{HOST}:{self.port}/{BROWSE}/"

    def serve_until_stopped(self) -> None:
        """Answer until a signal asks this process to stop."""
        while not stop.requested():
            self.handle_request()


@contextlib.contextmanager
def serving_release(release: Path, *, port: int) -> Iterator[ReleaseServer]:
    """A server of a release; port 0 takes any that is free.

    Raises:
        NotARelease: the folder is not a release.
        ReleaseError: the release has no page, or the port is taken.
    """
    if not is_plain(release, BROWSE_RELEASE):
        raise ReleaseError(f"{release} has no {BROWSE}/: {_why_no_page(read_release(release))}")
    try:
        server = ReleaseServer(release, port)
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            raise
        raise ReleaseError(f"port {port} cannot be used ({error.strerror}); give another one with --port") from error
    with contextlib.closing(server.socket):
        yield server


def _why_no_page(about: Release) -> str:
    if about.last_id > LARGEST_ID:
        return f"it has ids up to {about.last_id}, which no web browser can count; use `select`"
    return "it is older than the page, or this copy lacks it; copy it again, or use a newer release, or `select`"


class _Handler(BaseHTTPRequestHandler):
    """One connection of a browser."""

    protocol_version = "HTTP/1.1"
    server_version = "danbooru-pipeline"
    sys_version = ""
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Send a file, or a part of it."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Send what there is to say of a file."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing: a page asks for a hundred files."""

    def _answer(self, *, with_body: bool) -> None:
        server = cast("ReleaseServer", self.server)
        if self.headers.get("Host") not in server.hosts:
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        name = unquote(urlsplit(self.path).path).removeprefix("/")
        if not name:
            self._redirect(f"/{BROWSE}/")
            return
        name += "index.html" if name.endswith("/") else ""
        try:
            with opened(server.release, name) as file:
                self._send(file, name, with_body=with_body)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True
        except (OSError, ValueError):
            self._refuse(HTTPStatus.NOT_FOUND)

    def _send(self, file: BinaryIO, name: str, *, with_body: bool) -> None:
        size = os.fstat(file.fileno()).st_size
        part = _part_of(self.headers.get("Range", ""), size)
        if part is not None and part.start >= size:
            self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, whole=size)
            return
        wanted = range(size) if part is None else part
        self.send_response(HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT)
        if part is not None:
            self.send_header("Content-Range", f"bytes {part.start}-{part.stop - 1}/{size}")
        self._headers(_type_of(name), len(wanted))
        if with_body:
            file.seek(wanted.start)
            left = len(wanted)
            while left and (data := file.read(min(left, _CHUNK_BYTES))):
                self.wfile.write(data)
                left -= len(data)
            self.close_connection |= left > 0  # it shrank meanwhile, and the length was said already

    def _headers(self, kind: str, length: int) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Content-Security-Policy", _POLICY)
        self.end_headers()

    def _refuse(self, status: HTTPStatus, *, whole: int | None = None) -> None:
        self.send_response(status)
        if whole is not None:
            self.send_header("Content-Range", f"bytes */{whole}")
        self._headers("text/plain", 0)

    def _redirect(self, target: str) -> None:
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", target)
        self._headers("text/plain", 0)


def _type_of(name: str) -> str:
    if name in _PAGES:
        return "text/html; charset=utf-8"
    return _TYPES.get(name.rpartition(".")[2], "application/octet-stream")


def _part_of(header: str, size: int) -> range | None:
    """The bytes that a Range asks for; None for all of them, and where several ranges are asked for."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    end = min(int(last), size - 1) + 1 if last else size
    return range(int(first), max(end, int(first))) if not last or int(last) >= int(first) else None

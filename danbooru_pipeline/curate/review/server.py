"""The page for pictures, on loopback: static files, pages as JSON, pictures of the release, and answers that are saved.

Other web sites that are open in the same browser must not answer: a request needs our own Host, and one that changes
something our own Origin and JSON as its type.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import msgspec

from danbooru_pipeline.curate.log import Verdict
from danbooru_pipeline.curate.review.queue import Sheet
from danbooru_pipeline.curate.review.session import ReviewSession, UnknownPage, captions, preselected
from danbooru_pipeline.io.loopback import HOST, LoopbackServer
from danbooru_pipeline.io.untrusted import opened
from danbooru_pipeline.layout import px512_path

_STATIC: Final[Mapping[str, tuple[str, str]]] = {
    "/": ("review.html", "text/html; charset=utf-8"),
    "/review.js": ("review.js", "text/javascript; charset=utf-8"),
    "/review.css": ("review.css", "text/css; charset=utf-8"),
}
_PAGE: Final = Path(__file__).with_name("page")
_PICTURE: Final = re.compile(r"/512px/\d{4}/([1-9]\d{0,18})\.jpg")
_MOST_BYTES: Final = 2**20
_POLICY: Final = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class _Save(msgspec.Struct, forbid_unknown_fields=True):
    number: str
    ms: int = 0
    verdicts: dict[str, Verdict] = {}


class ReviewServer(LoopbackServer):
    """The server of one reviewer."""

    def __init__(self, session: ReviewSession, port: int = 0) -> None:
        super().__init__(port, _Handler)
        self.session = session

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.port}/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _session(self) -> ReviewSession:
        return cast("ReviewServer", self.server).session

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Log nothing; the log of decisions has what matters."""

    def _is_ours(self) -> bool:
        own = cast("ReviewServer", self.server).hosts
        origin = self.headers.get("Origin")
        return self.headers.get("Host") in own and (origin is None or urlsplit(origin).netloc in own)

    def do_GET(self) -> None:
        """Answer with a file of the page, a picture, or the next page of candidates."""
        path = urlsplit(self.path).path
        if not self._is_ours():
            self._say(HTTPStatus.FORBIDDEN)
        elif path in _STATIC:
            name, kind = _STATIC[path]
            self._send(HTTPStatus.OK, (_PAGE / name).read_bytes(), kind)
        elif path == "/next":
            sheet = self._session.next()
            self._json({"page": None if sheet is None else self._shown(sheet, preselected(sheet))})
        elif match := _PICTURE.fullmatch(path):
            self._picture(int(match[1]))
        else:
            self._say(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Save, undo or skip."""
        length = self.headers.get("Content-Length", "")
        if not self._is_ours() or self.headers.get_content_type() != "application/json":
            self.close_connection = True
            self._say(HTTPStatus.FORBIDDEN)
            return
        if not length.isdecimal() or int(length) > _MOST_BYTES:
            self.close_connection = True
            self._say(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body = self.rfile.read(int(length))
        try:
            self._change(urlsplit(self.path).path, body)
        except (msgspec.DecodeError, ValueError):
            self._say(HTTPStatus.BAD_REQUEST)
        except UnknownPage:
            self._say(HTTPStatus.CONFLICT)

    def _change(self, path: str, body: bytes) -> None:
        if path == "/save":
            said = msgspec.json.decode(body, type=_Save)
            verdicts = {int(post): verdict for post, verdict in said.verdicts.items()}
            self._session.save(said.number, verdicts, ms=said.ms)
            self._json({"saved": self._session.saved})
        elif path == "/skip":
            self._session.skip(msgspec.json.decode(body, type=_Save).number)
            self._json({})
        elif path == "/undo":
            found = self._session.undo()
            self._json({"page": None if found is None else self._shown(*found)})
        else:
            self._say(HTTPStatus.NOT_FOUND)

    def _shown(self, sheet: Sheet, verdicts: Mapping[int, Verdict]) -> dict[str, Any]:
        """A page as the browser gets it."""
        return {
            "number": sheet.number,
            "tag": sheet.tag,
            "asked": sheet.asked,
            "wiki": self._session.wiki(sheet.tag)[:2000],
            "pictures": [
                {
                    "post": each.post,
                    "path": f"/{px512_path(each.post)}",
                    "p": None if caption.p is None else round(caption.p, 2),
                    "why": caption.evidence,
                    "verdict": verdicts[each.post],
                }
                for each, caption in zip(sheet.questions, captions(sheet), strict=True)
            ],
        }

    def _picture(self, post: int) -> None:
        try:
            with opened(self._session.queue.release, px512_path(post)) as file:
                data = file.read()
        except OSError:
            self._say(HTTPStatus.NOT_FOUND)
            return
        self._send(HTTPStatus.OK, data, "image/jpeg", cache="private, max-age=3600")

    def _json(self, value: object) -> None:
        self._send(HTTPStatus.OK, msgspec.json.encode(value), "application/json")

    def _say(self, status: HTTPStatus) -> None:
        self._send(status, f"{status.value} {status.phrase}\n".encode(), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, body: bytes, kind: str, *, cache: str = "no-store") -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": cache}
        headers |= {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
        headers |= {"Connection": "close"} if self.close_connection else {}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

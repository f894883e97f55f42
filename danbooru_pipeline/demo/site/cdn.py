"""The demo's CDN port: serves originals, whole or in ranges."""

import re
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from danbooru_pipeline.demo.site.http import BooruHandler, Reply, make_page, spoil_body

_TYPES = {
    "gif": "image/gif",
    "jpg": "image/jpeg",
    "mp4": "video/mp4",
    "png": "image/png",
    "swf": "application/x-shockwave-flash",
    "webm": "video/webm",
    "webp": "image/webp",
    "zip": "application/zip",
}
_LAST_MODIFIED = "Tue, 24 May 2005 03:35:31 GMT"


class CdnHandler(BooruHandler):
    """One connection to the CDN."""

    def do_GET(self) -> None:  # noqa: N802 - the base class looks for this name
        """Send a file."""
        if self.refuse_agent():
            return
        path = urlsplit(self.path).path
        self.booru.log.count_file(path)
        facts = self.booru.find_file(path)
        effect = self.booru.faults.strike(path, PurePosixPath(path).stem)
        if facts is None:
            self.send_with_fault(make_page(404), effect)
            return
        body = spoil_body(self.booru.read_file(facts), effect)
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": f'"{facts.md5}"',
            "Last-Modified": _LAST_MODIFIED,
            "Cache-Control": "public, max-age=31536000",
        }
        content_type = _TYPES[PurePosixPath(path).suffix[1:]]
        self.send_with_fault(self._cut_range(Reply(200, body, content_type, headers)), effect)

    def do_HEAD(self) -> None:  # noqa: N802 - the base class looks for this name
        """Send the headers of a GET."""
        self.do_GET()

    def _cut_range(self, reply: Reply) -> Reply:
        """Cut the requested range; the whole file if it is not the one the client's If-Range names."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "").strip())
        known = self.headers.get("If-Range")
        if not match or not (match[1] or match[2]) or known not in {None, reply.headers["ETag"], _LAST_MODIFIED}:
            return reply
        whole = len(reply.body)
        if match[1]:
            start, end = int(match[1]), min(int(match[2] or whole - 1), whole - 1)
        else:
            start, end = max(0, whole - int(match[2])), whole - 1
        if start > end:
            return Reply(416, b"", headers={"Content-Range": f"bytes */{whole}"})
        headers = {**reply.headers, "Content-Range": f"bytes {start}-{end}/{whole}"}
        return Reply(206, reply.body[start : end + 1], reply.content_type, headers, start=start, whole=whole)

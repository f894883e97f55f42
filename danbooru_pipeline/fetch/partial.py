"""The beginning of a file whose transfer broke off, kept so that the next try need not start over.

It is hidden beside the target, with a note of what the server called the file. Bytes are added to it only when the
server names the same file again and begins where it ends; the whole is checked like any other.
"""

import hashlib
import re
from pathlib import Path
from typing import Final

import httpx

from danbooru_pipeline.atomic import write_atomic
from danbooru_pipeline.posts import Post

SUFFIX: Final = ".partial"
#: Suffix of what the server called the file of which a beginning is kept.
NAME_SUFFIX: Final = ".partial-of"
#: Less than this is faster asked for again than kept.
MIN_BYTES: Final = 64 * 2**10
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_NAME = re.compile(r"\.(\d+)\.[a-z0-9]+\.([0-9a-f]{32})\.partial(?:-of)?")


class Partial:
    """What there is of a post's file."""

    def __init__(self, target: Path, post: Post) -> None:
        self._path = target.with_name(f".{target.name}.{post.md5}{SUFFIX}")
        self._name = self._path.with_suffix(NAME_SUFFIX)

    def size(self) -> int:
        """How many bytes were kept; 0 when none were."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def keep(self, part: Path, response: httpx.Response) -> None:
        """Keep the bytes that came, if the server gave the file a name to ask for it again by."""
        name = entity_name(response)
        if name is not None and part.exists() and part.stat().st_size >= MIN_BYTES:
            write_atomic(self._name, name.encode())
            part.replace(self._path)

    def take_up(self, part: Path, response: httpx.Response) -> bool:
        """Let `part` be the kept bytes if an answer is the rest of their file; else they are dropped."""
        span = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
        begins_here = response.status_code == 206 and span is not None and int(span[1]) == self.size()
        if begins_here and self._name.exists() and self._name.read_text() == entity_name(response):
            self._path.replace(part)
            return True
        self.drop()
        return False

    def drop(self) -> None:
        """Forget them."""
        self._path.unlink(missing_ok=True)
        self._name.unlink(missing_ok=True)


def entity_name(response: httpx.Response) -> str | None:
    """What a server calls the file it sends, as a short hash; None when it gives nothing to know it again by."""
    headers = response.headers
    span = _RANGE.fullmatch(headers.get("content-range", "").strip())
    total = span[3] if span else headers.get("content-length", "")
    if headers.get("accept-ranges") == "none" or headers.get("content-encoding", "identity") != "identity":
        return None
    etag = headers.get("etag", "")
    mark = etag if etag and not etag.startswith("W/") else headers.get("last-modified", "")
    return hashlib.sha256(f"{mark}/{total}".encode()).hexdigest()[:16] if mark and total else None


def remove_strays(folder: Path, wanted: set[tuple[int, str | None]]) -> None:
    """Remove the beginnings of files that nobody will ask for: of other posts, or of other MD5s."""
    for path in folder.glob(f".*{SUFFIX}*"):
        match = _NAME.fullmatch(path.name)
        if match is None or (int(match[1]), match[2]) not in wanted:
            path.unlink()

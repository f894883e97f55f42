"""One download, one outcome: the file is whole under its final name, or there is a reason and nothing at all.

Bytes go to a hidden file beside the target and are measured on the way: length, MD5 and first bytes. Only then are they
flushed and renamed. A body that breaks off is gone on with, also by the next process, when the server confirms that it
still has the same. What can go wrong with one file is a value, not an exception; only a host that blocks us, or a disk
that is full, raises.
"""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from danbooru_pipeline.errors import DiskFull, SourceError, full_disk_named
from danbooru_pipeline.fetch.client import REDIRECTS, BooruClient, is_throttled, retry_after_seconds
from danbooru_pipeline.fetch.gil_turns import cpu_turn, set_low_watermark, without_turn
from danbooru_pipeline.fetch.partial_file import WORTH_NOTING_BYTES, PartFile
from danbooru_pipeline.images.signature import sniff_type
from danbooru_pipeline.io.atomic import commit_part
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts import Post

#: Sizes in the metadata are sometimes a little wrong; a body may be this much longer before it is cut off.
SIZE_SLACK_BYTES: Final = 64 * 2**10
#: The site accepts uploads of up to 100 MB; used only when the metadata give no size.
MAX_BYTES_WITHOUT_SIZE: Final = 512 * 2**20
#: A download may take this long whatever its size, and longer in proportion to it. A drip feed never trips a
#: read timeout, so the whole has a deadline.
BASE_DEADLINE_SECONDS: Final = 30.0
MIN_BYTES_PER_SECOND: Final = 16 * 2**10
MAX_REDIRECTS: Final = 3
HEAD_BYTES: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """What came of asking for one file.

    Attributes:
        reason: None when the file is in place with the MD5 of the metadata.
        in_place: whether the file is under its final name.
        size: bytes of it.
        requests: how many requests it took.
        http_status: of the last answer, None without one.
    """

    reason: Reason | None
    in_place: bool = False
    size: int | None = None
    md5: str | None = None
    requests: int = 0
    http_status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """One request for a file: how it ended, and what the retry policy needs to know."""

    reason: Reason | None
    http_status: int | None = None
    size: int = 0
    md5: str | None = None
    retry: bool = False
    throttled: bool = False
    retry_after: float | None = None
    location: str | None = None


def download_file(
    client: BooruClient, post: Post, target: Path, *, base_seconds: float = BASE_DEADLINE_SECONDS
) -> Downloaded:
    """Bring a post's file to `target`. The caller flushes the folder before it writes down that the file is there.

    Args:
        client: asks for it.
        post: whose file; it names one (`Post.names_a_file`).
        target: where to.
        base_seconds: deadline of a body of no length.

    Raises:
        SourceError: the host as a whole cannot be used: it blocks us, is down, or knows no file at all.
        DiskFull: there is no room for this file.
    """
    assert post.md5 is not None, "hidden posts are not fetched"
    with full_disk_named(target.parent):
        part = PartFile(target, post.md5)
        try:
            _make_room(target.parent, (post.file_size or 0) - part.size, client.settings.min_free_bytes)
            with cpu_turn():
                return _Download(client, post, part, base_seconds).run(target)
        except OSError:
            part.discard()
            raise
        except (SourceError, RuntimeError):  # the run ends
            part.keep_for_resume()
            raise


def _make_room(folder: Path, size: int, min_free_bytes: int) -> None:
    """Make the folder of a file, and see that its disk has space for it."""
    try:
        disk = os.statvfs(folder)
    except FileNotFoundError:  # the first file of a bucket
        folder.mkdir(parents=True, exist_ok=True)
        disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < size + min_free_bytes:
        raise DiskFull(
            f"less than {min_free_bytes / 2**20:.0f} MiB are free at {folder} (DANBOORU_MIN_FREE_BYTES); "
            "free some space, then run again",
        )
    if disk.f_files and not disk.f_favail:  # some file systems count none
        raise DiskFull(
            f"the file system of {folder} has no inodes left for another file; remove files there, or set "
            "DANBOORU_ROOT to another disk, then run again",
        )


class _Download:
    """The tries for one file. Remembers the MD5 of whole bodies: bytes that come twice are what the source has."""

    def __init__(self, client: BooruClient, post: Post, part: PartFile, base_seconds: float) -> None:
        self.client = client
        self.post = post
        self.part = part
        self.base_seconds = base_seconds
        self.url = self._first_url()
        self.whole_md5s: set[str] = set()
        self.redirects = 0

    def run(self, target: Path) -> Downloaded:
        last, tries = self.client.policy.run(self._try, pause=self.client.pacer.pause)
        in_place = last.reason in {None, Reason.MD5_DIFFERS}
        if in_place:
            commit_part(self.part.path, target, flush_folder=False)
            self.part.remove_note()
        elif last.reason is Reason.TRUNCATED:
            self.part.keep_for_resume()  # a large file on a slow host comes in several runs
        else:
            self.part.discard()
        return Downloaded(
            reason=last.reason,
            in_place=in_place,
            size=last.size if in_place else None,
            md5=last.md5 if in_place else None,
            requests=tries + self.redirects,
            http_status=last.http_status,
        )

    def _first_url(self) -> str | httpx.URL:
        """The row's own address when it is on one of our hosts, else the one that the site derives from the MD5."""
        settings, post = self.client.settings, self.post
        assert post.md5 is not None, "hidden posts are not fetched"
        given = self.client.resolve(post.file_url, base=settings.cdn_url) if post.file_url else None
        return given or f"{settings.cdn_url}/original/{post.md5[:2]}/{post.md5[2:4]}/{post.md5}.{post.ext}"

    def _try(self) -> _Try:
        result, url = self._request(self.url), self.url
        for _ in range(MAX_REDIRECTS):
            location = result.location and self.client.resolve(result.location, base=url)
            if not location:
                break
            self.redirects += 1
            result, url = self._request(location), location
        return result

    def _request(self, url: str | httpx.URL) -> _Try:
        # A second try asks caches on the way to fetch the file anew.
        headers = {"Cache-Control": "no-cache"} if self.whole_md5s else self.part.headers()
        try:
            with self.client.slots.hold(), self.client.stream(url, headers=headers) as response:
                if response.status_code == 200:
                    self.part.begin(response)
                    return self._receive(response, had=0)
                if response.status_code in {206, 416} and headers:
                    return self._receive_rest(response)
                return _judge_status(response)
        except httpx.HTTPError:
            return _Try(reason=Reason.RETRY_EXHAUSTED, retry=True)

    def _receive_rest(self, response: httpx.Response) -> _Try:
        """Take the rest of what came before; what is not surely the rest is asked for from its start."""
        if self.part.continues(response):
            return self._receive(response, had=self.part.size)
        self.part.discard()
        return _Try(reason=Reason.TRUNCATED, http_status=response.status_code, retry=True)

    def _receive(self, response: httpx.Response, *, had: int) -> _Try:
        """Write a body to the part file, behind the bytes that it had, up to its end, its limit or its deadline."""
        expected, status = self.post.file_size, response.status_code
        cap = MAX_BYTES_WITHOUT_SIZE if expected is None else expected + SIZE_SLACK_BYTES
        announced = had + _announced_bytes(response)
        deadline = time.monotonic() + self.base_seconds + (expected or 0) / MIN_BYTES_PER_SECOND
        body = _Body()
        try:
            with self.part.path.open("r+b" if had else "wb") as file:
                while had > body.size and (data := file.read(min(2**20, had - body.size))):
                    body.add(data)
                for chunk in response.iter_raw():
                    body.add(chunk)
                    set_low_watermark(response, announced - body.size)
                    if body.size > cap:
                        return self._judge_overlong(body)
                    if time.monotonic() > deadline:
                        # Not tried again now: five deadlines of a large file would be hours.
                        return _Try(reason=Reason.TRUNCATED, http_status=status)
                    file.write(chunk)
                    if body.size - len(chunk) < WORTH_NOTING_BYTES <= body.size:
                        self.part.write_validator()
                file.flush()
                with without_turn():
                    os.fsync(file.fileno())
        except httpx.HTTPError:
            return _Try(reason=Reason.TRUNCATED, http_status=status, retry=True)
        result = self._judge_body(body, has_end=_tells_its_end(response), is_spliced=had > 0)
        if result.reason not in {None, Reason.MD5_DIFFERS}:
            self.part.discard()  # all of it came, and it is not the file: nothing to go on with
        return result

    def _is_web_page(self, head: bytes) -> bool:
        return self.post.ext != "html" and sniff_type(head) == "html"

    def _judge_overlong(self, body: "_Body") -> _Try:
        """Decide on a body that is longer than it may be; an error page can be, when the file is small."""
        self.part.discard()
        if self._is_web_page(body.head):
            return _Try(reason=Reason.HTML_INSTEAD, http_status=200, retry=True)
        return _Try(reason=Reason.TOO_LARGE, http_status=200, size=body.size, retry=True)

    def _judge_body(self, body: "_Body", *, has_end: bool, is_spliced: bool) -> _Try:
        """Decide on a body that was received to its end.

        Args:
            body: what came.
            has_end: whether the server said where the end is; without that, a lost connection looks like one.
            is_spliced: whether it came in pieces; those prove a file right, and nothing about one that is not.
        """
        md5, size = body.md5, body.size
        if md5 == self.post.md5 and size:
            return _Try(reason=None, http_status=200, size=size, md5=md5)
        if size == 0:
            reason = Reason.EMPTY
        elif self._is_web_page(body.head):
            reason = Reason.HTML_INSTEAD
        elif not has_end and (self.post.file_size is None or size < self.post.file_size):
            reason = Reason.TRUNCATED
        elif md5 in self.whole_md5s and not is_spliced and sniff_type(body.head) is not None:
            return _Try(reason=Reason.MD5_DIFFERS, http_status=200, size=size, md5=md5)
        else:
            if not is_spliced:
                self.whole_md5s.add(md5)
            reason = Reason.MD5_MISMATCH
        return _Try(reason=reason, http_status=200, size=size, md5=md5, retry=True)


class _Body:
    """What came of a body so far: its length, its first bytes, and its MD5."""

    def __init__(self) -> None:
        self.size, self.head = 0, b""
        self._digest = hashlib.md5(usedforsecurity=False)

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        self.size += len(data)
        if len(self.head) < HEAD_BYTES:
            self.head += data[: HEAD_BYTES - len(self.head)]
        self._digest.update(data)

    @property
    def md5(self) -> str:
        """MD5 of all of it."""
        return self._digest.hexdigest()


def _announced_bytes(response: httpx.Response) -> int:
    """Length of a body; 0 when it is not announced."""
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def _tells_its_end(response: httpx.Response) -> bool:
    """Whether the length of a body is announced, so that the library notices when something is missing."""
    return "content-length" in response.headers or "chunked" in response.headers.get("transfer-encoding", "").lower()


def _judge_status(response: httpx.Response) -> _Try:
    """Decide on an answer that is not a file."""
    status = response.status_code
    if status in {404, 410}:
        return _Try(reason=Reason.GONE, http_status=status)
    if status in REDIRECTS:
        return _Try(reason=Reason.REDIRECTED, http_status=status, location=response.headers.get("location"))
    if status in {401, 403, 451}:
        # Asking again at once changes no mind; a later run asks again.
        return _Try(reason=Reason.REFUSED, http_status=status)
    return _Try(
        reason=Reason.RETRY_EXHAUSTED,
        http_status=status,
        retry=status == 429 or status >= 500,
        throttled=is_throttled(response),
        retry_after=retry_after_seconds(response.headers),
    )

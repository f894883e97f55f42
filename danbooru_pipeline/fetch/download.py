"""One download, one outcome: either the whole file under its final name, or a reason and no file.

A file that is not at the address of its record, or is another one there, is tried at the one that follows from its MD5,
too. Bytes go to a hidden
file beside the target; length, MD5 and first bytes are checked as they arrive. Only then is the file fsynced and
renamed. An interrupted body is resumed, by the next process too, if the server confirms that the entity is unchanged.
What goes wrong with one file is a value, not an exception; only a host that blocks us and a full disk raise.
"""

import contextlib
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from danbooru_pipeline.errors import DiskFull, SourceError, full_disk_named
from danbooru_pipeline.fetch.client import (
    REDIRECTS,
    BooruClient,
    announced_bytes,
    has_known_end,
    is_lasting,
    is_passing,
    is_throttled,
    retry_after_seconds,
)
from danbooru_pipeline.fetch.connections import limit_body
from danbooru_pipeline.fetch.content_encoding import UndecodableError, codec_of, declared_encoding, decoded_chunks
from danbooru_pipeline.fetch.gil_turns import cpu_turn, set_low_watermark, without_turn
from danbooru_pipeline.fetch.partial_file import SAVE_VALIDATOR_BYTES, PartialFile
from danbooru_pipeline.images.signature import sniff_type
from danbooru_pipeline.io.atomic import commit_part
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts import Fetch

#: Sizes in the metadata are sometimes slightly wrong; a body may exceed them by this much.
SIZE_SLACK_BYTES: Final = 64 * 2**10
#: The site accepts uploads of up to 100 MB; used only when the metadata declares no size.
MAX_BYTES_WITHOUT_SIZE: Final = 512 * 2**20
#: A body's deadline is this long, plus its size at the slowest accepted rate. A drip feed never trips a read timeout,
#: so the whole body needs a deadline.
BASE_DEADLINE_SECONDS: Final = 30.0
MIN_BYTES_PER_SECOND: Final = 16 * 2**10
MAX_REDIRECTS: Final = 3
HEAD_BYTES: Final = 512
#: What an address may answer though the file is at another one: the next address is tried.
NOT_HERE: Final = frozenset(
    {
        Reason.GONE,
        Reason.REDIRECTED,
        Reason.REFUSED,
        Reason.HTML_INSTEAD,
        Reason.EMPTY,
        Reason.TOO_LARGE,
        Reason.MD5_DIFFERS,
        Reason.MD5_MISMATCH,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """The outcome of one download.

    Attributes:
        reason: None if the file is in place with the metadata's MD5.
        in_place: whether the file is under its final name.
        size: of the file, in bytes; None without one.
        md5: of the file; None without one.
        requests: how many requests it took.
        http_status: of the last response; None without one.
    """

    reason: Reason | None
    in_place: bool = False
    size: int | None = None
    md5: str | None = None
    requests: int = 0
    http_status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """One request for a file: its outcome, and what the retry policy needs to know."""

    reason: Reason | None
    http_status: int | None = None
    size: int = 0
    md5: str | None = None
    retry: bool = False
    throttled: bool = False
    retry_after: float | None = None
    location: str | None = None

    @property
    def may_be_elsewhere(self) -> bool:
        """Whether another address may have the file; an error of the host, which is retried, says nothing of it."""
        return self.reason in NOT_HERE or (self.reason is Reason.RETRY_EXHAUSTED and not self.retry)


def download_file(
    client: BooruClient, post: Fetch, target: Path, *, base_seconds: float = BASE_DEADLINE_SECONDS
) -> Downloaded:
    """Download a post's file to `target`. The caller fsyncs the folder before it records that the file exists.

    Args:
        client: sends the requests.
        post: names the file.
        target: path of the finished file.
        base_seconds: deadline of an empty body.

    Raises:
        SourceError: the host as a whole cannot be used: it blocks us, is down, or knows none of our files.
        DiskFull: the disk has no room for this file.
    """
    with full_disk_named(target.parent):
        partial = PartialFile(target, post.md5)
        try:
            _prepare_folder(
                target.parent,
                needed_bytes=(post.file_size or 0) - partial.size,
                min_free_bytes=client.settings.min_free_bytes,
            )
            with cpu_turn():
                return _Download(client, post, partial=partial, base_seconds=base_seconds).run(target)
        except OSError:
            partial.discard()
            raise
        except (SourceError, RuntimeError):  # the run stops
            partial.keep_for_resume()
            raise


def _prepare_folder(folder: Path, *, needed_bytes: int, min_free_bytes: int) -> None:
    """Create the folder if needed, and check that its disk has room for one more file."""
    try:
        disk = os.statvfs(folder)
    except FileNotFoundError:  # the first file of a bucket
        folder.mkdir(parents=True, exist_ok=True)
        disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < needed_bytes + min_free_bytes:
        raise DiskFull(
            f"less than {min_free_bytes / 2**20:.0f} MiB are free at {folder} (DANBOORU_MIN_FREE_BYTES); "
            "free some space, then run again",
        )
    if disk.f_files and not disk.f_favail:  # some file systems do not count inodes
        raise DiskFull(
            f"the file system of {folder} has no inodes left for another file; remove files there, or set "
            "DANBOORU_ROOT to another disk, then run again",
        )


class _Download:
    """The attempts for one file.

    Remembers the MD5 of every complete body: the same wrong bytes twice are what the host has.
    """

    def __init__(self, client: BooruClient, post: Fetch, *, partial: PartialFile, base_seconds: float) -> None:
        self.client = client
        self.post = post
        self.partial = partial
        self.base_seconds = base_seconds
        self.url = self._first_url()
        self.whole_md5s: set[str] = set()
        self.redirects = 0

    def run(self, target: Path) -> Downloaded:
        last, attempts = self._try_addresses()
        in_place = last.reason in {None, Reason.MD5_DIFFERS}
        if in_place:
            commit_part(self.partial.path, target, flush_folder=False)
            self.partial.remove_validator()
        elif last.reason is Reason.TRUNCATED:
            self.partial.keep_for_resume()  # a large file on a slow host takes several runs
        else:
            self.partial.discard()
        return Downloaded(
            reason=last.reason,
            in_place=in_place,
            size=last.size if in_place else None,
            md5=last.md5 if in_place else None,
            requests=attempts + self.redirects,
            http_status=last.http_status,
        )

    def _try_addresses(self) -> tuple[_Attempt, int]:
        """The outcome, and how many attempts there were: at the row's address, then at the one that its MD5 gives."""
        last, attempts = self.client.policy.run(self._attempt, pause=self.client.limiter.pause)
        derived = self._derived_url()
        if not last.may_be_elsewhere or httpx.URL(self.url) == httpx.URL(derived):
            return last, attempts
        self.url = derived
        holds_file = last.reason is Reason.MD5_DIFFERS
        with self.partial.set_aside() if holds_file else contextlib.nullcontext():
            other, more = self.client.policy.run(self._attempt, pause=self.client.limiter.pause)
            if holds_file and other.reason is not None:
                self.partial.take_back()
        # Only two addresses without a file make it gone; only the right file outdoes the one of its record.
        worse = set(Reason) if holds_file else {Reason.GONE} - {last.reason}
        return last if other.reason in worse else other, attempts + more

    def _first_url(self) -> str | httpx.URL:
        """The row's own address if it is on one of our hosts, else the one the site derives from the MD5."""
        given = self.post.file_url and self.client.resolve(self.post.file_url, base=self.client.settings.cdn_url)
        return given or self._derived_url()

    def _derived_url(self) -> str:
        post = self.post
        return f"{self.client.settings.cdn_url}/original/{post.md5[:2]}/{post.md5[2:4]}/{post.md5}.{post.ext}"

    def _attempt(self) -> _Attempt:
        result, url = self._request(self.url), self.url
        for _ in range(MAX_REDIRECTS):
            location = result.location and self.client.resolve(result.location, base=url)
            if not location:
                break
            self.redirects += 1
            result, url = self._request(location), location
        return result

    def _request(self, url: str | httpx.URL) -> _Attempt:
        # After a wrong body, ask caches on the way to fetch the file anew.
        headers = {"Cache-Control": "no-cache"} if self.whole_md5s else self.partial.resume_headers()
        try:
            with self.client.slots.hold(), self.client.stream(url, headers=headers) as response:
                if response.status_code == 200:
                    self.partial.start_over(response)
                    return self._receive(response, offset=0)
                if response.status_code in {206, 416} and headers:
                    return self._receive_rest(response)
                return _judge_status(response)
        except httpx.HTTPError as error:
            return _Attempt(reason=Reason.RETRY_EXHAUSTED, retry=not is_lasting(error))

    def _receive_rest(self, response: httpx.Response) -> _Attempt:
        """Receive the rest of a body; if it is not certainly the rest, start over with the next request."""
        if self.partial.is_continued_by(response):
            return self._receive(response, offset=self.partial.size)
        self.partial.discard()
        return _Attempt(reason=Reason.TRUNCATED, http_status=response.status_code, retry=True)

    def _receive(self, response: httpx.Response, *, offset: int) -> _Attempt:
        """Write a body to the partial file from `offset` on, up to its end, its size limit or its deadline."""
        expected, status = self.post.file_size, response.status_code
        cap = MAX_BYTES_WITHOUT_SIZE if expected is None else expected + SIZE_SLACK_BYTES
        announced = offset + announced_bytes(response)
        deadline = time.monotonic() + self.base_seconds + (expected or 0) / MIN_BYTES_PER_SECOND
        body = _Body()
        try:
            with self.partial.path.open("r+b" if offset else "wb") as file:
                while offset > body.size and (data := file.read(min(2**20, offset - body.size))):
                    body.add(data)
                limit_body(response, deadline)
                for chunk in response.iter_raw():
                    body.add(chunk)
                    set_low_watermark(response, announced - body.size)
                    if body.size > cap:
                        return self._judge_overlong(body)
                    if time.monotonic() > deadline:
                        # Not retried in this run: five deadlines of a large file would be hours.
                        return _Attempt(reason=Reason.TRUNCATED, http_status=status)
                    file.write(chunk)
                    if body.size - len(chunk) < SAVE_VALIDATOR_BYTES <= body.size:
                        self.partial.write_validator()
                file.flush()
                with without_turn():
                    os.fsync(file.fileno())
        except httpx.HTTPError:
            is_late = time.monotonic() > deadline
            return _Attempt(reason=Reason.TRUNCATED, http_status=status, retry=not is_late)
        result = self._judge_decoded(body, declared_encoding(response.headers), cap=cap) or self._judge_body(
            body, has_known_end=has_known_end(response), is_spliced=offset > 0
        )
        if result.reason not in {None, Reason.MD5_DIFFERS}:
            self.partial.discard()  # complete, but not the file: nothing to resume
        return result

    def _judge_decoded(self, body: "_Body", encoding: str, *, cap: int) -> _Attempt | None:
        """The outcome of a body that was encoded in transfer; None to judge the bytes as they came.

        A right MD5 always decides: first that of the bytes as they came, since some servers declare an encoding that
        they did not apply.
        """
        codec = codec_of(encoding, body.head)
        if codec is None or body.md5 == self.post.md5 or not body.size:
            return None
        try:
            decoded = self._decode(codec, cap=cap)
            if decoded.size > cap:
                return self._judge_overlong(decoded)
            if not encoding and decoded.md5 != self.post.md5:
                return None  # nothing but its first bytes speaks for an encoding
            self.partial.take_decoded()
        except UndecodableError:
            is_plain = not encoding or sniff_type(body.head) is not None
            return None if is_plain else _Attempt(reason=Reason.TRUNCATED, http_status=200, retry=True)
        finally:
            self.partial.decoded_path.unlink(missing_ok=True)
        return self._judge_body(decoded, has_known_end=True, is_spliced=False)

    def _decode(self, codec: str, *, cap: int) -> "_Body":
        """Write the decoded bytes beside the encoded ones, up to just above the size limit."""
        decoded = _Body()
        with self.partial.decoded_path.open("wb") as file:
            for chunk in decoded_chunks(self.partial.path, codec):
                decoded.add(chunk)
                if decoded.size > cap:
                    break
                file.write(chunk)
            file.flush()
            with without_turn():
                os.fsync(file.fileno())
        return decoded

    def _is_web_page(self, head: bytes) -> bool:
        return self.post.ext != "html" and sniff_type(head) == "html"

    def _judge_overlong(self, body: "_Body") -> _Attempt:
        """The outcome of a body over the size limit. For a small file that may be an error page, which passes."""
        self.partial.discard()
        if self._is_web_page(body.head):
            return _Attempt(reason=Reason.HTML_INSTEAD, http_status=200, retry=True)
        return _Attempt(reason=Reason.TOO_LARGE, http_status=200, size=body.size, retry=True)

    def _judge_body(self, body: "_Body", *, has_known_end: bool, is_spliced: bool) -> _Attempt:
        """The outcome of a body that was received to its end.

        Args:
            body: what was received.
            has_known_end: whether the server declared the end; otherwise a lost connection looks like one.
            is_spliced: whether it was resumed. A right MD5 proves the file even so; a wrong one says nothing about what
                the host has.
        """
        md5, size = body.md5, body.size
        if md5 == self.post.md5 and size:
            return _Attempt(reason=None, http_status=200, size=size, md5=md5)
        if size == 0:
            reason = Reason.EMPTY
        elif self._is_web_page(body.head):
            reason = Reason.HTML_INSTEAD
        elif not has_known_end and (self.post.file_size is None or size < self.post.file_size):
            reason = Reason.TRUNCATED
        elif md5 in self.whole_md5s and not is_spliced and sniff_type(body.head) is not None:
            return _Attempt(reason=Reason.MD5_DIFFERS, http_status=200, size=size, md5=md5)
        else:
            if not is_spliced:
                self.whole_md5s.add(md5)
            reason = Reason.MD5_MISMATCH
        return _Attempt(reason=reason, http_status=200, size=size, md5=md5, retry=True)


class _Body:
    """What is known of a body so far: its length, its first bytes and its MD5."""

    def __init__(self) -> None:
        self.size, self.head = 0, b""
        self._digest = hashlib.md5(usedforsecurity=False)

    def add(self, data: bytes) -> None:
        """Count and hash the next bytes."""
        self.size += len(data)
        if len(self.head) < HEAD_BYTES:
            self.head += data[: HEAD_BYTES - len(self.head)]
        self._digest.update(data)

    @property
    def md5(self) -> str:
        """MD5 of all bytes so far, as hex."""
        return self._digest.hexdigest()


def _judge_status(response: httpx.Response) -> _Attempt:
    """The outcome of a response that carries no file."""
    status = response.status_code
    if status in {404, 410}:
        return _Attempt(reason=Reason.GONE, http_status=status)
    if status in REDIRECTS:
        return _Attempt(reason=Reason.REDIRECTED, http_status=status, location=response.headers.get("location"))
    if status in {401, 403, 451}:
        # An immediate retry would be refused too; a later run asks again.
        return _Attempt(reason=Reason.REFUSED, http_status=status)
    return _Attempt(
        reason=Reason.RETRY_EXHAUSTED,
        http_status=status,
        retry=is_passing(status),
        throttled=is_throttled(response),
        retry_after=retry_after_seconds(response.headers),
    )

"""A large file at an address of the operator's choice: read once, retried, and resumed where it was interrupted.

It is resumed by a range if the server names the version of the file. Otherwise it is read again from its start, and
what was read before must come again, or the read fails: no file is put together from two versions. It is whole only
if something declares its end: the server, or the format of the file itself.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from danbooru_pipeline.errors import SourceError, SourceUnreachable, SourceUnusable, without_login
from danbooru_pipeline.fetch.client import (
    TIMEOUT,
    announced_bytes,
    has_known_end,
    is_lasting,
    is_passing,
    is_throttled,
    problem_of,
    retry_after_seconds,
)
from danbooru_pipeline.fetch.content_encoding import UndecodableError, declared_encoding, decoded_stream, is_decoded
from danbooru_pipeline.fetch.download import BASE_DEADLINE_SECONDS, MIN_BYTES_PER_SECOND
from danbooru_pipeline.fetch.environment import http_client
from danbooru_pipeline.fetch.ranges import Part, continues, validators
from danbooru_pipeline.fetch.retry import RetryPolicy
from danbooru_pipeline.progress import human_seconds, tell_of_wait

#: Interruptions of one read, however far each attempt got.
MAX_ATTEMPTS: Final = 100
_RANGED: Final = httpx.codes.PARTIAL_CONTENT
_HEAD_BYTES: Final = 16
#: A body that takes so long to come is held against the lowest rate: a drip feed never trips a read timeout.
_PACE_SECONDS: Final = BASE_DEADLINE_SECONDS
#: Waits from this length on are told.
_TOLD_SECONDS: Final = 1.0
_ABSENT: Final = frozenset({httpx.codes.NOT_FOUND, httpx.codes.GONE})


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that exists.

    Attributes:
        modified: when it was last written; None when the server does not say.
        size: its bytes as they are sent, as announced before it is read; None when the server does not say.
        encoding: in which it was announced.
    """

    url: str
    headers: Mapping[str, str]
    policy: RetryPolicy
    modified: datetime | None
    size: int | None = None
    encoding: str = ""

    @property
    def name(self) -> str:
        """Its address as messages show it."""
        return without_login(self.url)

    def chunks(self, *, ends_itself: Callable[[bytes], bool]) -> Iterator[bytes]:
        """Its bytes, as they are stored, or as a server keeps them packed.

        Args:
            ends_itself: whether a file that starts with these bytes shows where it ends.

        Raises:
            SourceUnreachable: it was interrupted too often, or asks for a longer wait than the policy has.
            SourceUnusable: it changed in between, or nobody can tell whether it is whole.
        """
        read = _Read(self, ends_itself)
        try:
            yield from decoded_stream(read.run(), lambda: read.encoding)
        except UndecodableError as error:
            raise SourceUnusable(
                f"{self.name} is not in the encoding {read.encoding} that its server declares, or ends early "
                f"({error}); download it and set DANBOORU_DUMP to its folder"
            ) from None


@dataclass(frozen=True, slots=True)
class Told:
    """What a server says of a name.

    Attributes:
        status: of its last answer; None without one.
        problem: what is wrong, if the file is not there, or if what comes is not it.
        file: what is there, if it answers 200.
        is_html: whether it calls the file a web page.
        start: the first bytes of the file, decoded, if they were asked for.
    """

    status: int | None
    problem: SourceError
    file: RemoteFile | None = None
    is_html: bool = False
    start: bytes = b""

    @property
    def is_absent(self) -> bool:
        """Whether the file does not exist."""
        return self.status in _ABSENT

    def is_like(self, other: "Told") -> bool:
        """Whether a server says the same of another name: the same refusal, the same text, or a web page."""
        if self.status is None or self.status != other.status:
            return False
        return self.file is None or self.start == other.start or (_is_page(self.start) and _is_page(other.start))


def _is_page(start: bytes) -> bool:
    return start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def ask_for(
    url: str, *, headers: Mapping[str, str], policy: RetryPolicy, client: httpx.Client, looks: bool = False
) -> Told:
    """Ask a server for a name: by HEAD if that succeeds, else by a GET, which alone says what is not there.

    Args:
        url: of the file.
        headers: of each request.
        policy: for how long the server is asked.
        client: of `asking`.
        looks: whether to ask by GET at once, and look at the first bytes.
    """
    method, patience = "GET" if looks else "HEAD", _Patience(policy, without_login(url))
    while True:
        status, start = None, b""
        try:
            with client.stream(method, url, headers=headers) as answer:
                status = answer.status_code
                if looks and status == httpx.codes.OK:
                    start = next(answer.iter_bytes(_HEAD_BYTES), b"")
            if status == httpx.codes.OK or (method == "GET" and not is_passing(status)):
                return _told(url, headers, policy, answer, start)
            goes_on = not is_passing(status) or patience.wait_after(answer)
        except httpx.HTTPError as error:
            goes_on = patience.wait_after(error)
        if not goes_on:
            problem = f"{without_login(url)} does not answer ({patience.problem}); {patience.way_out}"
            return Told(status, SourceUnreachable(problem))
        method = "GET"


def _told(url: str, headers: Mapping[str, str], policy: RetryPolicy, answer: httpx.Response, start: bytes) -> Told:
    status = answer.status_code
    if status != httpx.codes.OK:
        return Told(status, SourceUnusable(f"{without_login(url)} answers HTTP {status}; {_way_out(status)}"))
    # An empty answer to HEAD says nothing: some servers have no other.
    size, encoding = announced_bytes(answer) or None, declared_encoding(answer.headers)
    file = RemoteFile(url, headers, policy, _modified(answer.headers), size, encoding)
    problem = SourceUnusable(f"{without_login(url)} is a page that comes for any name; check the address and the login")
    is_html = "html" in answer.headers.get("content-type", "").lower()
    return Told(status, problem, file, is_html=is_html, start=start)


def _way_out(status: int) -> str:
    if status in {httpx.codes.BAD_REQUEST, httpx.codes.PAYMENT_REQUIRED, httpx.codes.FORBIDDEN}:
        return (
            "a bucket where the requester pays is copied with `gcloud storage cp --billing-project=PROJECT`, then set "
            "DANBOORU_DUMP to that folder"
        )
    return "check DANBOORU_DUMP, or download the file and set DANBOORU_DUMP to its folder"


def _modified(headers: httpx.Headers) -> datetime | None:
    try:
        written = parsedate_to_datetime(headers["last-modified"])
    except (KeyError, ValueError):
        return None
    return written if written.tzinfo else written.replace(tzinfo=UTC)


def asking(url: str) -> httpx.Client:
    """A client for many questions to the host of an address; each costs tenths of a second otherwise."""
    return http_client(url, timeout=TIMEOUT, follow_redirects=True)


@contextmanager
def _answer(method: str, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
    """An answer, its body unread."""
    with asking(url) as client, client.stream(method, url, headers=headers) as answer:
        yield answer


class TooSlow(httpx.RemoteProtocolError):
    """A body came below the lowest rate. That it came at all is no progress."""


def _at_pace(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks of a body as they come; only the time that is waited for them counts.

    Raises:
        TooSlow: they come below the lowest rate.
    """
    waited, size = 0.0, 0
    while True:
        began = time.monotonic()
        chunk = next(chunks, None)
        waited += time.monotonic() - began
        if chunk is None:
            return
        size += len(chunk)
        yield chunk
        if waited > _PACE_SECONDS:
            if size < waited * MIN_BYTES_PER_SECOND:
                raise TooSlow(f"it sends fewer than {MIN_BYTES_PER_SECOND:,} bytes a second")
            waited, size = 0.0, 0


class _Patience:
    """The waits between attempts: as long as the server asks, if that fits into the time of the policy."""

    def __init__(self, policy: RetryPolicy, name: str) -> None:
        self._policy, self._name = policy, name
        self.way_out = "check DANBOORU_DUMP and the network, then run again"
        self.problem = ""
        self.start_over()

    def start_over(self) -> None:
        """Forget the failures so far: there was progress."""
        self._attempts, self._failures, self._waited = 0, 0, 0.0

    def wait_after(self, trouble: httpx.Response | httpx.HTTPError) -> bool:
        """Wait for the next attempt; False if there is none."""
        policy, asked = self._policy, None
        self._attempts += 1
        if isinstance(trouble, httpx.Response):
            self.problem, asked = f"HTTP {trouble.status_code}", retry_after_seconds(trouble.headers)
            self._failures += not is_throttled(trouble)
        else:
            self.problem = problem_of(trouble)
            self._failures = policy.max_failures if is_lasting(trouble) else self._failures + 1
        if asked is not None and self._waited + asked > policy.max_seconds:
            self.problem += f", and asks to wait {asked:,.0f} seconds"
            self.way_out = f"run again after that, or set DANBOORU_RETRY_SECONDS, now {policy.max_seconds:g}, above it"
            return False
        delay = policy.delay(self._attempts, asked)
        if asked is None:
            delay = min(delay, policy.max_seconds / policy.max_failures)
        if self._failures >= policy.max_failures or self._waited + delay > policy.max_seconds:
            return False
        if delay >= _TOLD_SECONDS:
            tell_of_wait(f"{self._name}: {self.problem}; asked again in {human_seconds(delay)}")
        threading.Event().wait(delay)
        self._waited += max(delay, policy.base_seconds / 4)  # "Retry-After: 0" without end must end, too
        return True


class _Read:
    """One read of a file, over as many connections as it takes.

    Attributes:
        encoding: of what is sent, as the server declares it; known with the first bytes.
    """

    def __init__(self, file: RemoteFile, ends_itself: Callable[[bytes], bool]) -> None:
        self._file = file
        self._ends_itself = ends_itself
        self._offset = 0
        self._head = b""
        self._seen = hashlib.sha256()
        self._version = ""
        self._whole: int | None = None  # bytes of the version that is being read, where its server says so
        self._takes_ranges = True
        self.encoding = ""

    def run(self) -> Iterator[bytes]:
        """All bytes as they are sent."""
        patience = _Patience(self._file.policy, self._file.name)
        for _ in range(MAX_ATTEMPTS):
            before = self._offset
            trouble: httpx.Response | httpx.HTTPError
            try:
                with _answer("GET", self._file.url, self._headers()) as trouble:
                    if not self._is_passing(trouble):
                        yield from self._take(trouble)
                        return
            except httpx.HTTPError as error:
                trouble = error
            if self._offset > before and not isinstance(trouble, TooSlow):
                patience.start_over()
            if not patience.wait_after(trouble):
                break
        way_out = "run again, or download it first" if patience.way_out.startswith("check") else patience.way_out
        raise SourceUnreachable(
            f"{self._file.name} was interrupted after {self._offset:,} bytes ({patience.problem}); {way_out}"
        )

    def _headers(self) -> dict[str, str]:
        ranged = self._takes_ranges and self._offset and self._version
        more = {"Range": f"bytes={self._offset}-", "If-Range": self._version} if ranged else {}
        return {**self._file.headers, **more}

    def _continued_by(self, answer: httpx.Response) -> Part | None:
        """The part of this version that an answer goes on with; a server may send less than it was asked for."""
        part = continues(
            answer.status_code, answer.headers, offset=self._offset, validator=self._version, encoding=self.encoding
        )
        return part if part is not None and self._whole in {None, part.whole} else None

    def _is_passing(self, answer: httpx.Response) -> bool:
        """Whether another attempt may succeed: later, or from the start where the rest is refused."""
        refuses = answer.status_code in {_RANGED, httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE}
        if "range" in answer.request.headers and refuses and self._continued_by(answer) is None:
            self._takes_ranges = False
            return True
        return is_passing(answer.status_code)

    def _take(self, answer: httpx.Response) -> Iterator[bytes]:
        part = self._continued_by(answer)
        if part is None:
            self._begin(answer)
        else:
            self._whole = part.whole
        repeated = 0 if part is not None else self._offset
        again = hashlib.sha256()
        for chunk in _at_pace(answer.iter_raw()):
            known, fresh = chunk[:repeated], chunk[repeated:]
            again.update(known)
            repeated -= len(known)
            if known and not repeated and again.digest() != self._seen.digest():
                raise SourceUnusable(f"{self._file.name} changed while it was being read; run again")
            if fresh:
                self._seen.update(fresh)
                self._offset += len(fresh)
                yield from self._checked(fresh, answer)
        if repeated:
            raise SourceUnusable(f"{self._file.name} got shorter while it was being read; run again")
        if part is not None and part.end < part.whole:
            raise httpx.RemoteProtocolError(f"it sent its bytes up to {part.end:,} of {part.whole:,}")
        self._require_end(answer)
        self._require_size()

    def _begin(self, answer: httpx.Response) -> None:
        """Take note of the version that an answer has from its start."""
        status = answer.status_code
        if status != httpx.codes.OK:
            raise SourceUnusable(f"{self._file.name} answers HTTP {status}; {_way_out(status)}")
        self._version = next(iter(validators(answer.headers)), "")
        self._whole = announced_bytes(answer) or None
        self.encoding = declared_encoding(answer.headers)

    def _checked(self, fresh: bytes, answer: httpx.Response) -> Iterator[bytes]:
        """The next bytes, unless the first ones show already that the end will prove nothing."""
        if len(self._head) < _HEAD_BYTES:
            self._head += fresh[: _HEAD_BYTES - len(self._head)]
            if len(self._head) == _HEAD_BYTES and self._file.size is None:
                self._require_end(answer)
        yield fresh

    def _require_end(self, answer: httpx.Response) -> None:
        """Refuse a body of which nothing shows that this is its end; a lost connection looks like one."""
        size = self._file.size
        if has_known_end(answer) or is_decoded(self.encoding) or self._ends_itself(self._head) or size == self._offset:
            return
        if size is not None and self._offset < size:
            raise httpx.RemoteProtocolError(f"it ended after {self._offset:,} of {size:,} bytes")
        raise SourceUnusable(
            f"{self._file.name} comes without its length, so whether it is whole cannot be known; download it, and set "
            "DANBOORU_DUMP to its folder, or serve it packed by gzip, xz or zstandard"
        )

    def _require_size(self) -> None:
        """Refuse a body of another size than was announced, unless its format shows that it is whole."""
        size, is_plain = self._file.size, not (self.encoding or self._file.encoding)
        if size not in {None, self._offset} and is_plain and not self._ends_itself(self._head):
            raise SourceUnusable(
                f"{self._file.name} was announced with {size:,} bytes, and came with {self._offset:,}; run again, or "
                "download it and set DANBOORU_DUMP to its folder"
            )

"""A large file at an address of the operator's choice: read once, retried, and resumed where it was interrupted.

It is resumed by a range if the server names the version of the file. Otherwise it is read again from its start, and
what was read before must come again, or the read fails: no file is put together from two versions.
"""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from danbooru_pipeline.errors import SourceUnreachable, SourceUnusable
from danbooru_pipeline.fetch.client import TIMEOUT, is_passing, retry_after_seconds
from danbooru_pipeline.fetch.retry import RetryPolicy

#: Interruptions of one read, however far each attempt got.
MAX_ATTEMPTS: Final = 100
#: Answers to a HEAD that say nothing about a GET.
_NO_HEAD: Final = frozenset({400, 403, 405, 501})
_RANGED: Final = httpx.codes.PARTIAL_CONTENT


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that exists.

    Attributes:
        modified: when it was last written; None when the server does not say.
    """

    url: str
    headers: Mapping[str, str]
    policy: RetryPolicy
    modified: datetime | None

    def chunks(self) -> Iterator[bytes]:
        """Its bytes, as they are stored.

        Raises:
            SourceUnreachable: it was interrupted too often.
            SourceUnusable: it changed in between.
        """
        return _Read(self).run()


def open_remote_file(url: str, *, headers: Mapping[str, str], policy: RetryPolicy) -> RemoteFile | None:
    """Find out whether a file exists, and when it was written; None if it does not exist.

    Raises:
        SourceUnreachable: the server does not answer.
        SourceUnusable: it refuses the file.
    """
    answer = _ask(url, headers, policy)
    if answer.status_code in {httpx.codes.NOT_FOUND, httpx.codes.GONE}:
        return None
    if answer.status_code != httpx.codes.OK:
        raise SourceUnusable(f"{url} answers HTTP {answer.status_code}; {_way_out(answer.status_code)}")
    return RemoteFile(url, headers, policy, _modified(answer.headers))


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


def _ask(url: str, headers: Mapping[str, str], policy: RetryPolicy) -> httpx.Response:
    """The head of an answer: by HEAD, or by the start of a GET where a server refuses that."""
    problem = ""
    for attempt in range(1, policy.max_failures + 1):
        try:
            answer = httpx.head(url, headers=headers, follow_redirects=True, timeout=TIMEOUT)
            if answer.status_code in _NO_HEAD:
                with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=TIMEOUT) as answer:
                    pass
            if not is_passing(answer.status_code):
                return answer
            problem = f"HTTP {answer.status_code}"
            wait = retry_after_seconds(answer.headers)
        except httpx.HTTPError as error:
            problem, wait = repr(error), None
        if attempt < policy.max_failures:
            _pause(min(policy.delay(attempt, wait), policy.max_seconds / policy.max_failures))
    raise SourceUnreachable(f"{url} does not answer ({problem}); check DANBOORU_DUMP and the network, then run again")


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


class _Read:
    """One read of a file, over as many connections as it takes."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._offset = 0
        self._seen = hashlib.sha256()
        self._version: str | None = None

    def run(self) -> Iterator[bytes]:
        failures = 0
        problem = ""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            before = self._offset
            wait = None
            try:
                with httpx.stream(
                    "GET", self._file.url, headers=self._headers(), follow_redirects=True, timeout=TIMEOUT
                ) as answer:
                    if not is_passing(answer.status_code):
                        yield from self._take(answer)
                        return
                    problem, wait = f"HTTP {answer.status_code}", retry_after_seconds(answer.headers)
            except httpx.HTTPError as error:
                problem = repr(error)
            failures = 1 if self._offset > before else failures + 1
            if failures >= self._file.policy.max_failures:
                break
            policy = self._file.policy
            _pause(min(policy.delay(min(attempt, failures), wait), policy.max_seconds / policy.max_failures))
        raise SourceUnreachable(
            f"{self._file.url} was interrupted after {self._offset:,} bytes ({problem}); run again, or download it "
            "first"
        )

    def _headers(self) -> dict[str, str]:
        ranged = self._offset and self._version
        more = {"Range": f"bytes={self._offset}-", "If-Range": self._version or ""} if ranged else {}
        return {**self._file.headers, **more}

    def _take(self, answer: httpx.Response) -> Iterator[bytes]:
        resumed = answer.status_code == _RANGED and answer.headers.get("content-range", "").startswith(
            f"bytes {self._offset}-"
        )
        if not resumed and answer.status_code != httpx.codes.OK:
            raise SourceUnusable(f"{self._file.url} answers HTTP {answer.status_code}; {_way_out(answer.status_code)}")
        etag = answer.headers.get("etag", "")
        self._version = (etag if not etag.startswith("W/") else "") or answer.headers.get("last-modified")
        repeated = 0 if resumed else self._offset
        again = hashlib.sha256()
        for chunk in answer.iter_raw():
            known, fresh = chunk[:repeated], chunk[repeated:]
            again.update(known)
            repeated -= len(known)
            if known and not repeated and again.digest() != self._seen.digest():
                raise SourceUnusable(f"{self._file.url} changed while it was being read; run again")
            if fresh:
                self._seen.update(fresh)
                self._offset += len(fresh)
                yield fresh
        if repeated:
            raise SourceUnusable(f"{self._file.url} got shorter while it was being read; run again")

"""Where a release is fetched from. An origin brings files as they are; who asks compares them with their digests."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import httpx

from danbooru_pipeline import stop
from danbooru_pipeline.errors import PublishError
from danbooru_pipeline.fetch import RateLimiter, RetryPolicy
from danbooru_pipeline.fetch.client import is_passing, is_throttled, retry_after_seconds
from danbooru_pipeline.io.ordered_map import ordered_map
from danbooru_pipeline.version import version

#: Connections to a place at once.
THREADS: Final = 4
_CHUNK: Final = 2**20
_SECONDS: Final = 60
#: No server of files minds so many; one that does says so, and is asked less often from then on.
_REQUESTS_PER_SECOND: Final = 100.0
#: The longest that a server may keep one request waiting, all its pauses together.
_PATIENCE_SECONDS: Final = 600.0
#: A data set of the Hub as its file system names it, and where its files are.
_DATA_SET: Final = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([\w.-]+))?")
_HUB: Final = "https://huggingface.co"
#: rsync's codes for files that are not there, or went away meanwhile.
_SOME_MISSING: Final = frozenset({23, 24})


class Origin(Protocol):
    """A place that has a release."""

    def fetch(self, paths: Sequence[str], folder: Path) -> None:
        """Bring files into a folder, under their paths, but none that is not there; one that broke off is resumed."""

    def part(self, path: str, *, offset: int, size: int) -> bytes | None:
        """Some bytes of a file; None where there is no such file."""

    def close(self) -> None:
        """Give back its connections; `contextlib.closing` does."""


def open_origin(source: str) -> Origin:
    """The origin of an address: ``rsync://``, ``HOST::MODULE``, ``http(s)://``, ``hf://…`` and others of fsspec.

    Raises:
        PublishError: nothing here knows such an address.
    """
    if source.startswith("rsync://") or "::" in source:
        return RsyncOrigin(source.rstrip("/"))
    if source.startswith(("http://", "https://")):
        return HttpOrigin(source.rstrip("/"))
    if found := _DATA_SET.fullmatch(source.rstrip("/")):
        # By its addresses: its own file system looks each file up before every range of it.
        hub = os.environ.get("HF_ENDPOINT", _HUB).rstrip("/")
        address = f"{hub}/datasets/{found[1]}/resolve/{found[2] or 'main'}"
        return HttpOrigin(address, token=os.environ.get("HF_TOKEN"), refers=True)
    return FilesOrigin(source.rstrip("/"))


def _each(fetch: Callable[[str], None], paths: Sequence[str]) -> None:
    """Fetch files a few at a time."""
    with ordered_map(fetch, paths, threads=THREADS, name="get") as fetched:
        for _ in fetched:
            pass


class RsyncOrigin:
    """A module of an rsync daemon, or a folder reached by ssh. It has no ranges.

    Args:
        source: its address.
        longest: bytes of the largest file that is brought.
    """

    def __init__(self, source: str, *, longest: int | None = None) -> None:
        self._source = source
        self._options = [f"--timeout={_SECONDS}", *([] if longest is None else [f"--max-size={longest}"])]

    def fetch(self, paths: Sequence[str], folder: Path) -> None:
        """One transfer for all of them."""
        options = ["-rt", "--partial", "--files-from=-", "--no-implied-dirs", *self._options]
        command = ["rsync", *options, f"{self._source}/", f"{folder}/"]
        stop.check()
        try:
            listed = "".join(f"{path}\n" for path in paths).encode()
            done = subprocess.run(command, input=listed, capture_output=True, check=False)  # noqa: S603
        except FileNotFoundError:
            raise PublishError("rsync is not installed; install it, or get the release by another address") from None
        if done.returncode not in {0, *_SOME_MISSING}:
            said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
            raise PublishError(f"{self._source} cannot be read ({said}); run again, which goes on from here")

    def part(self, path: str, *, offset: int, size: int) -> bytes | None:  # noqa: ARG002 - of the protocol
        """There are no ranges."""
        return None

    def close(self) -> None:
        """There is nothing open between two transfers."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How one request ended; see `RetryPolicy`."""

    value: Any = None
    problem: str = ""
    retry: bool = False
    throttled: bool = False
    retry_after: float | None = None


class HttpOrigin:
    """A web server. Files that broke off are resumed by ranges; a server that asks for a pause gets it.

    Args:
        source: its address.
        token: is shown to that host, and to none that it refers to.
        refers: whether it may refer to other hosts, as the Hub does for large files.
    """

    def __init__(self, source: str, *, token: str | None = None, refers: bool = False) -> None:
        self._source = source
        headers = {"User-Agent": f"danbooru-pipeline/{version().number}", "Accept-Encoding": "identity"}
        self._client = httpx.Client(
            headers=headers | ({"Authorization": f"Bearer {token}"} if token else {}),
            timeout=_SECONDS,
            limits=httpx.Limits(max_connections=THREADS),
            follow_redirects=refers,
        )
        self._limiter = RateLimiter(_REQUESTS_PER_SECOND)
        self._policy = RetryPolicy(max_failures=3, max_seconds=_PATIENCE_SECONDS)

    def fetch(self, paths: Sequence[str], folder: Path) -> None:
        """A request each, a few at a time."""
        with stop.on_stop(self._limiter.close):
            _each(lambda path: self._fetch(path, folder / path), paths)

    def _fetch(self, path: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)

        def ranged() -> dict[str, str]:
            held = target.stat().st_size if target.exists() else 0
            return {"Range": f"bytes={held}-"} if held else {}

        def take(answer: httpx.Response) -> None:
            with target.open("ab" if answer.status_code == httpx.codes.PARTIAL_CONTENT else "wb") as file:
                for chunk in answer.iter_raw():
                    stop.check()
                    file.write(chunk)

        self._ask(path, headers=ranged, take=take)

    def part(self, path: str, *, offset: int, size: int) -> bytes | None:
        """A range of a file; of a server that sends all of it, no more is read than that needs."""
        headers = {"Range": f"bytes={offset}-{offset + size - 1}"}

        def take(answer: httpx.Response) -> bytes:
            ranged = answer.status_code == httpx.codes.PARTIAL_CONTENT
            skipped = 0 if ranged else offset
            data = bytearray()
            for chunk in answer.iter_raw():
                stop.check()
                data += chunk[skipped:]
                skipped = max(0, skipped - len(chunk))
                if len(data) > size or (len(data) == size and not ranged):
                    break  # a range is read to its end, or its connection could not be used again
            return bytes(data[:size])

        with stop.on_stop(self._limiter.close):
            found = self._ask(path, headers=lambda: headers, take=take)
        return None if found is None else bytes(found)

    def close(self) -> None:
        """Close the connections that wait for a next request."""
        self._client.close()

    def _ask(
        self, path: str, *, headers: Callable[[], dict[str, str]], take: Callable[[httpx.Response], bytes | None]
    ) -> bytes | None:
        """What `take` makes of an answer; None where there is no such file, or no more of it."""
        with _Named(self._source):
            done, attempts = self._policy.run(
                lambda: self._try(f"{self._source}/{path}", headers(), take), pause=self._limiter.pause
            )
        if done.problem:
            wanted = f", and asks for {done.retry_after:,.0f} seconds" if done.retry_after else ""
            then = (
                "run again later, which goes on from here"
                if done.retry
                else "check the address, and HF_TOKEN if it is private"
            )
            raise PublishError(f"{self._source} cannot be read ({done.problem}, {attempts} times{wanted}); {then}")
        value: bytes | None = done.value
        return value

    def _try(self, url: str, headers: dict[str, str], take: Callable[[httpx.Response], bytes | None]) -> _Attempt:
        sent = self._limiter.wait(self._source)
        try:
            with self._client.stream("GET", url, headers=headers) as answer:
                status, wait = answer.status_code, retry_after_seconds(answer.headers)
                if is_throttled(answer):
                    self._limiter.slow_down(self._source, wait, sent=sent)
                    return _Attempt(problem=f"HTTP {status}", retry=True, throttled=True, retry_after=wait)
                if is_passing(status):
                    return _Attempt(problem=f"HTTP {status}", retry=True, retry_after=wait)
                if status in {httpx.codes.NOT_FOUND, httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE}:
                    return _Attempt()  # the latter is whole, or not this file; its digest says which
                if not answer.is_success:  # its address may bear a signature, so only the status is named
                    return _Attempt(problem=f"HTTP {status}")
                return _Attempt(value=take(answer))
        except httpx.TransportError as error:
            return _Attempt(problem=str(error) or type(error).__name__, retry=True)


class FilesOrigin:
    """Whatever fsspec knows: an object store, a folder, what the Hub has beside data sets."""

    def __init__(self, source: str) -> None:
        import fsspec  # noqa: PLC0415 - takes long, and the others do without

        self._source = source
        try:
            self._files, self._root = fsspec.core.url_to_fs(source, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise PublishError(f"{source} cannot be used ({error}); install what it needs, or correct it") from error

    def fetch(self, paths: Sequence[str], folder: Path) -> None:
        """A few at a time."""
        _each(lambda path: self._fetch(path, folder / path), paths)

    def _fetch(self, path: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)

        def copy() -> None:
            with self._files.open(f"{self._root}/{path}", "rb") as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, _CHUNK)

        self._try(copy)

    def part(self, path: str, *, offset: int, size: int) -> bytes | None:
        """A range of a file."""
        found = self._try(lambda: self._files.cat_file(f"{self._root}/{path}", start=offset, end=offset + size))
        return None if found is None else bytes(found)

    def close(self) -> None:
        """Fsspec keeps what it has open for the next who asks."""

    def _try(self, work: Callable[[], Any]) -> Any:
        with _Named(self._source):
            try:
                return work()
            except FileNotFoundError:
                return None


class _Named:
    """Whatever goes wrong in a block is one line about the origin."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, (PublishError, stop.Stopped)):
            said = str(error).partition("\n")[0] or type(error).__name__
            raise PublishError(f"{self._source} cannot be read ({said}); run again, which goes on from here") from error

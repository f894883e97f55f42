"""Where a release is fetched from. An origin brings files as they are; who asks compares them with their digests.

Whoever has a release may be anybody: nothing is written beyond the bytes that a file may have, and a folder is read as
`verify` reads one.
"""

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import httpx

from danbooru_pipeline import stop
from danbooru_pipeline.consume.get.writing import NotWritten, copy_pieces, too_long
from danbooru_pipeline.errors import PublishError, without_login
from danbooru_pipeline.fetch import RateLimiter, RetryPolicy
from danbooru_pipeline.fetch.client import is_passing, is_throttled, retry_after_seconds
from danbooru_pipeline.fetch.environment import http_client
from danbooru_pipeline.io.ordered_map import ordered_map
from danbooru_pipeline.io.untrusted import TooLong, opened, size_of
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
#: A daemon may send more than it said; the system ends an rsync that writes so many blocks and more to a file.
_LIMITED: Final = ("sh", "-c", 'ulimit -f "$1" 2>/dev/null; shift; exec "$@"', "rsync")
_ULIMIT_BYTES: Final = 512
#: rsync's codes for files that are not there, or went away meanwhile.
_SOME_MISSING: Final = frozenset({23, 24})
#: What the end of an rsync that writes says about a file, and of that, what the machine is to blame for.
_OF_OURS: Final = re.compile(r"^rsync: \[(?:receiver|generator)\] .*\".*\((\d+)\)$", re.MULTILINE)
_OF_THE_MACHINE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO})


class Origin(Protocol):
    """A place that has a release."""

    def fetch(self, files: Mapping[str, int], folder: Path) -> dict[str, str]:
        """Bring files into a folder, under their paths, but none that is not there; one that broke off is resumed.

        Args:
            files: path -> the most bytes that it may have.
            folder: gets them.

        Returns:
            Path -> why, of those that were refused: they are longer, or no files. Nothing of them is kept.
        """

    def part(self, path: str, *, offset: int, size: int) -> bytes | None:
        """At most `size` bytes of a file; None where there is no such file."""

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
    return _origin_of_fsspec(source.rstrip("/"))


def _origin_of_fsspec(source: str) -> Origin:
    import fsspec  # noqa: PLC0415 - takes long, and the others do without
    from fsspec.implementations.local import LocalFileSystem  # noqa: PLC0415

    try:
        files, root = fsspec.core.url_to_fs(source, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise PublishError(
            f"{without_login(source)} cannot be used ({error}); install what it needs, or correct it"
        ) from error
    return FolderOrigin(source, Path(root)) if isinstance(files, LocalFileSystem) else FilesOrigin(source, files, root)


class _Refused(ValueError):  # noqa: N818 - it is no fault of ours
    """What is there is not a file."""


def _each(fetch: Callable[[str, Path, int], None], files: Mapping[str, int], folder: Path) -> dict[str, str]:
    """Fetch files a few at a time. Returns path -> why of those that were refused."""

    def bring(file: tuple[str, int]) -> tuple[str, str] | None:
        path, most = file
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            fetch(path, target, most)
        except (TooLong, _Refused) as error:
            target.unlink(missing_ok=True)
            return path, str(error)
        return None

    with ordered_map(bring, files.items(), threads=THREADS, name="get") as refused:
        return dict(filter(None, refused))


class RsyncOrigin:
    """A module of an rsync daemon, or a folder reached by ssh. It has no ranges."""

    def __init__(self, source: str) -> None:
        self._source = source

    def fetch(self, files: Mapping[str, int], folder: Path) -> dict[str, str]:
        """One transfer for all of them. What a daemon says is too long for any of them counts as missing."""
        if shutil.which("rsync") is None:
            raise PublishError("rsync is not installed; install it, or get the release by another address")
        most = max(files.values(), default=0)
        options = ["-rt", "--partial", "--files-from=-", "--no-implied-dirs", f"--timeout={_SECONDS}"]
        command = ["rsync", *options, f"--max-size={max(0, most)}", f"{self._source}/", f"{folder}/"]
        stop.check()
        listed = "".join(f"{path}\n" for path in files).encode()
        limited = [*_LIMITED, str(max(0, most) // _ULIMIT_BYTES + 1), *command]
        done = subprocess.run(limited, input=listed, capture_output=True, check=False)  # noqa: S603
        errors = done.stderr.decode(errors="replace").strip()
        for code in map(int, _OF_OURS.findall(errors) if done.returncode else ()):
            if code in _OF_THE_MACHINE:
                raise NotWritten(code, os.strerror(code), str(folder))
        refused = {}
        for path, allowed in files.items():
            if size_of(folder, path) > allowed:
                (folder / path).unlink()
                refused[path] = str(too_long(allowed))
        if done.returncode not in {0, *_SOME_MISSING}:
            said = next((f"{path} {why}" for path, why in refused.items()), errors.partition("\n")[0])
            shown = without_login(self._source)
            raise PublishError(f"{shown} cannot be read ({said}); run again: it resumes here")
        return refused

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
        self._client = http_client(
            source,
            headers=headers | ({"Authorization": f"Bearer {token}"} if token else {}),
            timeout=_SECONDS,
            limits=httpx.Limits(max_connections=THREADS),
            follow_redirects=refers,
        )
        self._limiter = RateLimiter(_REQUESTS_PER_SECOND)
        self._policy = RetryPolicy(max_failures=3, max_seconds=_PATIENCE_SECONDS)

    def fetch(self, files: Mapping[str, int], folder: Path) -> dict[str, str]:
        """A request each, a few at a time."""
        with stop.on_stop(self._limiter.close):
            return _each(self._fetch, files, folder)

    def _fetch(self, path: str, target: Path, most: int) -> None:
        def ranged() -> dict[str, str]:
            held = target.stat().st_size if target.exists() else 0
            return {"Range": f"bytes={held}-"} if held else {}

        def take(answer: httpx.Response) -> None:
            copy_pieces(answer.iter_raw(), target, most=most, resume=answer.status_code == httpx.codes.PARTIAL_CONTENT)

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
                "run again later: it resumes here" if done.retry else "check the address, and HF_TOKEN if it is private"
            )
            raise PublishError(
                f"{without_login(self._source)} cannot be read ({done.problem}, {attempts} times{wanted}); {then}"
            )
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


class FolderOrigin:
    """A folder of this machine. It may be named by a link; what lies below it is read as `io.untrusted` reads.

    Args:
        source: as it was given.
        root: the folder.
    """

    def __init__(self, source: str, root: Path) -> None:
        self._source = source
        self._root = root

    def fetch(self, files: Mapping[str, int], folder: Path) -> dict[str, str]:
        """A few at a time."""
        return _each(self._fetch, files, folder)

    def _fetch(self, path: str, target: Path, most: int) -> None:
        with _Named(self._source), ExitStack() as held:
            source = self._open(path, held)
            if source is None:
                return
            if os.fstat(source.fileno()).st_size > most:
                raise too_long(most)
            copy_pieces(iter(partial(source.read, _CHUNK), b""), target, most=most)

    def _open(self, path: str, held: ExitStack) -> BinaryIO | None:
        """A file; None where it is not there."""
        try:
            return held.enter_context(opened(self._root, path))
        except FileNotFoundError:
            return None
        except OSError as error:
            is_link = error.errno in {errno.ELOOP, errno.ENOTDIR}
            raise _Refused("is a link, or below one" if is_link else error.strerror) from error

    def part(self, path: str, *, offset: int, size: int) -> bytes | None:
        """A range of a file."""
        with _Named(self._source), ExitStack() as held:
            try:
                source = self._open(path, held)
            except _Refused:
                return None
            if source is None:
                return None
            source.seek(offset)
            return source.read(size)

    def close(self) -> None:
        """Each file is closed when it is read."""


class FilesOrigin:
    """What fsspec knows besides: an object store, what the Hub has beside data sets.

    Args:
        source: its address.
        files: its file system.
        root: the release in it.
    """

    def __init__(self, source: str, files: Any, root: str) -> None:
        self._source = source
        self._files, self._root = files, root

    def fetch(self, files: Mapping[str, int], folder: Path) -> dict[str, str]:
        """A few at a time."""
        return _each(self._fetch, files, folder)

    def _fetch(self, path: str, target: Path, most: int) -> None:
        def copy() -> None:
            with self._files.open(f"{self._root}/{path}", "rb") as source:
                copy_pieces(iter(partial(source.read, _CHUNK), b""), target, most=most)

        self._try(copy)

    def part(self, path: str, *, offset: int, size: int) -> bytes | None:
        """A range of a file."""
        found = self._try(lambda: self._files.cat_file(f"{self._root}/{path}", start=offset, end=offset + size))
        return None if found is None else bytes(found[:size])

    def close(self) -> None:
        """Fsspec keeps what it has open for the next who asks."""

    def _try(self, work: Callable[[], Any]) -> Any:
        with _Named(self._source):
            try:
                return work()
            except FileNotFoundError:
                return None


_OURS: Final = (PublishError, TooLong, NotWritten, _Refused, stop.Stopped)


class _Named:
    """Whatever goes wrong in a block is one line about the origin, unless our own disk refused."""

    def __init__(self, source: str) -> None:
        self._source = without_login(source)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, _OURS):
            said = str(error).partition("\n")[0] or type(error).__name__
            raise PublishError(f"{self._source} cannot be read ({said}); run again: it resumes here") from error

"""Candidates: files that may be a post's, and what a place must do to offer them.

A candidate proves nothing: `proof` judges it. Names are built from ids, MD5s and extensions, and looked up; nothing
that a place names becomes a path. A bucket may be a link to another disk; files that are links are passed over, which
the report says.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, Self

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.posts import Fetch

_JPG: Final = ("jpg", "jpeg")
_KINDS: Final = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a file from another one in its place, and from itself after it was written to."""

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, facts: os.stat_result) -> Self:
        """The identity of a file."""
        return cls(facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Examined:
    """A file that was read.

    Attributes:
        identity: what it was before.
    """

    md5: str
    sha256: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class Px512Candidate:
    """The 512px image that a release has of a file, or why it has none.

    Attributes:
        path: where it is; None without one.
        sha256: what the manifest says of it; None without one.
        facts: values of the ledger row that describes it.
        seen: what it was when it was proven; None before.
    """

    path: Path | None
    sha256: str | None
    facts: Mapping[str, Any]
    seen: Identity | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be a post's.

    Attributes:
        fetch: the file that is wanted.
        path: where the candidate is.
        ext: extension that it has to have in the store.
        facts: what the manifest of a release says of it; None elsewhere.
        is_copy: it was read out of an archive into a file of our own, which may be renamed.
        px512: what a release made with the same settings has of its 512px image.
    """

    fetch: Fetch
    path: Path
    ext: str
    facts: Mapping[str, Any] | None = None
    is_copy: bool = False
    px512: Px512Candidate | None = None


class Finder(Protocol):
    """Finds candidates for files of one bucket."""

    def __call__(self, wanted: Iterable[Fetch], scratch: Path, /) -> Iterator[Candidate]:
        """Candidates for some files, those of one file in the order to try; the first that is proven is taken.

        `scratch` is a folder for what is read out of an archive.
        """


class Holding(Protocol):
    """One path that was given, and what it holds."""

    @property
    def title(self) -> str:
        """What it is, for people."""

    @property
    def place(self) -> Path:
        """Where it is."""

    @property
    def can_move(self) -> bool:
        """Whether its files may be moved."""

    def buckets(self) -> Iterator[tuple[str, Finder]]:
        """Buckets it may have files of, each with how to find them. A bucket may come more than once."""


def kind_of(mode: int) -> str:
    """What a path is that is no regular file, by its mode."""
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), "no file")


def is_plain_file(path: Path) -> bool:
    """Whether a path is a regular file and no link."""
    return Skipped().is_plain_file(path)


@dataclass(slots=True)
class Skipped:
    """Names of a holding that were looked for, are there, and could not be used.

    Attributes:
        count: how many.
        first: the first of them, and why.
    """

    count: int = 0
    first: str = ""

    def note(self, path: Path, why: str | None) -> None:
        """Note a name."""
        self.count += 1
        self.first = self.first or f"{path} ({why})"

    def is_plain_file(self, path: Path) -> bool:
        """Whether a path is a regular file and no link; notes one that is something else, or that cannot be told."""
        try:
            mode = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            self.note(path, error.strerror)
            return False
        if not stat.S_ISREG(mode):
            self.note(path, kind_of(mode))
        return stat.S_ISREG(mode)

    def is_folder(self, path: Path) -> bool:
        """Whether a path is a folder or leads to one; notes a link that leads nowhere, or what cannot be told."""
        try:
            if path.is_dir():
                return True
            if path.is_symlink():
                self.note(path, "a symbolic link that leads to no folder")
        except OSError as error:
            self.note(path, error.strerror)
        return False

    def check(self, title: str) -> None:
        """Say what was passed over.

        Raises:
            StoreError: something was.
        """
        if self.count:
            raise StoreError(self.line(title))

    def line(self, title: str) -> str:
        """The same for people."""
        return f"{title}: {self.count:,} files or folders could not be used, the first of them {self.first}"


def spellings(ext: str) -> tuple[str, ...]:
    """Extensions under which a file may be filed: old releases wrote both ``jpg`` and ``jpeg``."""
    return (ext, *(other for other in _JPG if ext in _JPG and other != ext))


def examine(path: Path) -> Examined:
    """MD5 and SHA-256 of a file from one read, and which file that was.

    Raises:
        OSError: it cannot be read.
    """
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        identity = Identity.of(os.fstat(file.fileno()))
        while block := file.read(2**20):
            md5.update(block)
            sha256.update(block)
    return Examined(md5.hexdigest(), sha256.hexdigest(), identity)

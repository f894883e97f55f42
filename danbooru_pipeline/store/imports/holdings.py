"""What the paths given to an import hold: releases, trees by id, tars by id, folders by MD5.

A holding names buckets, and finds candidates for the files that a bucket lacks. A candidate proves nothing: `proof`
judges it. Names are built from ids, MD5s and extensions, and looked up; nothing that a holding names becomes a path,
and symbolic links are not followed.
"""

import hashlib
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.io.external_sort import ExternalGroupBy, by_remainder
from danbooru_pipeline.io.parquet import read_batches
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import BUCKET_COUNT, BUCKETS, RELEASE_JSON, original_path
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.store.columns import ORIGINAL_FACTS, FileFacts, columns_of, schema_of

_JPG: Final = ("jpg", "jpeg")
_TAR: Final = re.compile(r".+\.tar(\.(gz|xz|bz2))?", re.IGNORECASE)
_SHARED: Final = columns_of(FileFacts)
_RELEASE_SCHEMA: Final = pa.schema(
    [
        ("id", pa.int64()),
        ("status", pa.string()),
        ("path", pa.string()),
        ("source_md5", pa.string()),
        ("first_release", pa.int16()),
    ]
    + [(f.name, f.type) for f in schema_of(_SHARED) if f.name in ORIGINAL_FACTS]
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be a post's.

    Attributes:
        fetch: the file that is wanted.
        path: where the candidate is.
        ext: extension that it has to have in the store.
        facts: what the manifest of a release says of it; None elsewhere.
        is_copy: it was read out of an archive into a file of our own, which may be renamed.
    """

    fetch: Fetch
    path: Path
    ext: str
    facts: Mapping[str, Any] | None = None
    is_copy: bool = False


class Finder(Protocol):
    """Finds candidates for files of one bucket."""

    def __call__(self, wanted: Iterable[Fetch], scratch: Path, /) -> Iterator[Candidate]:
        """Candidates for some files; `scratch` is a folder for what is read out of an archive."""


class Holding(Protocol):
    """One path that was given, and what it holds."""

    @property
    def title(self) -> str:
        """What it is, for people."""

    @property
    def can_move(self) -> bool:
        """Whether its files may be moved."""

    def buckets(self) -> Iterator[tuple[str, Finder]]:
        """Buckets it may have files of, each with how to find them. A bucket may come more than once."""


def open_holdings(paths: Iterable[Path]) -> list[Holding]:
    """Recognise what each path holds.

    Raises:
        StoreError: a path holds nothing that can be imported.
    """
    return [holding for path in paths for holding in _recognise(path)]


def _recognise(path: Path) -> list[Holding]:
    from danbooru_pipeline.store.imports.tars import TarHolding  # noqa: PLC0415 - it builds on this module

    if path.is_file() and _TAR.fullmatch(path.name):
        return [TarHolding(path)]
    if not path.is_dir():
        raise StoreError(f"{path} is no folder and no tar; give a release, a tree, tars or a folder of files by MD5")
    if (path / RELEASE_JSON).is_file() and (path / "manifest").is_dir():
        return [ReleaseHolding(path)]
    top = path / "original" if (path / "original").is_dir() else path
    names = sorted(entry.name for entry in top.iterdir())
    found: list[Holding] = [TarHolding(top / name) for name in names if _TAR.fullmatch(name)]
    if not set(BUCKETS).isdisjoint(names):
        found.append(TreeHolding(top))
    if not found or _looks_like_md5(top, names):
        found.append(Md5Holding(top))
    return found


def _looks_like_md5(folder: Path, names: Iterable[str]) -> bool:
    return any(re.fullmatch(r"[0-9a-f]{2}|[0-9a-f]{32}\.\w+", name) for name in names if (folder / name).exists())


def is_plain_file(path: Path) -> bool:
    """Whether a path is a regular file and no link."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _spellings(ext: str) -> tuple[str, ...]:
    """Extensions under which a file may be filed: old releases wrote both ``jpg`` and ``jpeg``."""
    return (ext, *(other for other in _JPG if ext in _JPG and other != ext))


@dataclass(frozen=True, slots=True)
class TreeHolding:
    """``BUCKET/ID.EXT``, as Danbooru2017 to 2021 have it below ``original``."""

    folder: Path
    can_move: bool = field(default=True, init=False)

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"tree {self.folder}"

    def buckets(self) -> Iterator[tuple[str, Finder]]:
        """Every bucket that has a folder."""
        for bucket in BUCKETS:
            folder = self.folder / bucket
            if folder.is_dir() and not folder.is_symlink():
                yield bucket, self._find

    def _find(self, wanted: Iterable[Fetch], scratch: Path, /) -> Iterator[Candidate]:  # noqa: ARG002 - of the protocol
        for fetch in wanted:
            for ext in _spellings(fetch.ext):
                path = self.folder / original_path(fetch.id, ext).removeprefix("original/")
                if is_plain_file(path):
                    yield Candidate(fetch, path, fetch.ext)
                    break


@dataclass(frozen=True, slots=True)
class Md5Holding:
    """``MD5.EXT`` or ``ab/cd/MD5.EXT``, as downloaders leave them. Looked up by name, so its size costs no memory."""

    folder: Path
    can_move: bool = field(default=True, init=False)

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"files by MD5 in {self.folder}"

    def buckets(self) -> Iterator[tuple[str, Finder]]:
        """All of them: the name does not tell."""
        return ((bucket, self._find) for bucket in BUCKETS)

    def _find(self, wanted: Iterable[Fetch], scratch: Path, /) -> Iterator[Candidate]:  # noqa: ARG002 - of the protocol
        for fetch in wanted:
            md5 = fetch.md5
            folders = (f"{md5[:2]}/{md5[2:4]}/", "", f"{md5[:2]}/")
            names = (f"{folder}{md5}.{ext}" for folder in folders for ext in _spellings(fetch.ext))
            path = next((self.folder / name for name in names if is_plain_file(self.folder / name)), None)
            if path is not None:
                yield Candidate(fetch, path, fetch.ext)


@dataclass(frozen=True, slots=True)
class ReleaseHolding:
    """A release of ours, whose manifest says which file is whose."""

    folder: Path
    can_move: bool = field(default=False, init=False)

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"release {self.folder}"

    def buckets(self) -> Iterator[tuple[str, Finder]]:
        """Every bucket of the manifest, which is sorted on disk.

        Raises:
            StoreError: the manifest is not the one that the release's checksums name.
        """
        with ExternalGroupBy(_RELEASE_SCHEMA, key=by_remainder(BUCKET_COUNT)) as grouped:
            try:
                for path in self._manifest():
                    for table in read_batches(path):
                        grouped.add(_conformed(table))
            except (OSError, KeyError, pa.ArrowException) as error:
                raise StoreError(f"the manifest of {self.folder} cannot be read ({error}); verify it first") from error
            for number, table in grouped.groups():
                yield BUCKETS[number], _RowFinder(self.folder, table)

    def _manifest(self) -> list[Path]:
        lines = (self.folder / "SHA256SUMS").read_text("utf-8", "replace").splitlines()
        sums = {line[66:]: line[:64] for line in lines}
        paths = sorted((self.folder / "manifest").glob("files-*.parquet"))
        listed = {name for name in sums if name.startswith("manifest/files-")}
        if listed != {f"manifest/{path.name}" for path in paths} or not paths:
            raise StoreError(f"the manifest of {self.folder} is not complete; verify the release first")
        for path in paths:
            if sha256_of(path) != sums[f"manifest/{path.name}"]:
                raise StoreError(f"{path} is not the file that SHA256SUMS names; verify the release first")
        return paths


def _conformed(table: pa.Table) -> pa.Table:
    """The columns that an import needs; facts that an earlier version did not have are null."""
    held = table.filter(pc.is_valid(table["path"]))
    names = set(held.column_names)
    arrays = [
        held[f.name].cast(f.type) if f.name in names else pa.nulls(held.num_rows, f.type) for f in _RELEASE_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=_RELEASE_SCHEMA)


@dataclass(frozen=True, slots=True)
class _RowFinder:
    """Finds the files of a bucket by the rows of a manifest."""

    folder: Path
    rows: pa.Table

    def __call__(self, wanted: Iterable[Fetch], scratch: Path, /) -> Iterator[Candidate]:  # noqa: ARG002 - of the protocol
        rows = {row["id"]: row for row in self.rows.to_pylist()}
        for fetch in wanted:
            row = rows.get(fetch.id)
            if row is None or row["sha256"] is None or row["source_md5"] != fetch.md5:
                continue  # the post had another file then
            ext = str(row["path"]).rpartition(".")[2]
            if ext not in {fetch.ext, "jxl"} or row["path"] != original_path(fetch.id, ext):
                continue
            path = self.folder / row["path"]
            if is_plain_file(path) and not path.parent.is_symlink():
                yield Candidate(
                    fetch, path, ext, facts={name: row[name] for name in (*ORIGINAL_FACTS, "first_release")}
                )


def digests_of(path: Path) -> tuple[str, str]:
    """MD5 and SHA-256 of a file from one read.

    Raises:
        OSError: it cannot be read.
    """
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(2**20):
            md5.update(block)
            sha256.update(block)
    return md5.hexdigest(), sha256.hexdigest()

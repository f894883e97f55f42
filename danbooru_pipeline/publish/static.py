"""Static hosting: any address that fsspec knows (``s3://``, ``gs://``, ``file://``), with a release's tree as it is.

Credentials come from the environment, as each store's own tools read them. Object stores show a file as a whole or not
at all; in a folder it is written beside its name and renamed.
"""

import contextlib
import hashlib
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import fsspec

from danbooru_pipeline.errors import PublishError
from danbooru_pipeline.layout import BUCKETS, PART_SUFFIX
from danbooru_pipeline.publish.pieces import DOCUMENTS, Group, Piece, buckets_of, document_groups, file_piece
from danbooru_pipeline.publish.place import ask
from danbooru_pipeline.release.checksums import TREES, read_sums

_CHUNK: Final = 2**20


class StaticPlace:
    """See `Place`.

    Args:
        address: of the folder that has, or gets, one folder a release.
    """

    batch = 1
    threads = 8

    def __init__(self, address: str) -> None:
        self.address = address
        self._name = ""
        try:
            self._files, self._root = fsspec.core.url_to_fs(address, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise PublishError(f"{address} cannot be used ({error}); install what it needs, or correct it") from error
        self._is_local = "file" in self._protocols()

    def _protocols(self) -> tuple[str, ...]:
        protocol = self._files.protocol
        return (protocol,) if isinstance(protocol, str) else tuple(protocol)

    def groups(self, folder: Path) -> list[Group]:
        """A bucket a group."""
        buckets = [
            Group(f"{tree}-{bucket}", f"{tree}/{bucket}", partial(_bucket, folder, name))
            for tree, bucket, name in buckets_of(folder)
        ]
        return [*buckets, *document_groups(folder)]

    def open(self, name: str) -> None:
        """Make the folder, where a place has folders."""
        self._name = name
        ask(self.address, lambda: self._files.makedirs(self._path(""), exist_ok=True) if self._is_local else None)

    def paths_of(self, piece: Piece) -> list[str]:
        """Its own."""
        return [piece.name]

    def held(self) -> list[str]:
        """Buckets that have a folder here, and the documents if there is anything."""
        there = self._names("")
        buckets = [f"{tree.name}-{name}" for tree in TREES for name in self._names(tree.name) if name in BUCKETS]
        return [*buckets, DOCUMENTS] if there else []

    def _names(self, folder: str) -> list[str]:
        """Names in a folder."""

        def names() -> list[str]:
            try:
                found = self._files.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                return []
            return sorted({path.rstrip("/").rpartition("/")[2] for path in found})

        return ask(self.address, names)

    def listed(self, folder: str) -> list[str]:
        """Every file below a folder; of documents, all that are in no bucket."""
        if folder:
            return self._found(folder)
        trees = [tree.name for tree in TREES]
        names = [name for name in self._names("") if name not in trees]
        names += [f"{tree}/{name}" for tree in trees for name in self._names(tree) if name not in BUCKETS]
        return [path for name in names for path in self._found(name)]

    def _found(self, name: str) -> list[str]:
        base = f"{self._path('')}/"
        return sorted(path.removeprefix(base) for path in ask(self.address, lambda: self._files.find(self._path(name))))

    def digest(self, path: str) -> str | None:
        """Read it: an object store's own digest is of many kinds."""

        def read() -> str | None:
            digest = hashlib.sha256()
            try:
                with self._files.open(self._path(path), "rb") as file:
                    while chunk := file.read(_CHUNK):
                        digest.update(chunk)
            except FileNotFoundError:
                return None
            return digest.hexdigest()

        return ask(self.address, read)

    def put(self, files: Mapping[str, Path]) -> None:
        """Put files there."""
        for path, file in files.items():
            size = file.stat().st_size  # outside: if it is gone, the release was replaced
            ask(self.address, partial(self._put, file, self._path(path), size))

    def _put(self, file: Path, target: str, size: int) -> None:
        if self._is_local:
            part = f"{target.rpartition('/')[0]}/.{target.rpartition('/')[2]}{PART_SUFFIX}"
            self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(file), part)
            Path(part).replace(target)
        else:
            self._files.put_file(str(file), target)
        arrived = self._files.info(target)["size"]
        if arrived != size:
            raise PublishError(f"{target} has {arrived:,} bytes and should have {size:,}; publish again")

    def remove(self, paths: Collection[str]) -> None:
        """Remove files."""

        def remove(path: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                self._files.rm_file(self._path(path))
            if self._is_local:  # a release has no empty folder
                with contextlib.suppress(OSError):
                    Path(self._path(path)).parent.rmdir()

        for path in paths:
            ask(self.address, partial(remove, path))

    def beside(self, files: Mapping[str, Path]) -> None:
        """Write them into the folder of the releases."""
        for name, file in files.items():
            ask(self.address, partial(self._files.pipe_file, f"{self._root}/{name}", file.read_bytes()))

    def end(self, name: str, *, newest: bool) -> None:
        """Write ``current``, a file with the name of the newest release, which mirrors follow."""
        if newest:
            ask(self.address, lambda: self._files.pipe_file(f"{self._root}/current", f"{name}\n".encode()))

    def _path(self, path: str) -> str:
        return f"{self._root}/{self._name}/{path}".rstrip("/")


def _bucket(folder: Path, name: str) -> Iterator[Piece]:
    return (file_piece(folder, path, sha256) for path, sha256 in read_sums(folder, name).items())

"""Tables in files: the public newline-JSON dumps, and the metadata of earlier releases (2017 to 2021).

A dump is a folder or an address of tables, an archive a ``metadata`` folder, or that of a release, or
``metadata.json.tar.xz``; `table_names` says how their files are called. Each is plain or packed, as its first bytes
show. What is not whole is refused: a file that ends within a line or without a byte, and one of several that has no
lines.
"""

import tarfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.fetch.retry import RetryPolicy
from danbooru_pipeline.release_paths import METADATA, RELEASE_JSON
from danbooru_pipeline.sources.bulk import BulkTable
from danbooru_pipeline.sources.json_lines import JsonLines, read_lines
from danbooru_pipeline.sources.listing import list_folder
from danbooru_pipeline.sources.packed import CHUNK, ends_itself, unpack
from danbooru_pipeline.sources.remote_tables import RemoteTables
from danbooru_pipeline.sources.table_names import POSTS, Found, earlier_files_of, files_of, require_years
from danbooru_pipeline.sources.tar_links import TarNames
from danbooru_pipeline.sources.tar_stream import tar_members


def _file_chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        raise SourceUnusable(f"{path} cannot be read ({error}); get it again") from None


class DumpSource:
    """The public dumps, from a folder or below an ``http(s)://`` or ``gs://`` address.

    Args:
        place: the folder or the address.
        user_agent: of each request.
        retry_seconds: for how long a file is asked for.
        shows_only: whether a table below an address is only shown, by its first file, and without rows.
    """

    name = "dump"

    def __init__(self, place: str, *, user_agent: str, retry_seconds: float = 120.0, shows_only: bool = False) -> None:
        self._place = place.rstrip("/")
        if place.startswith("gs://"):
            self._place = "https://storage.googleapis.com/" + place.removeprefix("gs://").rstrip("/")
        self._remote = self._place.startswith(("http://", "https://"))
        # Gzipped if it is stored that way; a server that unpacks it sends plain bytes, and `unpack` takes both.
        headers = {"User-Agent": user_agent, "Accept-Encoding": "gzip"}
        policy = RetryPolicy(max_seconds=retry_seconds)
        self._tables = RemoteTables(self._place, headers=headers, policy=policy)
        self._shows_only = shows_only

    def probe(self) -> None:
        """Check that the folder exists; an address is contacted when it is read.

        Raises:
            SourceUnusable: the folder does not exist.
        """
        if not self._remote and not Path(self._place).is_dir():
            raise SourceUnusable(f"there is no folder {self._place}; set DANBOORU_DUMP to the dump's folder or address")

    def open_table(self, table: str, year: int) -> BulkTable | None:  # noqa: ARG002 - a dump has one version only
        """One table of the dump: a file, or shards of it."""
        return self._open_remote(table) if self._remote else self._open_local(table)

    def earlier_files(self, year: int) -> Iterator[tuple[str, Iterator[bytes]]]:  # noqa: ARG002 - see below
        """Nothing: a dump has no earlier years."""
        return iter(())

    def _open_local(self, table: str) -> BulkTable | None:
        folder = Path(self._place)
        names = files_of(list_folder(folder, deep=False), table, place=self._place)
        paths = [folder / name for name in names]
        if not paths:
            return None
        modified = datetime.fromtimestamp(min(path.stat().st_mtime for path in paths), UTC)
        blocks = _lines_of(((str(path), _file_chunks(path)) for path in paths), of_several=len(paths) > 1)
        return BulkTable(blocks=blocks, modified=modified, never_empty=True)

    def _open_remote(self, table: str) -> BulkTable | None:
        if self._shows_only:
            file = self._tables.first_file(table)
            return BulkTable(blocks=(), modified=file.modified, never_empty=True) if file is not None else None
        files = self._tables.files(table)
        if not files:
            return None
        chunks = ((file.name, file.chunks(ends_itself=ends_itself)) for file in files)
        written = [file.modified for file in files if file.modified is not None]
        return BulkTable(
            blocks=_lines_of(chunks, of_several=len(files) > 1),
            modified=min(written) if len(written) == len(files) else None,
            never_empty=True,
        )


def _lines_of(
    files: Iterator[tuple[str, Iterator[bytes]]], *, of_several: bool, cdn_url: str = ""
) -> Iterator[JsonLines]:
    """The lines of some files. A file of several that has none was not written."""
    for name, chunks in files:
        lines = 0
        for block in read_lines(unpack(chunks, name), name, cdn_url=cdn_url):
            lines += not block.data.isspace()
            yield block
        if of_several and not lines:
            raise SourceUnusable(f"{name} is empty, though it is one of several files of its table; get it again")


class ArchiveSource:
    """Metadata of an earlier release: a folder, or ``metadata.json.tar.xz``. `cdn_url` is where its files are today."""

    name = "archive"

    def __init__(self, path: Path, *, cdn_url: str) -> None:
        self._path = path / METADATA if (path / RELEASE_JSON).is_file() and (path / METADATA).is_dir() else path
        self._cdn = cdn_url

    def probe(self) -> None:
        """Check that it exists.

        Raises:
            SourceUnusable: it does not.
        """
        if not self._path.exists():
            raise SourceUnusable(f"there is no {self._path}; set DANBOORU_ARCHIVE to a metadata folder or tar.xz")

    def open_table(self, table: str, year: int) -> BulkTable | None:
        """All shards of a table; of posts, those of the year.

        Raises:
            SourceUnusable: something that looks like the table, or like metadata of an earlier year, is not read.
        """
        place = str(self._path)
        require_years(self._found, year, place)
        if table == POSTS:
            earlier_files_of(self._found, year, place)  # before anything is written
        names = files_of(self._found, table, year=year, place=place)
        if not names:
            return None
        return BulkTable(blocks=_lines_of(self._read(names), of_several=len(names) > 1, cdn_url=self._cdn))

    def earlier_files(self, year: int) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The metadata of the years before `year`, byte for byte: ``2017/2017000000000000.json`` and its bytes.

        What is packed file by file comes unpacked, since a takedown must find its lines.
        """
        carried = earlier_files_of(self._found, year, str(self._path))
        targets = {name: target for target, name in carried.items()}
        return ((targets[name], unpack(chunks, name)) for name, chunks in self._read(targets))

    @cached_property
    def _found(self) -> list[Found]:
        return list_folder(self._path, deep=True) if self._path.is_dir() else self._tar_names.found()

    @cached_property
    def _tar_names(self) -> TarNames:
        names = TarNames()
        for number, (member, _) in enumerate(self._members()):
            names.add(number, member)
        return names

    def _read(self, names: Iterable[str]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The bytes of some files, one after the other; each must be read before the next is requested."""
        if self._path.is_dir():
            yield from ((name, _file_chunks(self._path / name)) for name in sorted(names))
            return
        left = {name: self._tar_names.member_of(name) for name in names}
        while left:  # names that have the same bytes are read one in a pass
            turn = {number: name for name, number in left.items()}
            yield from ((turn[number], chunks) for number, (_, chunks) in enumerate(self._members()) if number in turn)
            left = {name: number for name, number in left.items() if turn[number] != name}

    def _members(self) -> Iterator[tuple[tarfile.TarInfo, Iterator[bytes]]]:
        name = str(self._path)
        return tar_members(unpack(_file_chunks(self._path), name), name)

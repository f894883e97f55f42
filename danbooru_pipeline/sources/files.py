"""Tables in files: the public newline-JSON dumps, and the metadata of earlier releases (2017 to 2021).

A dump is ``TABLE.json``, plain or packed (as its first bytes show), in a folder or at an address. An archive is a
``metadata`` folder or ``metadata.json.tar.xz``; its files are named ``posts000000000000.json`` since 2021 and
``2017000000000000.json`` before. What is not whole is refused: a file that ends within a line or without a byte, a gap
between the numbers of the shards.
"""

import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.fetch.remote_file import open_remote_file
from danbooru_pipeline.fetch.retry import RetryPolicy
from danbooru_pipeline.sources.bulk import BulkTable
from danbooru_pipeline.sources.json_lines import JsonLines, read_lines
from danbooru_pipeline.sources.packed import CHUNK, ends_itself, unpack
from danbooru_pipeline.sources.tar_stream import tar_members

#: What a packed file may have after its name; only its first bytes decide how it is unpacked.
_PACKED: Final = ("", ".gz", ".zst", ".xz", ".bz2")
#: A file in a folder whose name is a year; beside it ``2021-old`` has the posts of 2021 in the older dialect.
_OF_A_YEAR = re.compile(r"(^|/)((?:19|20)\d\d)(?:-old)?/[^/]+$")
_FILE_NAME = re.compile(r"[a-z0-9_]{1,80}\.json")
_MEMBER = re.compile(r"(?P<table>[a-z][a-z_]*?|\d{4})?(?P<shard>\d{12})?\.json(?:\.(?:gz|zst|xz|bz2))?")


def _file_chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        raise SourceUnusable(f"{path} cannot be read ({error}); get it again") from None


def _require_each_shard_once(names: Collection[str], place: str) -> None:
    """Refuse shards whose numbers have a gap (000, 001, 003), and one that is there twice, plain and packed."""
    kept: dict[tuple[Path, str], str] = {}
    for name in sorted(names):
        other = kept.setdefault((Path(name).parent, Path(name).name.partition(".")[0]), name)
        if other != name:
            raise SourceUnusable(f"{place} has {other} and {name}; remove all but the one that you mean")
    found = [(match, name) for name in names if (match := _MEMBER.fullmatch(Path(name).name)) and match["shard"]]
    numbers = {int(match["shard"]) for match, _ in found}
    lacking = sorted(set(range(max(numbers, default=-1) + 1)) - numbers)
    if lacking:
        match, name = found[0]
        first = Path(name).with_name(f"{match['table'] or ''}{lacking[0]:012d}.json")
        raise SourceUnusable(
            f"{place} lacks {len(lacking):,} of {max(numbers) + 1:,} files of a table, first of them {first}; get it "
            "again"
        )


class DumpSource:
    """The public dumps, one ``TABLE.json`` each, from a folder or below an ``http(s)://`` or ``gs://`` address."""

    name = "dump"

    def __init__(self, place: str, *, user_agent: str, retry_seconds: float = 120.0) -> None:
        self._place = place.rstrip("/")
        if place.startswith("gs://"):
            self._place = "https://storage.googleapis.com/" + place.removeprefix("gs://").rstrip("/")
        self._remote = self._place.startswith(("http://", "https://"))
        # Gzipped if it is stored that way; a server that unpacks it sends plain bytes, and `unpack` takes both.
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "gzip"}
        self._policy = RetryPolicy(max_seconds=retry_seconds)

    def probe(self) -> None:
        """Check that the folder exists; an address is contacted when it is read.

        Raises:
            SourceUnusable: the folder does not exist.
        """
        if not self._remote and not Path(self._place).is_dir():
            raise SourceUnusable(f"there is no folder {self._place}; set DANBOORU_DUMP to the dump's folder or address")

    def open_table(self, table: str, year: int) -> BulkTable | None:  # noqa: ARG002 - a dump has one version only
        """One table of the dump: a file, or shards of it in a folder."""
        return self._open_remote(table) if self._remote else self._open_local(table)

    def earlier_files(self, year: int) -> Iterator[tuple[str, Iterator[bytes]]]:  # noqa: ARG002 - see below
        """Nothing: a dump has no earlier years."""
        return iter(())

    def _open_local(self, table: str) -> BulkTable | None:
        paths = [path for more in _PACKED if (path := Path(self._place) / f"{table}.json{more}").is_file()]
        if not paths:
            paths = sorted(Path(self._place).glob(f"{table}{'[0-9]' * 12}.json*"))
        _require_each_shard_once([path.name for path in paths], self._place)
        if not paths:
            return None
        modified = datetime.fromtimestamp(min(path.stat().st_mtime for path in paths), UTC)
        blocks = _lines_of(((str(path), _file_chunks(path)) for path in paths), of_several=len(paths) > 1)
        return BulkTable(blocks=blocks, modified=modified, never_empty=True)

    def _open_remote(self, table: str) -> BulkTable | None:
        url = f"{self._place}/{table}.json"
        file = open_remote_file(url, headers=self._headers, policy=self._policy)
        if file is None:
            return None
        blocks = read_lines(unpack(file.chunks(ends_itself=ends_itself), file.name), file.name)
        return BulkTable(blocks=blocks, modified=file.modified, never_empty=True)


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
        self._path = path
        self._cdn = cdn_url

    def probe(self) -> None:
        """Check that it exists.

        Raises:
            SourceUnusable: it does not.
        """
        if not self._path.exists():
            raise SourceUnusable(f"there is no {self._path}; set DANBOORU_ARCHIVE to a metadata folder or tar.xz")

    def open_table(self, table: str, year: int) -> BulkTable | None:
        """All shards of a table; of posts, those of the year."""
        names = [name for name in self._names if _belongs(name, table, year)]
        # The files in the year's own folder; without such a folder, those that are in no year's folder.
        own = [name for name in names if not {str(year), f"{year}-old"}.isdisjoint(Path(name).parts)]
        found = own or [name for name in names if not _OF_A_YEAR.search(name)]
        # If posts are there in both dialects, those in the dialect of 2021 say more.
        chosen = frozenset([name for name in found if Path(name).name.startswith(table)] or found)
        _require_each_shard_once(chosen, str(self._path))
        if not chosen:
            return None
        return BulkTable(blocks=_lines_of(self._read(chosen), of_several=len(chosen) > 1, cdn_url=self._cdn))

    def earlier_files(self, year: int) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The metadata of the years before `year`, byte for byte: ``2017/2017000000000000.json`` and its bytes."""
        names = frozenset(name for name in self._names if (found := _OF_A_YEAR.search(name)) and int(found[2]) < year)
        for name, chunks in self._read(names):
            part = Path(name)
            if _FILE_NAME.fullmatch(part.name):
                yield f"{part.parent.name}/{part.name}", chunks

    @cached_property
    def _names(self) -> list[str]:
        if self._path.is_dir():
            return sorted(str(path.relative_to(self._path)) for path in self._path.rglob("*") if path.is_file())
        return sorted(name for name, _ in self._members())

    def _read(self, names: frozenset[str]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The bytes of some files, one after the other; each must be read before the next is requested."""
        if self._path.is_dir():
            return ((name, _file_chunks(self._path / name)) for name in sorted(names))
        return ((name, chunks) for name, chunks in self._members() if name in names)

    def _members(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        name = str(self._path)
        return tar_members(unpack(_file_chunks(self._path), name), name)


def _belongs(name: str, table: str, year: int) -> bool:
    match = _MEMBER.fullmatch(Path(name).name)
    if match is None:
        return False
    stem = match["table"]
    if table == "posts":
        return (
            stem == "posts"
            or (stem == str(year) and match["shard"] is not None)
            or (stem is None and match["shard"] is not None)
        )
    return stem == table

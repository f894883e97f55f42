"""Tables in files: the public newline-JSON dumps, and the metadata of earlier releases (2017 to 2021).

A dump is ``TABLE.json``, plain or gzipped (as its first bytes show), in a folder or at an address. An archive is a
``metadata`` folder or ``metadata.json.tar.xz``; its files are named ``posts000000000000.json`` since 2021 and
``2017000000000000.json`` before. A file that ends within a line was truncated, and is refused.
"""

import lzma
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import httpx
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import SourceUnreachable, SourceUnusable
from danbooru_pipeline.posts import MD5, LineTyper, Typed, json_objects
from danbooru_pipeline.sources.bulk import BulkTable

GZIP_MAGIC: Final = b"\x1f\x8b"
CHUNK: Final = 2**20
#: Bytes of lines that are typed at a time; about 8,000 posts.
BLOCK_BYTES: Final = 16 * 2**20
#: A file in a folder whose name is a year.
_OF_A_YEAR = re.compile(r"(^|/)((?:19|20)\d\d)/[^/]+$")
_FILE_NAME = re.compile(r"[a-z0-9_]{1,80}\.json")
_MEMBER = re.compile(r"(?P<table>[a-z][a-z_]*?|\d{4})?(?P<shard>\d{12})?\.json")


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Whole lines of a file.

    Attributes:
        data: the lines; the last one may lack its newline, but must be complete.
        name: of the file.
        first_line: number of the first line in the file.
        cdn_url: host of the files of posts that come without an address; empty when unknown.
    """

    data: bytes
    name: str
    first_line: int = 1
    cdn_url: str = ""

    def posts(self, typer: LineTyper) -> Typed:
        """The lines as posts.

        Raises:
            SourceUnusable: a line is not a JSON object.
        """
        typed = typer.type(self.data, name=self.name, first_line=self.first_line)
        return replace(typed, table=_located(typed.table, self.cdn_url)) if self.cdn_url else typed

    def records(self) -> Iterator[Mapping[str, Any]]:
        """The JSON object of each line.

        Raises:
            SourceUnusable: a line is not a JSON object.
        """
        lines = self.data.split(b"\n")
        return (record for _, record in json_objects(lines, name=self.name, first_line=self.first_line))


def read_lines(
    chunks: Iterable[bytes], name: str, *, cdn_url: str = "", size: int = BLOCK_BYTES
) -> Iterator[JsonLines]:
    """Blocks of whole lines, of about `size` bytes; they do not depend on how the bytes are cut into chunks."""
    held = bytearray()
    first_line = 1
    for chunk in chunks:
        held += chunk
        while len(held) >= size:
            end = held.rfind(b"\n", 0, size) + 1 or held.find(b"\n", size) + 1
            if not end:
                break
            data = bytes(held[:end])
            del held[:end]
            yield JsonLines(data, name, first_line, cdn_url)
            first_line += data.count(b"\n")
    if held:
        yield JsonLines(bytes(held), name, first_line, cdn_url)


def _located(table: pa.Table, cdn_url: str) -> pa.Table:
    """Posts with the address of their file, which follows from the MD5; until 2020 they came without it."""
    md5 = table["md5"]
    known = pc.and_(
        pc.and_(table["tags"].is_valid(), table["file_url"].is_null()),
        pc.match_substring_regex(md5, f"^{MD5.pattern}$"),
    )
    parts = (pc.utf8_slice_codeunits(md5, 0, 2), pc.utf8_slice_codeunits(md5, 2, 4), md5)
    address = pc.binary_join_element_wise(f"{cdn_url}/original", *parts, "/")
    address = pc.binary_join_element_wise(address, table["file_ext"], ".")
    column = pc.if_else(pc.fill_null(known, fill_value=False), address, table["file_url"])
    return table.set_column(table.schema.get_field_index("file_url"), table.schema.field("file_url"), column)


def _unpacked(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Plain bytes, whether they come plain or gzipped (in one gzip member or several)."""
    inflate: Any = None
    first = True
    for chunk in chunks:
        packed = first and chunk.startswith(GZIP_MAGIC)
        first = first and not chunk
        if inflate is None and not packed:
            yield chunk
            continue
        try:
            rest = chunk
            while rest:
                inflate = inflate if inflate and not inflate.eof else zlib.decompressobj(16 + zlib.MAX_WBITS)
                yield inflate.decompress(rest)
                rest = inflate.unused_data
        except zlib.error:
            raise SourceUnusable(f"{name} is damaged: its gzip data is invalid; get it again") from None
    if inflate and not inflate.eof:
        raise SourceUnusable(f"{name} is truncated in the middle of its gzip data; get it again")


def _file_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


class DumpSource:
    """The public dumps, one ``TABLE.json`` each, from a folder or below an ``http(s)://`` or ``gs://`` address."""

    name = "dump"

    def __init__(self, place: str, *, user_agent: str) -> None:
        self._place = place.rstrip("/")
        if place.startswith("gs://"):
            self._place = "https://storage.googleapis.com/" + place.removeprefix("gs://").rstrip("/")
        self._remote = self._place.startswith(("http://", "https://"))
        self._agent = user_agent

    def probe(self) -> None:
        """Check that the folder exists; an address is contacted when it is read.

        Raises:
            SourceUnusable: the folder does not exist.
        """
        if not self._remote and not Path(self._place).is_dir():
            raise SourceUnusable(f"there is no folder {self._place}; set DANBOORU_DUMP to the dump's folder or address")

    def open_table(self, table: str, year: int) -> BulkTable | None:  # noqa: ARG002 - a dump has one version only
        """One file of the dump."""
        if self._remote:
            return self._open_remote(f"{self._place}/{table}.json")
        for name in (f"{table}.json", f"{table}.json.gz"):
            path = Path(self._place) / name
            if path.is_file():
                modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                return BulkTable(
                    blocks=read_lines(_unpacked(_file_chunks(path), str(path)), str(path)), modified=modified
                )
        return None

    def earlier_files(self, year: int) -> Iterator[tuple[str, Iterator[bytes]]]:  # noqa: ARG002 - see below
        """Nothing: a dump has no earlier years."""
        return iter(())

    def _open_remote(self, url: str) -> BulkTable | None:
        try:
            head = httpx.head(url, headers=self._headers, follow_redirects=True, timeout=30)
        except httpx.HTTPError as error:
            raise SourceUnreachable(f"{url} does not answer ({error!r}); check DANBOORU_DUMP and the network") from None
        if head.status_code == httpx.codes.NOT_FOUND:
            return None
        if head.status_code != httpx.codes.OK:
            raise SourceUnusable(
                f"{url} answers HTTP {head.status_code}; a bucket where the requester pays is copied with "
                "`gcloud storage cp --billing-project=PROJECT`, then set DANBOORU_DUMP to that folder"
            )
        written = head.headers.get("last-modified")
        modified = parsedate_to_datetime(written) if written else None
        return BulkTable(blocks=read_lines(_unpacked(self._download(url), url), url), modified=modified)

    @property
    def _headers(self) -> dict[str, str]:
        # Gzipped if it is stored that way; a server that unpacks it sends plain bytes, and `_unpacked` takes both.
        return {"User-Agent": self._agent, "Accept-Encoding": "gzip"}

    def _download(self, url: str) -> Iterator[bytes]:
        try:
            with httpx.stream("GET", url, headers=self._headers, follow_redirects=True, timeout=60) as answer:
                answer.raise_for_status()
                yield from answer.iter_raw(CHUNK)
        except httpx.HTTPError as error:
            raise SourceUnreachable(f"{url} was interrupted ({error!r}); run again, or download it first") from None


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
        names = [name for name in self._names() if _belongs(name, table, year)]
        # The files in the year's own folder; without such a folder, those that are in no year's folder.
        own = [name for name in names if str(year) in Path(name).parts]
        found = own or [name for name in names if not _OF_A_YEAR.search(name)]
        # If posts are there in both dialects, those in the dialect of 2021 say more.
        chosen = frozenset([name for name in found if Path(name).name.startswith(table)] or found)
        return BulkTable(blocks=self._blocks(chosen)) if chosen else None

    def earlier_files(self, year: int) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The metadata of the years before `year`, byte for byte: ``2017/2017000000000000.json`` and its bytes."""
        names = frozenset(name for name in self._names() if (found := _OF_A_YEAR.search(name)) and int(found[2]) < year)
        for name, chunks in self._read(names):
            part = Path(name)
            if _FILE_NAME.fullmatch(part.name):
                yield f"{part.parent.name}/{part.name}", chunks

    def _names(self) -> list[str]:
        if self._path.is_dir():
            return sorted(str(path.relative_to(self._path)) for path in self._path.rglob("*") if path.is_file())
        return self._walk_archive()

    def _walk_archive(self) -> list[str]:
        try:
            with tarfile.open(self._path, "r|*") as archive:
                return sorted(member.name for member in archive if member.isreg())
        except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
            raise SourceUnusable(f"{self._path} cannot be read ({error}); get it again") from None

    def _blocks(self, names: frozenset[str]) -> Iterator[JsonLines]:
        for name, chunks in self._read(names):
            yield from read_lines(_unpacked(chunks, name), name, cdn_url=self._cdn)

    def _read(self, names: frozenset[str]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The bytes of some files, one after the other; each must be read before the next is requested."""
        if self._path.is_dir():
            yield from ((name, _file_chunks(self._path / name)) for name in sorted(names))
            return
        try:
            with tarfile.open(self._path, "r|*") as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.name in names else None
                    if file is not None:
                        yield member.name, iter(lambda file=file: file.read(CHUNK), b"")  # type: ignore[misc]
        except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
            raise SourceUnusable(f"{self._path} cannot be read ({error}); get it again") from None


def _belongs(name: str, table: str, year: int) -> bool:
    match = _MEMBER.fullmatch(Path(name).name.removesuffix(".gz"))
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

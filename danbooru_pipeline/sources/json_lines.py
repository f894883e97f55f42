"""JSON lines of a table in blocks of whole lines, and a refusal of anything else that names what it is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.posts import MD5, LineTyper, Typed, json_objects
from danbooru_pipeline.posts.record import UNSTORABLE
from danbooru_pipeline.posts.unstorable import unreadable_lines
from danbooru_pipeline.sources.mistakes import mistake_for_lines

#: Bytes of lines that are typed at a time; about 8,000 posts.
BLOCK_BYTES: Final = 16 * 2**20


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
        """The lines as posts; one that is JSON and cannot be stored is rejected.

        Raises:
            SourceUnusable: a line is not a JSON object.
        """
        try:
            typed = typer.type(self.data, name=self.name, first_line=self.first_line)
        except SourceUnusable:
            rejected = {place: row for place, row in unreadable_lines(self.data) if row is not None}
            if not rejected:
                raise
            # Blank lines in their place, so that others keep their numbers.
            lines = [b"" if place in rejected else line for place, line in enumerate(self.data.split(b"\n"))]
            typed = typer.type(b"\n".join(lines), name=self.name, first_line=self.first_line)
            both = (*typed.rejected, *rejected.values())
            typed = replace(typed, rejected=both, read=typed.read + len(rejected))
        return replace(typed, table=_located(typed.table, self.cdn_url)) if self.cdn_url else typed

    def records(self) -> Iterator[Mapping[str, Any]]:
        """The JSON object of each line.

        Raises:
            SourceUnusable: a line is not a JSON object, or cannot be stored.
        """
        lines = self.data.split(b"\n")
        try:
            for _, record in json_objects(lines, name=self.name, first_line=self.first_line):
                yield record
        except SourceUnusable:
            place, row = next(unreadable_lines(self.data))
            if row is None:
                raise
            raise SourceUnusable(
                f"line {self.first_line + place:,} of {self.name} cannot be stored: it has {UNSTORABLE}; mend or "
                "remove it"
            ) from None


def read_lines(
    chunks: Iterable[bytes], name: str, *, cdn_url: str = "", size: int = BLOCK_BYTES
) -> Iterator[JsonLines]:
    """Blocks of whole lines, of about `size` bytes; they do not depend on how the bytes are cut into chunks.

    Raises:
        SourceUnusable: the file is not JSON lines.
    """
    held = bytearray()
    first_line = 1
    for chunk in chunks:
        held += chunk
        while len(held) >= size:
            _refuse_mistakes(held, name, first_line)
            end = held.rfind(b"\n", 0, size) + 1 or held.find(b"\n", size) + 1
            if not end:
                break
            data = bytes(held[:end])
            del held[:end]
            yield JsonLines(data, name, first_line, cdn_url)
            first_line += data.count(b"\n")
    if held:
        _refuse_mistakes(held, name, first_line)
        yield JsonLines(bytes(held), name, first_line, cdn_url)


def _refuse_mistakes(data: bytearray, name: str, first_line: int) -> None:
    if first_line > 1:
        return
    what = mistake_for_lines(data)
    if what:
        raise SourceUnusable(f"{name} is not JSON lines: it {what}")


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

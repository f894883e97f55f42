"""Lines of earlier releases as rows, typed a block at a time and proven.

A block is typed as a whole, written back and compared: a row whose line comes out with the same bytes was understood.
All others (hidden posts without id, new columns, a value of another type, a damaged line) go one by one through
`parse_record`, which is exact and a tenth as fast, and keep their line in `raw`. So whatever a line holds, the release
can reproduce it byte for byte.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.io.parquet import one_chunk
from danbooru_pipeline.io.typed_json import parse
from danbooru_pipeline.posts.dialect_2017 import COLUMNS_2017, encode_2017
from danbooru_pipeline.posts.dialect_2021 import encode_2021
from danbooru_pipeline.posts.json_text import has_tag_list
from danbooru_pipeline.posts.record import EPOCH, NEVER_EMPTY, NONE_IN_2017, RejectedRow, parse_record
from danbooru_pipeline.posts.schema import POST_SCHEMA, SITE_COLUMNS, PostRow
from danbooru_pipeline.posts.tags import has_repeats, tag_columns
from danbooru_pipeline.posts.unstorable import UNREADABLE, fault_of

#: A block that cannot be typed as a whole is halved until it is this small; then its lines are typed one by one.
_FEW_LINES: Final = 256
#: How a line of a release starts, with an id or without one; the API and its dumps write ids as numbers.
_OF_A_RELEASE: Final = (b'{"id":"', b'{"created_at":"')
_NEWLINE: Final = 10


@dataclass(frozen=True, slots=True)
class Typed:
    """Rows that were typed.

    Attributes:
        table: of `POST_SCHEMA`, in no particular order.
        rejected: records that cannot be placed in a release.
        read: number of records, the rejected ones included.
    """

    table: pa.Table
    rejected: tuple[RejectedRow, ...] = field(default=())
    read: int = 0


class LineTyper:
    """Types blocks of JSON lines."""

    def __init__(self) -> None:
        self._database = duckdb.connect()
        self._database.execute("SET threads = 1")

    def type(self, block: bytes, *, name: str, first_line: int = 1) -> Typed:
        """Whole lines of posts as rows.

        Args:
            block: the lines; the last one may lack its newline.
            name: of the file they are from, for error messages.
            first_line: number of the first line in that file.

        Raises:
            SourceUnusable: a line is not a JSON object.
        """
        data = block if block.endswith(b"\n") or not block else block + b"\n"
        if not data.startswith(_OF_A_RELEASE):
            return _one_by_one(data.split(b"\n"), name=name, first_line=first_line)
        return self._type(data, name, first_line)

    def _type(self, data: bytes, name: str, first_line: int) -> Typed:
        bounds = _bounds(data)
        old = has_tag_list(data[: bounds[1]])
        try:
            table = self._typed_at_once(_lines(data, bounds), old=old)
            written = encode_2017(table) if old else encode_2021(table)
        except (pa.ArrowException, duckdb.Error):
            count = len(bounds) - 1
            if count <= _FEW_LINES:
                return _one_by_one(data.split(b"\n"), name=name, first_line=first_line)
            half = count // 2
            first = self._type(data[: bounds[half]], name, first_line)
            return _together(first, self._type(data[bounds[half] :], name, first_line + half))
        proven = _same_lines(data, bounds, written) & _placed(table)
        if old:
            proven &= ~has_repeats(one_chunk(table["tags"]))
        doubtful = np.flatnonzero(~proven)
        if old:
            table = _with_strings(table)
        if not len(doubtful):
            return Typed(table, read=table.num_rows)
        rest = [
            _one_by_one([data[bounds[i] : bounds[i + 1] - 1]], name=name, first_line=first_line + i)
            for i in doubtful.tolist()
        ]
        return _together(Typed(table.filter(pa.array(proven)), read=int(proven.sum())), *rest)

    def _typed_at_once(self, lines: pa.Array, *, old: bool) -> pa.Table:
        """Rows as the lines seem to say; the caller must prove that they do."""
        self._database.register("lines", pa.table({"line": lines}))
        shape = _SHAPE_2017 if old else _SHAPE_2021
        # json_transform takes its shape as a constant only; the shape is our own.
        query = f"SELECT unnest(json_transform(line, '{shape}')) FROM lines"
        texts: pa.Table = self._database.sql(query).to_arrow_table()
        self._database.unregister("lines")
        found = {name: one_chunk(texts[name]) for name in texts.column_names}
        columns = [
            _column(found[f.name], f, old=old) if f.name in found else pa.nulls(len(lines), f.type) for f in POST_SCHEMA
        ]
        return pa.Table.from_arrays(columns, schema=POST_SCHEMA)


def _shape(names: Sequence[str], **lists: Any) -> str:
    kinds = {n: "BOOLEAN" if pa.types.is_boolean(POST_SCHEMA.field(n).type) else "VARCHAR" for n in names}
    return msgspec.json.encode(kinds | lists).decode()


_SHAPE_2021: Final = _shape(SITE_COLUMNS)
_SHAPE_2017: Final = _shape(
    COLUMNS_2017,
    tags=[{"id": "BIGINT", "name": "VARCHAR", "category": "TINYINT"}],
    pools=["VARCHAR"],
    favs=["BIGINT"],
)


def _column(column: pa.Array, target: pa.Field, *, old: bool) -> pa.Array:
    is_time = pa.types.is_timestamp(target.type)
    none = EPOCH if is_time else NONE_IN_2017.get(target.name)
    if none is not None and (old or target.name in NEVER_EMPTY):
        column = pc.if_else(pc.equal(column, none), None, column)
    if is_time:
        # The last four characters are " UTC", or the line will not be written back the same.
        return pc.utf8_slice_codeunits(column, 0, -4).cast(pa.timestamp("us")).cast(target.type)
    return column.cast(target.type)


def _bounds(data: bytes) -> list[int]:
    """Offsets of the start of each line, and of the end of the last one."""
    return [0, *(np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE) + 1).tolist()]


def _lines(data: bytes, bounds: list[int]) -> pa.Array:
    lines = pa.StringArray.from_buffers(len(bounds) - 1, pa.py_buffer(np.asarray(bounds, np.int32)), pa.py_buffer(data))
    lines.validate(full=True)  # raises if it is not UTF-8
    return lines


def _placed(table: pa.Table) -> np.ndarray:
    """Rows that have an id and a time."""
    with_id = pc.greater(one_chunk(table["id"]), 0).fill_null(fill_value=False)
    return np.asarray(pc.and_(with_id, one_chunk(table["created_at"]).is_valid()).to_numpy(zero_copy_only=False))


def _same_lines(data: bytes, bounds: list[int], written: bytes) -> np.ndarray:
    count = len(bounds) - 1
    if data == written:
        return np.ones(count, bool)
    theirs = written.split(b"\n")
    return np.fromiter((data[bounds[i] : bounds[i + 1] - 1] == theirs[i] for i in range(count)), bool, count)


def _with_strings(table: pa.Table) -> pa.Table:
    made = tag_columns(one_chunk(table["tags"]))
    return pa.Table.from_arrays([made.get(n, table[n]) for n in POST_SCHEMA.names], schema=POST_SCHEMA)


def _one_by_one(lines: Sequence[bytes], *, name: str, first_line: int) -> Typed:
    rows: list[PostRow] = []
    rejected: list[RejectedRow] = []
    kept: list[bytes] = []
    for line, record in json_objects(lines, name=name, first_line=first_line):
        row = parse_record(record)
        if isinstance(row, RejectedRow):
            rejected.append(row)
        else:
            rows.append(row)
            kept.append(line if isinstance(record["id"], str) and _is_unambiguous(line) else b"")
    return Typed(_with_raw(rows, kept), tuple(rejected), len(rows) + len(rejected))


def _is_unambiguous(line: bytes) -> bool:
    """Whether every reader understands a line alike: with a key that is said twice, some take the first value."""
    try:
        parse(line)
    except ValueError:
        return False
    return True


def json_objects(lines: Iterable[bytes], *, name: str, first_line: int) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each line that is not blank, with the JSON object in it.

    Raises:
        SourceUnusable: a line is not a JSON object.
    """
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for number, line in enumerate(lines, start=first_line):
        if not line.strip():
            continue
        try:
            yield line, decode(line)
        except UNREADABLE:
            raise SourceUnusable(fault_of(line, name=name, number=number)) from None


def _with_raw(rows: Sequence[PostRow], lines: Sequence[bytes]) -> pa.Table:
    """Rows that keep their line in `raw` where it would be written differently."""
    table = pa.Table.from_pylist(list(rows), schema=POST_SCHEMA)
    if not any(lines):
        return table
    new, old = (encode(table).split(b"\n") for encode in (encode_2021, encode_2017))
    raw = [
        line.decode() if line and line != (old if row.get("tags") is not None else new)[i] else None
        for i, (line, row) in enumerate(zip(lines, rows, strict=True))
    ]
    return table.set_column(table.schema.get_field_index("raw"), POST_SCHEMA.field("raw"), pa.array(raw, pa.string()))


def _together(*parts: Typed) -> Typed:
    return Typed(
        pa.concat_tables([part.table for part in parts]),
        tuple(row for part in parts for row in part.rejected),
        sum(part.read for part in parts),
    )

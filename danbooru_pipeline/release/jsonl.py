"""The dialect of Danbooru2021: JSON lines as BigQuery extracts them. Readers of the original releases expect it.

Integers are strings, nulls are left out, timestamps read ``2021-12-31 23:03:35.373 UTC``, and ``<``, ``>`` and ``&``
are escaped. Columns that only some records have (`extra`) come last, in the same style.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.atomic import atomic_file
from danbooru_pipeline.posts import POST_SCHEMA, parse_timestamp
from danbooru_pipeline.release.progress import Progress, silent
from danbooru_pipeline.release.tables import read_batches, row_count

#: Most rows of one file; 2021's held about as many (1 GB each).
ROWS_PER_FILE = 500_000

# Rows of one step: few enough that what Python makes of them stays in the processor's cache (measured).
_BATCH_ROWS = 4_096

_COLUMNS = [field for field in POST_SCHEMA if field.name != "extra"]
_Line: type[msgspec.Struct] = msgspec.defstruct(
    "_Line",
    [(field.name, str | bool | None, None) for field in _COLUMNS],
    omit_defaults=True,
    gc=False,
)
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A metadata file as it was written."""

    path: Path
    rows: int
    size: int


def format_timestamp(instant: datetime) -> str:
    """An instant as BigQuery writes it: UTC, the fraction without trailing zeros."""
    text = instant.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
    return (text.rstrip("0") if "." in text else text) + " UTC"


def to_2021_dialect(record: Mapping[str, Any]) -> dict[str, Any]:
    """One JSON record, nested ones included, with its values as BigQuery extracts them."""
    return {name: _value(name, value) for name, value in record.items() if value is not None}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return _text(name, value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, Mapping):
        return to_2021_dialect(value)
    if isinstance(value, list):
        return [_value("", item) for item in value]
    return value


def _text(name: str, value: str) -> str:
    if not name.endswith("_at"):
        return value
    try:
        return format_timestamp(parse_timestamp(value))
    except (ValueError, OverflowError):
        return value


def encode_record(record: Mapping[str, Any]) -> bytes:
    """One record in the dialect, as a line that ends in a newline."""
    return _escape(_encoder.encode(to_2021_dialect(record))) + b"\n"


def _escape(data: bytes) -> bytes:
    # In JSON these three occur inside strings only, so the bytes can be replaced without parsing.
    return data.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")


def write_posts_jsonl(
    parquet: Path,
    path_of: Callable[[int], Path],
    *,
    rows_per_file: int = ROWS_PER_FILE,
    progress: Progress = silent,
) -> list[WrittenFile]:
    """Write posts as files of at most `rows_per_file` lines.

    Args:
        parquet: the posts, sorted by id.
        path_of: shard number -> path of the file.
        rows_per_file: most lines of one file.
        progress: told about rows.
    """
    total = row_count(parquet)
    written: list[WrittenFile] = []
    batches = _cut(read_batches(parquet, rows=_BATCH_ROWS), rows_per_file)
    for shard in range(max(1, -(-total // rows_per_file))):
        path = path_of(shard)
        rows = size = 0
        wanted = min(rows_per_file, total - shard * rows_per_file)
        with atomic_file(path) as file:
            while rows < wanted:
                table = next(batches)
                size += file.write(encode_posts(table))
                rows += table.num_rows
                progress("metadata", shard * rows_per_file + rows, total)
        written.append(WrittenFile(path, rows, size))
    return written


def _cut(tables: Iterator[pa.Table], rows_per_file: int) -> Iterator[pa.Table]:
    """The same tables, cut so that none goes over the end of a file."""
    left = rows_per_file
    for table in tables:
        rest = table
        while rest.num_rows:
            piece = rest.slice(0, left)
            yield piece
            rest = rest.slice(piece.num_rows)
            left = left - piece.num_rows or rows_per_file


def encode_posts(table: pa.Table) -> bytes:
    """Rows of `POST_SCHEMA` as lines."""
    columns = [_column(table[field.name], field.type).to_pylist() for field in _COLUMNS]
    lines = [_Line(*row) for row in zip(*columns, strict=True)]
    extra = table["extra"]
    if extra.null_count == len(extra):
        return _escape(_encoder.encode_lines(lines))
    return _escape(b"".join(map(_with_extra, lines, extra.to_pylist())))


def _column(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_integer(kind):
        return column.cast(pa.string())
    if pa.types.is_timestamp(kind):
        # Arrow writes all six digits: "… 23:03:35.373000". Without a time zone it asks for no time zone database.
        text = column.cast(pa.timestamp("us")).cast(pa.string())
        return pc.binary_join_element_wise(pc.utf8_rtrim(pc.utf8_rtrim(text, "0"), "."), "UTC", " ")
    return column


def _with_extra(line: msgspec.Struct, extra: str | None) -> bytes:
    data = _encoder.encode(line)
    more = to_2021_dialect(msgspec.json.decode(extra)) if extra else None
    if more:
        data = data[:-1] + b"," + _encoder.encode(more)[1:]
    return data + b"\n"

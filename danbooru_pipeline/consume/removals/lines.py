"""Tables of an export without some posts: JSON lines, CSV, lists of checksums, Parquet.

Each function returns how many rows it left out, and writes only if `target` is given.
"""

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.consume.removals.gone import Gone
from danbooru_pipeline.io.atomic import atomic_file


def jsonl_without(path: Path, gone: Gone, target: Path | None) -> int:
    """JSON lines without those about these posts. A line that is no object stays."""
    return _lines_without(path, target, lambda line: _is_about(line, gone))


def _is_about(line: bytes, gone: Gone) -> bool:
    try:
        row = line_of_row(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and gone.of_row(row)


def line_of_row(line: bytes) -> Any:
    """The value of a line; the first one of a file may begin with a byte order mark.

    Raises:
        ValueError: it is not JSON.
    """
    return msgspec.json.decode(line.removeprefix(codecs.BOM_UTF8))


def sums_without(path: Path, gone: Gone, target: Path | None) -> int:
    """Lines of ``MD5  PATH``, or of anything that ends with a path, without those of these posts' files."""
    return _lines_without(
        path, target, lambda line: gone.of_name(line.decode(errors="replace").rstrip().split(" ")[-1])
    )


def _lines_without(path: Path, target: Path | None, is_gone: Callable[[bytes], bool]) -> int:
    with path.open("rb") as lines:
        count = sum(map(is_gone, lines))
    if count and target is not None:
        with path.open("rb") as lines, atomic_file(target) as file:
            file.writelines(line for line in lines if not is_gone(line))
    return count


def csv_without(path: Path, gone: Gone, target: Path | None) -> int:
    """A table with a header, without the rows of these posts."""
    kept = io.StringIO(newline="")
    count = 0
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows, None)
        writer = csv.writer(kept)
        if header is None:
            return 0
        writer.writerow(header)
        for row in rows:
            if gone.of_row(dict(zip(header, row, strict=False))):
                count += 1
            else:
                writer.writerow(row)
    if count and target is not None:
        with atomic_file(target) as file:
            file.write(kept.getvalue().encode())
    return count


def parquet_without(path: Path, gone: Gone, target: Path | None) -> int:
    """A table without the rows of these posts."""
    with pq.ParquetFile(path) as file:
        count = sum(len(table) - len(kept) for table, kept in _tables(file, gone))
        if count and target is not None:
            with atomic_file(target) as out, pq.ParquetWriter(out, file.schema_arrow, compression="zstd") as writer:
                for _, kept in _tables(file, gone):
                    writer.write_table(kept)
    return count


def _tables(file: Any, gone: Gone) -> Iterator[tuple[pa.Table, pa.Table]]:
    names = [name for name in file.schema_arrow.names if name in {"id", "post_id", "path", "file_name", "crop"}]
    for batch in file.iter_batches():
        table = pa.Table.from_batches([batch])
        mask = [not gone.of_row(row) for row in table.select(names).to_pylist()] if names else [True] * len(table)
        yield table, table.filter(pa.array(mask, pa.bool_()))

"""Posts as JSON lines, in files of at most half a million rows (`posts.dialect_2021`, `posts.dialect_2017`)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from danbooru_pipeline.io.atomic import atomic_file
from danbooru_pipeline.io.parquet import read_batches, row_count
from danbooru_pipeline.posts import conform, encode_2021
from danbooru_pipeline.progress import Progress, silent

#: Most rows of one file; 2021's held about as many (1 GB each).
ROWS_PER_FILE = 500_000

# Rows of one step: few enough that what Python makes of them stays in the processor's cache (measured).
_BATCH_ROWS = 4_096


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A metadata file as it was written."""

    path: Path
    rows: int
    size: int


def write_posts_jsonl(
    parquet: Sequence[Path],
    path_of: Callable[[int], Path],
    *,
    encode: Callable[[pa.Table], bytes] = encode_2021,
    rows_per_file: int = ROWS_PER_FILE,
    progress: Progress = silent,
) -> list[WrittenFile]:
    """Write posts as files of at most `rows_per_file` lines.

    Args:
        parquet: files of the posts, sorted by id.
        path_of: shard number -> path of the file.
        encode: rows as lines of a dialect.
        rows_per_file: most lines of one file.
        progress: told about rows.
    """
    total = sum(map(row_count, parquet))
    written: list[WrittenFile] = []
    batches = _cut((table for path in parquet for table in read_batches(path, rows=_BATCH_ROWS)), rows_per_file)
    for shard in range(max(1, -(-total // rows_per_file))):
        path = path_of(shard)
        rows = size = 0
        wanted = min(rows_per_file, total - shard * rows_per_file)
        with atomic_file(path) as file:
            while rows < wanted:
                table = conform(next(batches))
                size += file.write(encode(table))
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

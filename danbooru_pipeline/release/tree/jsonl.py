"""Posts as JSON lines, in files of at most half a million rows (`posts.dialect_2021`, `posts.dialect_2017`)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from danbooru_pipeline.io.atomic import atomic_file
from danbooru_pipeline.io.parquet import read_batches, rechunk, row_count
from danbooru_pipeline.posts import conform, encode_2021
from danbooru_pipeline.progress import Progress, silent

#: Most rows of one file; 2021's held about as many (1 GB each).
ROWS_PER_FILE = 500_000

#: Rows that are encoded at a time: so few that what Python makes of them stays in the processor's cache (measured).
_BATCH_ROWS = 4_000


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A metadata file as it was written; `size` is in bytes."""

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
        path_of: number of a file -> its path.
        encode: rows -> lines of a dialect.
        rows_per_file: most lines of one file.
        progress: called with the number of rows.
    """
    total = sum(map(row_count, parquet))
    written: list[WrittenFile] = []
    tables = (table for path in parquet for table in read_batches(path, rows=_BATCH_ROWS))
    # Every file but the last is a whole number of batches.
    batches = rechunk(tables, math.gcd(_BATCH_ROWS, rows_per_file))
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

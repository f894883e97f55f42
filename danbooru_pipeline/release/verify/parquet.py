"""Tables of the release that is verified: which files they have, and their rows, read within limits."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from danbooru_pipeline.io import bounded_parquet
from danbooru_pipeline.io.untrusted import plain_names
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import SHARD

#: So few that what is made of them is still in the processor's cache, and memory is used again instead of asked for
#: (measured: half the time of four times as many).
ROWS = 16_384


def tables_in(run: Verification, folder: str) -> list[str]:
    """Sorted names of the tables that have files in a folder."""
    matches = map(SHARD.fullmatch, plain_names(run.folder, folder))
    return sorted({match[1] for match in matches if match})


def shards(run: Verification, folder: str, table: str) -> list[str] | None:
    """Paths of a table's files, in order; None when they are not complete."""
    matches = [match for name in plain_names(run.folder, folder) if (match := SHARD.fullmatch(name))]
    names = [match[0] for match in matches if match[1] == table]
    expected = [f"{table}-{number:05d}-of-{len(names):05d}.parquet" for number in range(len(names))]
    return [f"{folder}/{name}" for name in names] if names and names == expected else None


def readable_shards(run: Verification, folder: str, table: str) -> Sequence[str] | None:
    """The same, with a finding if they cannot be read: an altered file is never given to a reader of binary formats."""
    kind = Kind.MANIFEST_UNREADABLE if folder == "manifest" else Kind.PARQUET_UNREADABLE
    names = shards(run, folder, table)
    if names is None:
        run.add(kind, f"{folder}/{table}-*.parquet", "the files are not complete")
        return None
    wrong = [name for name in names if name in run.altered]
    for name in wrong:
        run.add(kind, name, "is altered or has other columns, and was not read")
    return None if wrong else names


def whole_table(run: Verification, folder: str, table: str) -> Sequence[str]:
    """The files of a table that another check has found complete and not altered; none otherwise."""
    names = shards(run, folder, table) or []
    return [] if any(name in run.altered for name in names) else names


def batches(
    run: Verification, name: str, *, columns: Sequence[str] | None = None, rows: int = ROWS
) -> Iterator[pa.Table]:
    """The rows of a file; see `io.bounded_parquet`, and `Verification.reading` for what it raises."""
    return bounded_parquet.read_untrusted(run.folder, name, columns=columns, rows=rows)


def announced_rows(run: Verification, name: str) -> int:
    """How many rows a file has by its footer. Raises as `batches`."""
    return bounded_parquet.announced_rows(run.folder, name)


def schema_of(run: Verification, name: str) -> pa.Schema:
    """The columns of a file. Raises as `batches`."""
    return bounded_parquet.schema_of(run.folder, name)

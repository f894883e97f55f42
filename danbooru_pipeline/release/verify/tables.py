"""Verification of derived tables: the rows of 512px images, and side tables as Parquet."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.io.parquet import Side, differences, read_batches
from danbooru_pipeline.layout import metadata_folder
from danbooru_pipeline.release.checksums import PX512
from danbooru_pipeline.release.tables.image_rows import METADATA
from danbooru_pipeline.release.tables.tag_counts import TABLE as TAG_COUNTS
from danbooru_pipeline.release.verify.checksums import READ_ERRORS, is_plain_file
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.manifest import shards
from danbooru_pipeline.release.verify.verification import Verification

_LINES = re.compile(r"([a-z][a-z_]*)\d{12}\.json")
_SHARD = re.compile(r"([a-z][a-z_]*)-\d{5}-of-\d{5}\.parquet")
#: Tables that other checks cover, or that have no JSON lines.
_NOT_SIDE_TABLES = frozenset({"posts", "duplicates", TAG_COUNTS})
_CHUNK = 2**20


def check_image_rows(run: Verification) -> None:
    """Check that ``512px/metadata.parquet`` has one row for every 512px image of the manifest, and no other rows."""
    manifest = shards(run.folder, "manifest", "files")
    if manifest is None or METADATA in run.altered or not is_plain_file(run.folder / METADATA):
        return  # another check reports that
    said = {
        Side.LEFT_ONLY: "has a row, but no 512px image in the manifest",
        Side.RIGHT_ONLY: "has a 512px image in the manifest, but no row",
        Side.TWICE: "occurs twice",
        Side.DIFFERS: "has another file or SHA-256 in the manifest",
    }
    try:
        for difference in differences(_listed_images(run.folder / METADATA), _held_images(manifest)):
            run.add(Kind.IMAGE_ROWS_DIFFER, METADATA, f"{difference.id} {said[difference.side]}")
    except READ_ERRORS as error:
        run.add(Kind.PARQUET_UNREADABLE, METADATA, f"cannot be read: {error}")


def _listed_images(path: Path) -> Iterator[pa.Table]:
    for table in read_batches(path, columns=["id", "file_name", "sha256"]):
        paths = pc.binary_join_element_wise(f"{PX512.name}/", table["file_name"], "")
        yield _image_keys(table["id"], paths, table["sha256"])


def _held_images(manifest: Sequence[Path]) -> Iterator[pa.Table]:
    for path in manifest:
        for table in read_batches(path, columns=["id", PX512.path, PX512.sha256]):
            held = table.filter(pc.is_valid(table[PX512.path]))
            yield _image_keys(held["id"], held[PX512.path], held[PX512.sha256])


def _image_keys(ids: pa.ChunkedArray, paths: pa.ChunkedArray, sums: pa.ChunkedArray) -> pa.Table:
    columns = [ids.cast(pa.int64()), paths.cast(pa.string()), sums.cast(pa.string())]
    return pa.Table.from_arrays(columns, ["id", "path", "sha256"])


def check_side_tables(run: Verification) -> None:
    """Check that each side table has as many rows in Parquet as it has JSON lines."""
    if run.release is None:
        return
    year = metadata_folder(run.release.year)
    lines = _count_lines(run.folder / year)
    files = (run.folder / "parquet").glob("*.parquet")
    names = (match[1] for path in files if (match := _SHARD.fullmatch(path.name)))
    for name in sorted({*lines, *names} - _NOT_SIDE_TABLES):
        rows = _count_rows(run, name)
        if rows is not None and rows != lines[name]:
            said = f"{name} has {rows:,} rows here, but {lines[name]:,} lines in {year}"
            run.add(Kind.TABLES_DIFFER, f"parquet/{name}-*.parquet", said)


def _count_lines(year: Path) -> Counter[str]:
    """Table -> number of lines in all of its files."""
    lines: Counter[str] = Counter()
    for path in year.glob("*.json"):
        match = _LINES.fullmatch(path.name)
        if match and is_plain_file(path):
            with path.open("rb") as data:
                lines[match[1]] += sum(chunk.count(b"\n") for chunk in iter(lambda: data.read(_CHUNK), b""))
    return lines


def _count_rows(run: Verification, table: str) -> int | None:
    """Rows of a table's shards; 0 if it has none, None if they cannot be read, which is reported."""
    if not any((run.folder / "parquet").glob(f"{table}-*.parquet")):
        return 0
    files = shards(run.folder, "parquet", table)
    if files is None:
        run.add(Kind.PARQUET_UNREADABLE, f"parquet/{table}-*.parquet", "the files are not complete")
        return None
    rows = 0
    for path in files:
        name = run.name_of(path)
        if name in run.altered:
            return None
        try:
            rows += pq.ParquetFile(path).metadata.num_rows
        except READ_ERRORS as error:
            run.add(Kind.PARQUET_UNREADABLE, name, f"cannot be read: {error}")
            return None
    return rows

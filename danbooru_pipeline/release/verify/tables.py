"""Verification of the tables that are made of others: rows of 512px images, and side tables as Parquet."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.io.parquet import Side, differences, read_batches
from danbooru_pipeline.release.checksums import PX512
from danbooru_pipeline.release.release_json import Release
from danbooru_pipeline.release.tables.image_rows import METADATA
from danbooru_pipeline.release.tables.tag_counts import TABLE as TAG_COUNTS
from danbooru_pipeline.release.verify.checksums import READ_ERRORS, is_plain_file
from danbooru_pipeline.release.verify.findings import Findings, Kind
from danbooru_pipeline.release.verify.manifest import shards

_LINES = re.compile(r"([a-z][a-z_]*)\d{12}\.json")
_SHARD = re.compile(r"([a-z][a-z_]*)-\d{5}-of-\d{5}\.parquet")
#: Tables that others look after, or that have no lines.
_NOT_SIDE_TABLES = frozenset({"posts", TAG_COUNTS})
_CHUNK = 2**20


def check_image_rows(folder: Path, found: Findings, altered: Collection[str]) -> None:
    """Check that ``512px/metadata.parquet`` has a row for every 512px image of the manifest, and no other."""
    manifest = shards(folder, "manifest", "files")
    if manifest is None or METADATA in altered or not is_plain_file(folder / METADATA):
        return  # which is a finding already
    said = {
        Side.LEFT_ONLY: "has a row, and no 512px image in the manifest",
        Side.RIGHT_ONLY: "has a 512px image in the manifest, and no row",
        Side.TWICE: "is there twice",
        Side.DIFFERS: "has another file or SHA-256 in the manifest",
    }
    try:
        for difference in differences(_listed_images(folder / METADATA), _held_images(manifest)):
            found.add(Kind.IMAGE_ROWS_DIFFER, METADATA, f"{difference.id} {said[difference.side]}")
    except READ_ERRORS as error:
        found.add(Kind.PARQUET_UNREADABLE, METADATA, f"cannot be read: {error}")


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


def check_side_tables(folder: Path, release: Release | None, found: Findings, altered: Collection[str]) -> None:
    """Check that each side table has as many rows in Parquet as it has lines."""
    if release is None:
        return
    lines = _count_lines(folder / "metadata" / str(release.year))
    names = (match[1] for path in (folder / "parquet").glob("*.parquet") if (match := _SHARD.fullmatch(path.name)))
    for name in sorted({*lines, *names} - _NOT_SIDE_TABLES):
        rows = _count_rows(folder, name, found, altered)
        if rows is not None and rows != lines[name]:
            said = f"{name} has {rows:,} rows here, and {lines[name]:,} lines in metadata/{release.year}"
            found.add(Kind.TABLES_DIFFER, f"parquet/{name}-*.parquet", said)


def _count_lines(year: Path) -> Counter[str]:
    """Lines by table, of all of its files together."""
    lines: Counter[str] = Counter()
    for path in year.glob("*.json"):
        match = _LINES.fullmatch(path.name)
        if match and is_plain_file(path):
            with path.open("rb") as data:
                lines[match[1]] += sum(chunk.count(b"\n") for chunk in iter(lambda: data.read(_CHUNK), b""))
    return lines


def _count_rows(folder: Path, table: str, found: Findings, altered: Collection[str]) -> int | None:
    """Rows of a table's shards; 0 without any, None when that is a finding of its own."""
    if not any((folder / "parquet").glob(f"{table}-*.parquet")):
        return 0
    files = shards(folder, "parquet", table)
    if files is None:
        found.add(Kind.PARQUET_UNREADABLE, f"parquet/{table}-*.parquet", "the files are not all there")
        return None
    rows = 0
    for path in files:
        name = path.relative_to(folder).as_posix()
        if name in altered:
            return None
        try:
            rows += pq.ParquetFile(path).metadata.num_rows
        except READ_ERRORS as error:
            found.add(Kind.PARQUET_UNREADABLE, name, f"cannot be read: {error}")
            return None
    return rows

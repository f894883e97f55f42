"""Writes ``parquet/duplicates-….parquet``: the same posts and manifest give the same bytes."""

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import write_shards
from danbooru_pipeline.release.release_json import DuplicateCounts
from danbooru_pipeline.release.tables.duplicates.find import find_duplicates
from danbooru_pipeline.release.tables.duplicates.pictures import Tables
from danbooru_pipeline.release.tables.duplicates.rules import DUPLICATES_SCHEMA, Kind
from danbooru_pipeline.release.tables.image_rows import release_shards
from danbooru_pipeline.release_paths import DUPLICATES, parquet_path

TABLE: Final = DUPLICATES


def write_duplicates(folder: Path) -> DuplicateCounts:
    """Write the table of a tree whose posts and manifest are written. Returns how many pairs there are."""
    table = find_duplicates(Tables.of(*(release_shards(folder, stem) for stem in ("parquet/posts", "manifest/files"))))
    write_shards(
        iter([table]),
        table.num_rows,
        path_of=lambda n, of: folder / parquet_path(TABLE, n, of=of),
        schema=DUPLICATES_SCHEMA,
        dictionary=("kind",),
    )
    return count_duplicates(table)


def count_duplicates(table: pa.Table) -> DuplicateCounts:
    """How many pairs of each kind a table has."""
    counts = {kind.value: pc.sum(pc.equal(table["kind"], kind.value)).as_py() or 0 for kind in Kind}
    return DuplicateCounts(**counts, unlinked=pc.sum(table["unlinked"]).as_py() or 0)

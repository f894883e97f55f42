"""One row per 512px image with the tags of its post, for readers that know nothing about the manifest.

``512px/metadata.parquet`` makes the folder an ImageFolder of Hugging Face; without it the buckets would become labels.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.bounded_parquet import untrusted_files
from danbooru_pipeline.io.parquet import no_rows, read_batches, rechunk, write_parquet
from danbooru_pipeline.posts.json_text import lists_of
from danbooru_pipeline.release.checksums import PX512
from danbooru_pipeline.release_paths import earlier_manifest_path

METADATA = "512px/metadata.parquet"
_ROWS = 65_536
_TAGS = ("general", "artist", "copyright", "character", "meta")

ROWS_SCHEMA = pa.schema(
    [
        ("file_name", pa.string()),
        ("id", pa.int64()),
        ("rating", pa.string()),
        ("score", pa.int64()),
        ("is_deleted", pa.bool_()),
        ("tags", pa.list_(pa.string())),
        *((f"tags_{name}", pa.list_(pa.string())) for name in _TAGS),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
    ]
)


#: Columns of posts and of the manifest that the rows are made from.
POSTS_COLUMNS = ("id", "rating", "score", "is_deleted", "tag_string", *(f"tag_string_{name}" for name in _TAGS))
FILES_COLUMNS = ("id", PX512.path, PX512.sha256, "width", "height")


def image_rows(posts: list[Path], manifest: list[Path]) -> Iterator[pa.Table]:
    """The rows, sorted by id. `width` and `height` are the original's, and tell which part of the square is image."""
    return joined_rows(
        (table for path in posts for table in read_batches(path, columns=POSTS_COLUMNS)),
        (table for path in manifest for table in read_batches(path, columns=FILES_COLUMNS)),
    )


def joined_rows(posts: Iterable[pa.Table], manifest: Iterable[pa.Table], *, rows: int = _ROWS) -> Iterator[pa.Table]:
    """The same, some at a time, from tables of `POSTS_COLUMNS` and `FILES_COLUMNS` whose ids are equal and ascend."""
    for post, file in zip(rechunk(posts, rows), rechunk(manifest, rows), strict=True):
        held = pc.is_valid(file[PX512.path])
        yield _rows(post.filter(held), file.filter(held))


def _rows(posts: pa.Table, files: pa.Table) -> pa.Table:
    values = {
        "file_name": pc.utf8_slice_codeunits(files[PX512.path], len(f"{PX512.name}/")),
        "id": posts["id"],
        "rating": posts["rating"],
        "score": posts["score"],
        "is_deleted": posts["is_deleted"],
        "tags": _split(posts["tag_string"]),
        **{f"tags_{name}": _split(posts[f"tag_string_{name}"]) for name in _TAGS},
        "width": files["width"],
        "height": files["height"],
        "sha256": files[PX512.sha256],
    }
    return pa.Table.from_arrays([values[f.name].cast(f.type) for f in ROWS_SCHEMA], schema=ROWS_SCHEMA)


def _split(column: pa.ChunkedArray) -> pa.Array:
    """Tag strings as lists; a string without tags is an empty list, not one empty tag."""
    text = pc.fill_null(column.combine_chunks(), "")
    lists = pc.split_pattern(text, " ")
    empty, words = pc.equal(text, ""), lists.flatten()
    there = pc.not_equal(words, "")
    if len(words) - (pc.sum(there).as_py() or 0) != (pc.sum(empty).as_py() or 0):  # spaces side by side, or at an end
        return pc.if_else(empty, pa.scalar([], pa.list_(pa.string())), lists)
    return lists_of(pc.if_else(empty, 0, pc.list_value_length(lists)), words.filter(there))


def write_image_rows(folder: Path) -> int:
    """Write ``512px/metadata.parquet`` of a tree whose tables are written. Returns the number of rows."""
    rows = 0

    def counted() -> Iterator[pa.Table]:
        nonlocal rows
        for table in image_rows(release_shards(folder, "parquet/posts"), release_shards(folder, "manifest/files")):
            rows += table.num_rows
            yield table

    chunks = rechunk(counted(), _ROWS)
    write_parquet(folder / METADATA, _or_empty(chunks), schema=ROWS_SCHEMA, dictionary=("rating",))
    return rows


def _or_empty(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    first = next(tables, no_rows(ROWS_SCHEMA))
    yield first
    yield from tables


def release_shards(folder: Path, stem: str) -> list[Path]:
    """The files of a table of a release, in order; `stem` is like ``parquet/posts``.

    Raises:
        ReleaseError: one of them is a link or no file, or cannot be read.
    """
    return untrusted_files(folder, f"{stem}-*.parquet") if any(folder.glob(f"{stem}-*.parquet")) else []


def carried_manifest(folder: Path, year: int) -> list[Path]:
    """The files of the manifest of an earlier year that a release carries; until version 0.2 below ``manifest/``."""
    stem = earlier_manifest_path(year, "files")
    return release_shards(folder, stem) or release_shards(folder, f"manifest/{year}/files")


def carried_manifests(folder: Path) -> dict[int, list[Path]]:
    """Year -> files of each manifest of an earlier year that a release carries, oldest first."""
    named = {path.name for top in ("earlier", "manifest") for path in folder.glob(f"{top}/[0-9]*") if path.is_dir()}
    years = sorted(int(name) for name in named if name.isdigit())
    return {year: shards for year in years if (shards := carried_manifest(folder, year))}

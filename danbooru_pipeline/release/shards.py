"""WebDataset shards: the 512px images of a bucket and what is known of them, in one tar, with its members' offsets.

The same images and rows give the same bytes. ``wds-index/512px-0000.json`` says where each member begins, so that one
image can be read from a shard by range; the shard itself is read from its beginning by everybody else.
"""

import tarfile
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from danbooru_pipeline.atomic import atomic_file, write_atomic
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.release.image_rows import ROWS_SCHEMA, image_rows, release_shards
from danbooru_pipeline.release.papers import PX512, bucket_number
from danbooru_pipeline.release.regroup import Regrouper

SHARDS, INDEX = "wds", "wds-index"


def write_webdataset(release: Path, target: Path, *, mtime: int) -> int:
    """Write one shard a bucket below `target`, from a release or a tree that is to be one. Returns how many there are.

    Args:
        release: has tables and 512px images.
        target: gets ``wds/`` and ``wds-index/``.
        mtime: time of all members, in seconds.
    """
    shards = 0
    with Regrouper(ROWS_SCHEMA, key=bucket_number) as by_bucket:
        for table in image_rows(release_shards(release, "parquet/posts"), release_shards(release, "manifest/files")):
            by_bucket.add(table)
        for number, table in by_bucket.groups():
            _write_shard(release, target, BUCKETS[number], table.to_pylist(), mtime=mtime)
            shards += 1
    return shards


def _write_shard(release: Path, target: Path, bucket: str, rows: Iterable[dict[str, Any]], *, mtime: int) -> None:
    offsets: dict[str, dict[str, Any]] = {}
    with (
        atomic_file(target / SHARDS / f"512px-{bucket}.tar") as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, data, sha256 in _members(release, rows):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), mtime, 0o644
            tar.addfile(info, BytesIO(data))
            # Members begin with one header block, since a name of ours never needs a second.
            offsets[name] = {"offset": tar.offset - len(data) - -len(data) % 512, "size": len(data), "sha256": sha256}
    index = {"shard": f"{SHARDS}/512px-{bucket}.tar", "members": offsets}
    write_atomic(target / INDEX / f"512px-{bucket}.json", msgspec.json.encode(index) + b"\n")


def _members(release: Path, rows: Iterable[dict[str, Any]]) -> Iterator[tuple[str, bytes, str | None]]:
    for row in rows:
        file_name, sha256 = row.pop("file_name"), row.pop("sha256")
        yield f"{row['id']}.jpg", (release / PX512.name / file_name).read_bytes(), sha256
        yield f"{row['id']}.json", msgspec.json.encode(row), None

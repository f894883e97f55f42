"""WebDataset shards: one tar per bucket with its 512px images and what is known about them, and an index of offsets.

The same images and rows give the same bytes. ``wds-index/512px-0000.json`` has the offset of each member, so a single
image can be read by a range request; all other readers read a shard from its start.
"""

import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from danbooru_pipeline.io.atomic import atomic_file, write_atomic
from danbooru_pipeline.io.external_sort import ExternalGroupBy
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.release.checksums import PX512, by_bucket
from danbooru_pipeline.release.tables.image_rows import ROWS_SCHEMA, image_rows, release_shards

SHARDS, INDEX = "wds", "wds-index"


@dataclass(frozen=True, slots=True)
class ShardImage:
    """An image of a shard and what is known about it. `name` is ``ID.EXT``."""

    name: str
    path: Path
    sha256: str
    about: dict[str, Any]


def write_webdataset(release: Path, target: Path, *, mtime: int) -> int:
    """Write one shard per bucket below `target`, from a release or a tree that becomes one. Returns how many.

    Args:
        release: has tables and 512px images.
        target: gets ``wds/`` and ``wds-index/``.
        mtime: time of all members, in seconds.
    """
    shards = 0
    with ExternalGroupBy(ROWS_SCHEMA, key=by_bucket) as rows:
        for table in image_rows(release_shards(release, "parquet/posts"), release_shards(release, "manifest/files")):
            rows.add(table)
        for number, table in rows.groups():
            members = (_member(release, row) for row in table.to_pylist())
            write_shard(target, f"{PX512.name}-{BUCKETS[number]}", members, mtime=mtime)
            shards += 1
    return shards


def _member(release: Path, row: dict[str, Any]) -> ShardImage:
    about = {name: value for name, value in row.items() if name not in {"file_name", "sha256"}}
    return ShardImage(f"{row['id']}.jpg", release / PX512.name / row["file_name"], row["sha256"], about)


def write_shard(target: Path, name: str, members: Iterable[ShardImage], *, mtime: int) -> None:
    """Write one shard and its index."""
    offsets: dict[str, dict[str, Any]] = {}
    path = f"{SHARDS}/{name}.tar"
    with (
        atomic_file(target / path) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for member in members:
            data = member.path.read_bytes()
            offset = _add(tar, member.name, data, mtime=mtime)
            offsets[member.name] = {"offset": offset, "size": len(data), "sha256": member.sha256}
            stem = member.name.partition(".")[0]
            _add(tar, f"{stem}.json", msgspec.json.encode(member.about), mtime=mtime)
    index = {"shard": path, "members": offsets}
    write_atomic(target / INDEX / f"{name}.json", msgspec.json.encode(index) + b"\n")


def _add(tar: tarfile.TarFile, name: str, data: bytes, *, mtime: int) -> int:
    """Add a member. Returns the offset of its data."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), mtime, 0o644
    tar.addfile(info, BytesIO(data))
    return int(tar.offset) - len(data) - -len(data) % 512

"""WebDataset shards: one tar per bucket with its 512px images and what is known about them, and an index of offsets.

The same images and rows give the same bytes. ``wds-index/512px-0000.json`` has the offset of each member, so a single
image can be read by a range request, as hfutils does; all other readers read a shard from its start.
"""

import hashlib
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
from danbooru_pipeline.release_paths import WEBDATASET, WEBDATASET_INDEX


@dataclass(frozen=True, slots=True)
class ShardImage:
    """An image of a shard and what is known about it. `name` is ``ID.EXT``; `about` becomes ``ID.json``."""

    name: str
    path: Path
    about: dict[str, Any] | None = None


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
    return ShardImage(f"{row['id']}.jpg", release / PX512.name / row["file_name"], about)


def write_shard(target: Path, name: str, members: Iterable[ShardImage], *, mtime: int) -> None:
    """Write one shard and its index."""
    path = f"{WEBDATASET}/{name}.tar"
    files = write_tar(target / path, members, mtime=mtime)
    write_atomic(
        target / WEBDATASET_INDEX / f"{name}.json", msgspec.json.encode(index_of(target / path, files)) + b"\n"
    )


def write_tar(path: Path, members: Iterable[ShardImage], *, mtime: int) -> dict[str, dict[str, Any]]:
    """Write images, each with what is known about it, as one tar. Returns name -> offset, size and SHA-256 of each."""
    files: dict[str, dict[str, Any]] = {}
    with atomic_file(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member in members:
            files[member.name] = _add(tar, member.name, member.path.read_bytes(), mtime=mtime)
            if member.about is not None:
                name = f"{member.name.partition('.')[0]}.json"
                files[name] = _add(tar, name, msgspec.json.encode(member.about), mtime=mtime)
    return files


def index_of(tar: Path, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The index of a tar, with the keys that hfutils and cheesechaser read: offsets, and the tar's size and hashes."""
    size = tar.stat().st_size
    blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)  # as git names a file, so a hub does
    whole = hashlib.sha256()
    with tar.open("rb") as file:
        while chunk := file.read(2**20):
            blob.update(chunk)
            whole.update(chunk)
    return {"filesize": size, "hash": blob.hexdigest(), "hash_lfs": whole.hexdigest(), "files": files}


def _add(tar: tarfile.TarFile, name: str, data: bytes, *, mtime: int) -> dict[str, Any]:
    """Add a member. Returns where its data is."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), mtime, 0o644
    tar.addfile(info, BytesIO(data))
    offset = int(tar.offset) - len(data) - -len(data) % 512
    return {"offset": offset, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

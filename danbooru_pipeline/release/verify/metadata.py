"""Verification of the metadata: the posts in their three forms have the same ids, and the archive holds the files."""

import functools
import lzma
import os
import re
import tarfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec
import pyarrow as pa

from danbooru_pipeline.io.parquet import BATCH_ROWS, Side, differences, read_batches
from danbooru_pipeline.release.checksums import ARCHIVE
from danbooru_pipeline.release.manifest.write import manifest_keys, post_keys
from danbooru_pipeline.release.release_json import Release
from danbooru_pipeline.release.verify.checksums import READ_ERRORS, is_plain_file
from danbooru_pipeline.release.verify.findings import Findings, Kind
from danbooru_pipeline.release.verify.manifest import readable_shards, shards

_LONGEST_LINE = 64 * 2**20
_CHUNK = 2**20
_POSTS = re.compile(r"(?P<table>posts|\d{4})\d{12}\.json")


class _Line(msgspec.Struct, gc=False):
    """What is read of a post's line. The dialect writes ids as strings."""

    id: int


_decoder = msgspec.json.Decoder(_Line, strict=False)


def check_posts(folder: Path, found: Findings, altered: Collection[str]) -> None:
    """Check that posts and manifest have the same ids, MD5s and ratings."""
    posts = readable_shards(folder, "parquet", "posts", altered=altered, found=found)
    manifest = shards(folder, "manifest", "files")
    if posts is None or manifest is None:
        return
    said = {
        Side.LEFT_ONLY: "is in the posts, and not in the manifest",
        Side.RIGHT_ONLY: "is in the manifest, and not in the posts",
        Side.TWICE: "is there twice",
        Side.DIFFERS: "has another MD5 or rating in the manifest than in the posts",
    }
    try:
        left = (table for path in posts for table in post_keys(path))
        right = manifest_keys(table for path in manifest for table in read_batches(path))
        for difference in differences(left, right):
            found.add(Kind.POSTS_DIFFER, str(difference.id), said[difference.side])
    except READ_ERRORS as error:
        found.add(Kind.PARQUET_UNREADABLE, "parquet/posts-*.parquet", f"cannot be read: {error}")


def check_jsonl(folder: Path, release: Release | None, found: Findings, *, manifest: bool) -> None:
    """Check the JSON lines of the release's year: whole, and (if the manifest can be read) with its ids."""
    year = folder / "metadata" / (str(release.year) if release else _newest(folder / "metadata"))
    files = sorted(year.glob("*.json"))
    for file in files:
        if is_plain_file(file) and not _ends_whole(file):
            name = file.relative_to(folder).as_posix()
            found.add(Kind.METADATA_TRUNCATED, name, "its last line is cut off")
    tables: dict[str, list[Path]] = {"posts": []}
    for file in files:
        if (match := _POSTS.fullmatch(file.name)) and is_plain_file(file):
            tables.setdefault(match["table"], []).append(file)
    for posts in tables.values():
        _check_ids(folder, posts, found, manifest=manifest)


def _check_ids(folder: Path, posts: Sequence[Path], found: Findings, *, manifest: bool) -> None:
    lines = _ids(folder, posts, found)
    if not manifest:
        for _ in lines:
            pass
        return
    said = {
        Side.LEFT_ONLY: "is in the JSON lines, and not in the manifest",
        Side.RIGHT_ONLY: "is in the manifest, and not in the JSON lines",
        Side.TWICE: "is there twice",
        Side.DIFFERS: "differs",
    }
    rows = (table for path in shards(folder, "manifest", "files") or [] for table in read_batches(path, columns=["id"]))
    for difference in differences(lines, (pa.table({"id": table["id"]}) for table in rows)):
        found.add(Kind.METADATA_DIFFERS, str(difference.id), said[difference.side])


def _newest(metadata: Path) -> str:
    years = [path.name for path in metadata.glob("[0-9][0-9][0-9][0-9]")]
    return max(years, default="0000")


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as data:
        size = data.seek(0, os.SEEK_END)
        data.seek(max(0, size - 1))
        return data.read(1) in {b"\n", b""}


def _ids(folder: Path, files: Sequence[Path], found: Findings) -> Iterator[pa.Table]:
    """Ids of the posts, in the order of their lines."""
    ids: list[int] = []
    for file in files:
        name = file.relative_to(folder).as_posix()
        with file.open("rb") as data:
            for number, line in enumerate(iter(functools.partial(data.readline, _LONGEST_LINE), b""), start=1):
                try:
                    ids.append(_decoder.decode(line).id)
                except (ValueError, RecursionError) as error:
                    found.add(Kind.METADATA_UNREADABLE, name, f"line {number}: {error}")
                if len(ids) == BATCH_ROWS:
                    yield _id_table(ids)
                    ids = []
    yield _id_table(ids)


def _id_table(ids: Sequence[int]) -> pa.Table:
    # An id that is no int64 is certainly not in the manifest either; 0 is never a post's.
    return pa.table({"id": pa.array([id_ if abs(id_) < 2**63 else 0 for id_ in ids], pa.int64())})


def check_archive(folder: Path, found: Findings) -> None:
    """Check that the archive can be read to its end, and holds the files of ``metadata/`` and nothing else."""
    left = {path.relative_to(folder).as_posix() for path in (folder / "metadata").rglob("*") if is_plain_file(path)}
    try:
        with lzma.open(folder / ARCHIVE) as data, tarfile.open(fileobj=data, mode="r|", bufsize=_CHUNK) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                if content is None or member.name not in left:
                    found.add(Kind.ARCHIVE_DIFFERS, ARCHIVE, f"holds {member.name}, which is not in metadata/")
                    continue
                left.discard(member.name)
                if not _same(content, folder / member.name):
                    found.add(Kind.ARCHIVE_DIFFERS, ARCHIVE, f"holds another {member.name}")
            while data.read(_CHUNK):
                pass
    except READ_ERRORS as error:
        found.add(Kind.ARCHIVE_UNREADABLE, ARCHIVE, f"cannot be read: {error}")
        return
    for name in sorted(left):
        found.add(Kind.ARCHIVE_DIFFERS, ARCHIVE, f"does not hold {name}")


def _same(content: IO[bytes], path: Path) -> bool:
    with path.open("rb") as file:
        while True:
            ours, theirs = file.read(_CHUNK), content.read(_CHUNK)
            if ours != theirs:
                return False
            if not ours:
                return True

"""Verification of the metadata: all three forms of the posts have the same ids, and the archive has the same files."""

import functools
import lzma
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec
import pyarrow as pa

from danbooru_pipeline.io.parquet import BATCH_ROWS, Side, differences, read_batches
from danbooru_pipeline.release.checksums import ARCHIVE
from danbooru_pipeline.release.manifest.write import manifest_keys, post_keys
from danbooru_pipeline.release.verify.checksums import READ_ERRORS, is_plain_file
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.manifest import readable_shards, shards
from danbooru_pipeline.release.verify.verification import Verification

_LONGEST_LINE = 64 * 2**20
_CHUNK = 2**20
_POSTS = re.compile(r"(?P<table>posts|\d{4})\d{12}\.json")


class _Line(msgspec.Struct, gc=False):
    """What is read from the line of a post. The dialect writes ids as strings."""

    id: int


_decoder = msgspec.json.Decoder(_Line, strict=False)


def check_posts(run: Verification) -> None:
    """Check that posts and manifest have the same ids, MD5s and ratings."""
    posts = readable_shards(run, "parquet", "posts")
    manifest = shards(run.folder, "manifest", "files")
    if posts is None or manifest is None:
        return
    said = {
        Side.LEFT_ONLY: "is in the posts, but not in the manifest",
        Side.RIGHT_ONLY: "is in the manifest, but not in the posts",
        Side.TWICE: "occurs twice",
        Side.DIFFERS: "has another MD5 or rating in the manifest than in the posts",
    }
    try:
        left = (table for path in posts for table in post_keys(path))
        right = manifest_keys(table for path in manifest for table in read_batches(path))
        for difference in differences(left, right):
            run.add(Kind.POSTS_DIFFER, str(difference.id), said[difference.side])
    except READ_ERRORS as error:
        run.add(Kind.PARQUET_UNREADABLE, "parquet/posts-*.parquet", f"cannot be read: {error}")


def check_jsonl(run: Verification, *, manifest: bool) -> None:
    """Check the JSON lines of the release's year: not truncated, and (if the manifest is readable) with its ids."""
    metadata = run.folder / "metadata"
    files = sorted((metadata / (str(run.release.year) if run.release else _newest(metadata))).glob("*.json"))
    for file in files:
        if is_plain_file(file) and not _ends_whole(file):
            run.add(Kind.METADATA_TRUNCATED, run.name_of(file), "its last line is truncated")
    tables: dict[str, list[Path]] = {"posts": []}
    for file in files:
        if (match := _POSTS.fullmatch(file.name)) and is_plain_file(file):
            tables.setdefault(match["table"], []).append(file)
    for posts in tables.values():
        _check_ids(run, posts, manifest=manifest)


def _check_ids(run: Verification, posts: Sequence[Path], *, manifest: bool) -> None:
    lines = _ids(run, posts)
    if not manifest:
        for _ in lines:
            pass
        return
    said = {
        Side.LEFT_ONLY: "is in the JSON lines, but not in the manifest",
        Side.RIGHT_ONLY: "is in the manifest, but not in the JSON lines",
        Side.TWICE: "occurs twice",
        Side.DIFFERS: "differs",
    }
    files = shards(run.folder, "manifest", "files") or []
    rows = (table for path in files for table in read_batches(path, columns=["id"]))
    for difference in differences(lines, (pa.table({"id": table["id"]}) for table in rows)):
        run.add(Kind.METADATA_DIFFERS, str(difference.id), said[difference.side])


def _newest(metadata: Path) -> str:
    years = [path.name for path in metadata.glob("[0-9][0-9][0-9][0-9]")]
    return max(years, default="0000")


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as data:
        size = data.seek(0, os.SEEK_END)
        data.seek(max(0, size - 1))
        return data.read(1) in {b"\n", b""}


def _ids(run: Verification, files: Sequence[Path]) -> Iterator[pa.Table]:
    """Ids of the posts, in the order of their lines."""
    ids: list[int] = []
    for file in files:
        with file.open("rb") as data:
            for number, line in enumerate(iter(functools.partial(data.readline, _LONGEST_LINE), b""), start=1):
                try:
                    ids.append(_decoder.decode(line).id)
                except (ValueError, RecursionError) as error:
                    run.add(Kind.METADATA_UNREADABLE, run.name_of(file), f"line {number}: {error}")
                if len(ids) == BATCH_ROWS:
                    yield _id_table(ids)
                    ids = []
    yield _id_table(ids)


def _id_table(ids: Sequence[int]) -> pa.Table:
    # An id beyond int64 cannot be in the manifest either; 0 is never the id of a post.
    return pa.table({"id": pa.array([id_ if abs(id_) < 2**63 else 0 for id_ in ids], pa.int64())})


def check_archive(run: Verification) -> None:
    """Check that the archive can be read to its end and has exactly the files of ``metadata/``."""
    folder = run.folder
    left = {run.name_of(path) for path in (folder / "metadata").rglob("*") if is_plain_file(path)}
    try:
        with lzma.open(folder / ARCHIVE) as data, tarfile.open(fileobj=data, mode="r|", bufsize=_CHUNK) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                if content is None or member.name not in left:
                    run.add(Kind.ARCHIVE_DIFFERS, ARCHIVE, f"has {member.name}, which is not in metadata/")
                    continue
                left.discard(member.name)
                if not _same(content, folder / member.name):
                    run.add(Kind.ARCHIVE_DIFFERS, ARCHIVE, f"has another {member.name}")
            while data.read(_CHUNK):
                pass
    except READ_ERRORS as error:
        run.add(Kind.ARCHIVE_UNREADABLE, ARCHIVE, f"cannot be read: {error}")
        return
    for name in sorted(left):
        run.add(Kind.ARCHIVE_DIFFERS, ARCHIVE, f"does not have {name}")


def _same(content: IO[bytes], path: Path) -> bool:
    with path.open("rb") as file:
        while True:
            ours, theirs = file.read(_CHUNK), content.read(_CHUNK)
            if ours != theirs:
                return False
            if not ours:
                return True

"""Verification of the metadata: posts and manifest agree, and the archive has what ``metadata/`` has."""

import itertools
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, Self

import pyarrow as pa

from danbooru_pipeline.io.bounded_xz import xz_reader
from danbooru_pipeline.io.parquet import Side, differences
from danbooru_pipeline.io.untrusted import open_folder, opened
from danbooru_pipeline.release.checksums import ARCHIVE
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import batches
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release.verify.walk import odd_mode

_CHUNK = 2**20
#: What an archive may have beside the content of its members: headers and padding of each, and its end.
_MORE_EACH, _MORE = 8 * 2**10, 2**20
_HEADER_BYTES = 2**20

#: Columns that posts and manifest share, under their names in each.
_POSTS_COLUMNS = {"id": pa.int64(), "md5": pa.string(), "rating": pa.string()}
_SHARED = ("id", "source_md5", "rating")


def check_posts(run: Verification, posts: Sequence[str], manifest: Sequence[str]) -> None:
    """Check that posts and manifest have the same ids, MD5s and ratings."""
    said = {
        Side.LEFT_ONLY: "is in the posts, but not in the manifest",
        Side.RIGHT_ONLY: "is in the manifest, but not in the posts",
        Side.TWICE: "occurs twice",
        Side.DIFFERS: "has another MD5 or rating in the manifest than in the posts",
    }
    with run.reading(Kind.PARQUET_UNREADABLE, "parquet/posts-*.parquet"):
        sides = (_keys(run, posts, tuple(_POSTS_COLUMNS)), _keys(run, manifest, _SHARED))
        for difference in differences(*sides):
            run.add(Kind.POSTS_DIFFER, str(difference.id), said[difference.side])


def _keys(run: Verification, names: Iterable[str], columns: Sequence[str]) -> Iterator[pa.Table]:
    for name in names:
        for table in batches(run, name, columns=columns):
            plain = [table[column].cast(kind) for column, kind in zip(columns, _POSTS_COLUMNS.values(), strict=True)]
            yield pa.Table.from_arrays(plain, list(_SHARED))


def check_archive(run: Verification) -> None:
    """Check that the archive can be read to its end and has exactly the files of ``metadata/``, and nothing behind."""
    sizes = _metadata_files(run)
    limit = sum(sizes.values()) + _MORE_EACH * len(sizes) + _MORE
    left = set(sizes)
    try:
        with (
            opened(run.folder, ARCHIVE) as packed,
            xz_reader(packed, limit=limit) as data,
            tarfile.open(fileobj=data, mode="r|", bufsize=_CHUNK, tarinfo=_Member) as archive,
        ):
            for member in archive:
                _check_member(run, archive, member, left)
            _check_rest(run, archive)
            if data.raw.padding or not all(data.raw.streams):
                run.add(Kind.ARCHIVE_DIFFERS, ARCHIVE, "has an empty xz stream, or bytes beside its streams")
    except Exception as error:  # noqa: BLE001 - of tarfile and lzma on an archive that may hold anything
        run.add(Kind.ARCHIVE_UNREADABLE, ARCHIVE, f"cannot be read: {error or type(error).__name__}")
        return
    for name in sorted(left):
        run.add(Kind.ARCHIVE_DIFFERS, ARCHIVE, f"does not have {name}")


def _check_rest(run: Verification, archive: tarfile.TarFile) -> None:
    """Check that zeros alone follow the last member: some readers go on behind the end, and find what is there."""
    assert archive.fileobj is not None
    for part in iter(lambda: archive.fileobj.read(_CHUNK), b""):
        if part.strip(b"\0"):
            run.add(Kind.ARCHIVE_DIFFERS, ARCHIVE, "has something behind its end")
            return


class _Member(tarfile.TarInfo):
    """A member whose header does not announce more text than any header has, since tarfile reads that at once."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header."""
        member = super().frombuf(buf, encoding, errors)
        if not member.isreg() and member.size > _HEADER_BYTES:
            raise tarfile.HeaderError("announces too long a header")
        return member


def _check_member(run: Verification, archive: tarfile.TarFile, member: tarfile.TarInfo, left: set[str]) -> None:
    content = archive.extractfile(member) if member.isreg() else None
    if content is None or member.name not in left:
        run.add(Kind.ARCHIVE_DIFFERS, ARCHIVE, f"has {member.name}, which is not in metadata/")
        return
    left.discard(member.name)
    if (wrong := odd_mode(stat.S_IFREG | member.mode)) is not None:
        run.add(Kind.ARCHIVE_DIFFERS, ARCHIVE, f"has {member.name}: {wrong}")
    with opened(run.folder, member.name) as file:
        if not _same(content, file):
            run.add(Kind.ARCHIVE_DIFFERS, ARCHIVE, f"has another {member.name}")


def _metadata_files(run: Verification) -> dict[str, int]:
    """Path -> size of the regular files below ``metadata/``."""
    sizes: dict[str, int] = {}
    waiting = ["metadata"]
    while waiting:
        folder = waiting.pop()
        try:
            descriptor = open_folder(run.folder, folder)
        except OSError:
            continue  # another check says so
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{folder}/{entry.name}")
                    elif entry.is_file(follow_symlinks=False):
                        sizes[f"{folder}/{entry.name}"] = entry.stat(follow_symlinks=False).st_size
        finally:
            os.close(descriptor)
    return sizes


def _same(content: IO[bytes], file: IO[bytes]) -> bool:
    for ours in itertools.chain(iter(lambda: file.read(_CHUNK), b""), [b""]):
        if content.read(max(len(ours), 1)) != ours:
            return False
    return True


def year_of(run: Verification) -> str:
    """The year of the release's metadata; of the newest there is, when RELEASE.json cannot be read."""
    if run.release is not None:
        return str(run.release.year)
    found: list[Any] = [name.split("/")[1] for name in run.sums if name.startswith("metadata/")]
    return max(filter(str.isdigit, found), default="0000")

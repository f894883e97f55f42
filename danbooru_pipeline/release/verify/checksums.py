"""Verification of SHA256SUMS: every paper is listed, is there, and has the content that is listed."""

import hashlib
import lzma
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import msgspec
import pyarrow as pa

from danbooru_pipeline.io.ordered_map import ordered_map
from danbooru_pipeline.layout import PART_SUFFIX, checksums_path
from danbooru_pipeline.progress import Progress
from danbooru_pipeline.release.checksums import TREES, document_files, hash_file, parse_sums
from danbooru_pipeline.release.release_json import SHA256SUMS, Release
from danbooru_pipeline.release.verify.findings import Findings, Kind

_PIECE, _PIECE_BYTES = 32, 2**19

#: What readers of damaged files raise.
READ_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    EOFError,
    OverflowError,
    MemoryError,
    pa.ArrowException,
    lzma.LZMAError,
    tarfile.TarError,
    msgspec.MsgspecError,
)


def is_safe(path: str) -> bool:
    """Whether a path that a release names stays inside it, however it is read."""
    parts = path.split("/")
    return (
        path.isprintable()
        and "\\" not in path
        and not PurePosixPath(path).is_absolute()
        and not {"", ".", ".."} & set(parts)
    )


def is_plain_file(path: Path) -> bool:
    """Whether there is a file of its own, and neither a link nor a pipe."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def check_sums(
    folder: Path,
    release: Release | None,
    found: Findings,
    *,
    bucket: str | None,
    threads: int,
    progress: Progress,
) -> frozenset[str]:
    """Check SHA256SUMS and all papers, or those that one bucket needs.

    Returns:
        Papers that are altered: binary formats among them must not be read.
    """
    path = folder / SHA256SUMS
    if not is_plain_file(path):
        found.add(Kind.SUMS_MISSING, SHA256SUMS, "is not there")
        return frozenset()
    data = path.read_bytes()
    if release is not None and hashlib.sha256(data).hexdigest() != release.sha256sums_sha256:
        found.add(Kind.SUMS_DIFFER, SHA256SUMS, "is not the one that RELEASE.json names")
    sums, wrong = parse_sums(data)
    for line in wrong:
        found.add(Kind.SUMS_LINE, SHA256SUMS, f"a line that is damaged or a repetition: {line}")
    for name in [name for name in sums if not is_safe(name)]:
        found.add(Kind.UNSAFE_PATH, SHA256SUMS, f"names {name}, which is not inside the release")
        del sums[name]
    on_disk = _present(folder, found)
    if bucket is not None:
        sums = {name: sums[name] for name in sums if _concerns(name, bucket)}
        on_disk = [name for name in on_disk if _concerns(name, bucket)]
    for name in sorted(sums.keys() - set(on_disk)):
        found.add(Kind.PAPER_MISSING, name, "is listed in SHA256SUMS, and not there")
    for name in sorted(set(on_disk) - sums.keys()):
        found.add(Kind.PAPER_UNLISTED, name, "is there, and not listed in SHA256SUMS")
    return _altered(folder, {name: sums[name] for name in on_disk if name in sums}, found, threads, progress)


def _concerns(name: str, bucket: str) -> bool:
    return name.startswith("manifest/") or name in {checksums_path(tree.name, bucket) for tree in TREES}


def _present(folder: Path, found: Findings) -> list[str]:
    """Papers that are there and may be read."""
    present = []
    for name in document_files(folder):
        if not is_plain_file(folder / name):
            found.add(Kind.NOT_A_FILE, name, "is a link or a special file")
        elif name.endswith(PART_SUFFIX):
            found.add(Kind.PART_FILE, name, "is a file that was never finished")
        else:
            present.append(name)
    return present


def _altered(folder: Path, sums: dict[str, str], found: Findings, threads: int, progress: Progress) -> frozenset[str]:
    altered = set()
    sizes = [(name, _size_of(folder / name)) for name in sums]
    for done, (name, digest) in enumerate(zip(sums, hash_files(folder, sizes, threads), strict=True)):
        if digest != sums[name]:
            altered.add(name)
            found.add(Kind.PAPER_ALTERED, name, "its SHA-256 is not the one in SHA256SUMS")
        progress("papers", done + 1, len(sums))
    return frozenset(altered)


def _size_of(path: Path) -> int:
    """Bytes of a file; 0 when it is not there."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def hash_files(folder: Path, files: Iterable[tuple[str, int]], threads: int) -> Iterator[str | None]:
    """SHA-256 of each file, given as name and size, in order; None where it cannot be read."""
    root = os.fspath(folder)

    def digests(names: Sequence[str]) -> list[str | None]:
        return [_hash_or_none(f"{root}/{name}") for name in names]

    for piece in ordered_map(digests, _pieces(files), threads=threads, name="hash"):
        yield from piece


def _hash_or_none(path: str) -> str | None:
    try:
        return hash_file(path)
    except OSError:
        return None


def _pieces(files: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """Names that are hashed by one thread in turn: handing over each small file would cost more than hashing it."""
    names: list[str] = []
    held = 0
    for name, size in files:
        names.append(name)
        held += size
        if len(names) >= _PIECE or held >= _PIECE_BYTES:
            yield names
            names, held = [], 0
    if names:
        yield names

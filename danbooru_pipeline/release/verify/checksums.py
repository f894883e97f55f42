"""Verification of SHA256SUMS: every document is listed, exists, and has the content that is listed."""

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
from danbooru_pipeline.io.sha256 import sha256_or_none
from danbooru_pipeline.layout import PART_SUFFIX, checksums_path
from danbooru_pipeline.release.checksums import TREES, document_files, parse_sums
from danbooru_pipeline.release.release_json import SHA256SUMS
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.verification import Verification

#: Files, or bytes, that are handed to a thread at a time.
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
    """Whether a path that a release names stays inside it, on any system."""
    parts = path.split("/")
    return (
        path.isprintable()
        and "\\" not in path
        and not PurePosixPath(path).is_absolute()
        and not {"", ".", ".."} & set(parts)
    )


def is_plain_file(path: Path) -> bool:
    """Whether a path is a regular file, and not a link or a pipe."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def check_sums(run: Verification) -> frozenset[str]:
    """Check SHA256SUMS and all documents, or those that one bucket needs. Returns the altered documents."""
    path = run.folder / SHA256SUMS
    if not is_plain_file(path):
        run.add(Kind.SUMS_MISSING, SHA256SUMS, "is missing")
        return frozenset()
    sums = _listed(run, path.read_bytes())
    on_disk = _present(run)
    if run.bucket is not None:
        sums = {name: sums[name] for name in sums if _concerns(name, run.bucket)}
        on_disk = [name for name in on_disk if _concerns(name, run.bucket)]
    for name in sorted(sums.keys() - set(on_disk)):
        run.add(Kind.PAPER_MISSING, name, "is listed in SHA256SUMS, but does not exist")
    for name in sorted(set(on_disk) - sums.keys()):
        run.add(Kind.PAPER_UNLISTED, name, "exists, but is not listed in SHA256SUMS")
    return _altered(run, {name: sums[name] for name in on_disk if name in sums})


def _listed(run: Verification, data: bytes) -> dict[str, str]:
    """Path -> SHA-256 of the documents that SHA256SUMS lists; lines that cannot be used are findings."""
    if run.release is not None and hashlib.sha256(data).hexdigest() != run.release.sha256sums_sha256:
        run.add(Kind.SUMS_DIFFER, SHA256SUMS, "is not the one that RELEASE.json names")
    sums, wrong = parse_sums(data)
    for line in wrong:
        run.add(Kind.SUMS_LINE, SHA256SUMS, f"has a damaged or repeated line: {line}")
    for name in [name for name in sums if not is_safe(name)]:
        run.add(Kind.UNSAFE_PATH, SHA256SUMS, f"names {name}, which is not inside the release")
        del sums[name]
    return sums


def _concerns(name: str, bucket: str) -> bool:
    return name.startswith("manifest/") or name in {checksums_path(tree.name, bucket) for tree in TREES}


def _present(run: Verification) -> list[str]:
    """Documents that exist and may be read."""
    present = []
    for name in document_files(run.folder):
        if not is_plain_file(run.folder / name):
            run.add(Kind.NOT_A_FILE, name, "is a link or a special file")
        elif name.endswith(PART_SUFFIX):
            run.add(Kind.PART_FILE, name, "is an unfinished file")
        else:
            present.append(name)
    return present


def _altered(run: Verification, sums: dict[str, str]) -> frozenset[str]:
    altered = set()
    sizes = [(name, _size_of(run.folder / name)) for name in sums]
    for done, (name, digest) in enumerate(zip(sums, hash_files(run.folder, sizes, run.threads), strict=True)):
        if digest != sums[name]:
            altered.add(name)
            run.add(Kind.PAPER_ALTERED, name, "its SHA-256 is not the one in SHA256SUMS")
        run.progress("documents", done + 1, len(sums))
    return frozenset(altered)


def _size_of(path: Path) -> int:
    """Bytes of a file; 0 when it does not exist."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def hash_files(folder: Path, files: Iterable[tuple[str, int]], threads: int) -> Iterator[str | None]:
    """SHA-256 of each file, given as name and size, in order; None where it cannot be read."""
    root = os.fspath(folder)

    def digests(names: Sequence[str]) -> list[str | None]:
        return [sha256_or_none(f"{root}/{name}") for name in names]

    for piece in ordered_map(digests, _pieces(files), threads=threads, name="hash"):
        yield from piece


def _pieces(files: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """Names in pieces, each hashed by one thread: handing over small files one by one costs more than hashing them."""
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

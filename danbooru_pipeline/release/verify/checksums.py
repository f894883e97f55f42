"""Verification of SHA256SUMS: every document is listed, exists, and has the content that is listed."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from danbooru_pipeline.io.hash_processes import FileHasher
from danbooru_pipeline.io.untrusted import read_bytes
from danbooru_pipeline.release.checksums import (
    LONGEST_LIST,
    NOT_AS_WRITTEN,
    TREES,
    examine_sums,
    is_as_written,
    is_safe,
)
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import SHA256SUMS, checksums_path


class _Document(NamedTuple):
    path: str
    size: int


def check_sums(
    run: Verification, present: Mapping[str, int], hasher: FileHasher
) -> tuple[dict[str, str], frozenset[str]]:
    """Check SHA256SUMS and all documents, or those that one bucket needs.

    Args:
        run: what is verified.
        present: path -> size of the documents that exist.
        hasher: of the tree's files.

    Returns:
        Path -> SHA-256 as it is listed, and the documents that are altered.
    """
    if not run.has(SHA256SUMS):
        run.add(Kind.SUMS_MISSING, SHA256SUMS, "is missing")
        return {}, frozenset()
    try:
        data = read_bytes(run.folder, SHA256SUMS, limit=LONGEST_LIST)
    except (OSError, ValueError) as error:
        run.add(Kind.SUMS_LINE, SHA256SUMS, f"cannot be read: {error}")
        return {}, frozenset()
    sums = _listed(run, data)
    wanted = sums
    if run.bucket is not None:
        wanted = {name: sums[name] for name in sums if _concerns(name, run.bucket)}
        present = {name: size for name, size in present.items() if _concerns(name, run.bucket)}
    for name in sorted(wanted.keys() - present.keys()):
        run.add(Kind.PAPER_MISSING, name, "is listed in SHA256SUMS, but does not exist")
    for name in sorted(present.keys() - wanted.keys()):
        run.add(Kind.PAPER_UNLISTED, name, "exists, but is not listed in SHA256SUMS")
    sizes = {name: size for name, size in present.items() if name in wanted}
    return sums, _altered(run, wanted, sizes, hasher)


def _listed(run: Verification, data: bytes) -> dict[str, str]:
    """Path -> SHA-256 of the documents that SHA256SUMS lists; lines that cannot be used are findings."""
    if run.release is not None and hashlib.sha256(data).hexdigest() != run.release.sha256sums_sha256:
        run.add(Kind.SUMS_DIFFER, SHA256SUMS, "is not the one that RELEASE.json names")
    sums, wrong = examine_sums(data)
    for line in wrong:
        run.add(Kind.SUMS_LINE, SHA256SUMS, f"has a damaged or repeated line: {line}")
    if not wrong and not is_as_written(data, sums):
        run.add(Kind.SUMS_LINE, SHA256SUMS, f"is {NOT_AS_WRITTEN}")
    for name in [name for name in sums if not is_safe(name)]:
        run.add(Kind.UNSAFE_PATH, SHA256SUMS, f"names {name}, which is no path of a file inside the release")
        del sums[name]
    return sums


def _concerns(name: str, bucket: str) -> bool:
    return name.startswith("manifest/") or name in {checksums_path(tree.name, bucket) for tree in TREES}


def _altered(
    run: Verification, sums: Mapping[str, str], sizes: Mapping[str, int], hasher: FileHasher
) -> frozenset[str]:
    altered = set()
    documents = (_Document(*item) for item in sizes.items())
    for done, ((name, _), digest) in enumerate(hasher.digests(documents)):
        if digest != sums[name]:
            altered.add(name)
            run.add(Kind.PAPER_ALTERED, name, "its SHA-256 is not the one in SHA256SUMS")
        run.progress("documents", done + 1, len(sizes))
    return frozenset(altered)

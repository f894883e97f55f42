"""The weekly scrub: reads a 52nd of the store, and repairs what is not what the ledger says it is.

A file whose SHA-256 differs is moved to ``store/quarantine``, never deleted. Its bucket is then built again: the
original is asked for once more, the 512px image is made from the original. Releases share the damaged file by hard
link; they get the repaired one in its place when it is the same to the byte, and are named when it is not.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.io.atomic import commit_part, link_or_copy, part_path
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import BUCKETS, original_path, px512_path
from danbooru_pipeline.outcomes import Status
from danbooru_pipeline.release import published
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger
from danbooru_pipeline.store.originals import build_originals
from danbooru_pipeline.store.px512 import build_px512

WEEKS: Final = 52
_BLOCK_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True, order=True)
class Expected:
    """A file as the ledger has it; `path` is relative to the store and to a release alike."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubReport:
    """What the scrub of one bucket found.

    Attributes:
        damaged: files with other bytes than the ledger says, or gone.
        repaired: of them, how many are again what they were, in the store and in every release.
        left: one line for each of the others.
    """

    files: int
    bytes: int
    damaged: int
    repaired: int
    left: tuple[str, ...]
    seconds: float


def buckets_of_week(day: date) -> tuple[str, ...]:
    """The buckets whose turn it is in the week of a day; after 52 weeks in a row each had its turn."""
    week = day.toordinal() // 7 % WEEKS
    return BUCKETS[week::WEEKS]


def expected_files(rows: Iterable[LedgerRow]) -> list[Expected]:
    """The files that a ledger speaks of."""
    files: list[Expected] = []
    for row in rows:
        if row.status is not Status.OK:
            continue
        if row.held_ext and row.sha256 and row.size is not None:
            files.append(Expected(original_path(row.id, row.held_ext), row.size, row.sha256))
        if row.px512_reason is None and row.px512_sha256 and row.px512_size is not None:
            files.append(Expected(px512_path(row.id), row.px512_size, row.px512_sha256))
    return sorted(files)


def scrub_bucket(context: RunContext, bucket: str) -> ScrubReport:
    """Read every file of a bucket, and repair what is damaged.

    Raises:
        SourceError: the file host cannot be used; what was found is in the quarantine, and a build asks for it again.
    """
    began = time.monotonic()
    with exclusive(context.layout.bucket_lock(bucket)):
        files = expected_files(read_ledger(context.layout.ledger(bucket)).values())
        damaged = [file for file in files if hash_file(context.layout.store / file.path) != file.sha256]
        for file in damaged:
            _quarantine(context, bucket, file)
    left = _repair(context, bucket, damaged) if damaged else ()
    return ScrubReport(
        files=len(files),
        bytes=sum(file.size for file in files),
        damaged=len(damaged),
        repaired=len(damaged) - len(left),
        left=left,
        seconds=time.monotonic() - began,
    )


def hash_file(path: Path) -> str | None:
    """SHA-256 of a file; None when it is not there or the disk does not give its bytes."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def _quarantine(context: RunContext, bucket: str, file: Expected) -> None:
    """Move a damaged file out of the way; one that is gone already needs no moving."""
    source = context.layout.store / file.path
    if not source.exists():
        return
    folder = context.layout.quarantine_bucket(file.path.partition("/")[0], bucket)
    folder.mkdir(parents=True, exist_ok=True)
    commit_part(source, folder / f"{source.name}.{file.sha256[:8]}")


def _repair(context: RunContext, bucket: str, damaged: list[Expected]) -> tuple[str, ...]:
    """Build the bucket again, and give releases the repaired files. Returns a line for each that could not be."""
    year = _newest_year(context, bucket)
    if year is not None:
        build_originals(context, bucket, year)
        build_px512(context, bucket, year)
    folders = published(context.layout)
    return tuple(line for file in damaged for line in _repair_one(context, file, folders))


def _newest_year(context: RunContext, bucket: str) -> int | None:
    """The newest year that has posts of this bucket: what its ledger is about."""
    years = sorted(int(path.name) for path in context.layout.root.glob("metadata/[0-9]*") if path.name.isdigit())
    having = [year for year in years if context.layout.posts_bucket(year, bucket).exists()]
    return having[-1] if having else None


def _repair_one(context: RunContext, file: Expected, folders: Mapping[int, Path]) -> Iterator[str]:
    """At most one line, when a file is not again what it was everywhere."""
    source = context.layout.store / file.path
    same = hash_file(source) == file.sha256
    lost = []
    for folder in folders.values():
        target = folder / file.path
        # An earlier release may hold another file of this post under the same name, whole and its own.
        if not target.exists() or (target.stat().st_size, hash_file(target)) == (file.size, file.sha256):
            continue
        if same and _is_in_manifest(folder, file):
            _replace_link(source, target)
        elif _is_in_manifest(folder, file):
            lost.append(folder.name)
    if lost:
        yield f"{file.path}: damaged in {', '.join(lost)}; take it from another copy of the release"
    elif not same:
        yield f"{file.path}: the source does not give it any more as it was" + (
            "" if source.exists() else ", and it is gone from the store"
        )


def _is_in_manifest(folder: Path, file: Expected) -> bool:
    """Whether a release's own sums announce these bytes under this path."""
    tree, bucket, _ = file.path.split("/")
    try:
        sums = (folder / "checksums" / tree / f"{bucket}.sha256").read_text()
    except OSError:
        return False
    return f"{file.sha256}  {file.path}" in sums.splitlines()


def _replace_link(source: Path, target: Path) -> None:
    part = part_path(target)
    link_or_copy(source, part)
    part.chmod(0o444)
    commit_part(part, target)

"""The weekly scrub: reads one 52nd of the store, and repairs files that do not match the ledger.

A file whose SHA-256 differs is moved to ``store/quarantine``, never deleted. Its bucket is then built again: the
original is downloaded once more, and the 512px image is made from the original. Releases share the damaged file by hard
link: if the repaired file is identical byte for byte they get it in its place, otherwise they are named.

What following brought ahead of its release is in no release and in no sweep, so no build can repair it: following asks
for it again, as if it had never come.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.images import ImageJob
from danbooru_pipeline.io.atomic import commit_part, link_or_copy, part_path
from danbooru_pipeline.io.leases import Lease, leased
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.io.sha256 import sha256_or_none
from danbooru_pipeline.layout import BUCKETS, original_path, px512_path
from danbooru_pipeline.outcomes import Status
from danbooru_pipeline.release import published
from danbooru_pipeline.release_paths import checksums_path
from danbooru_pipeline.store.follow.damage import forget_damaged
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger, write_ledger
from danbooru_pipeline.store.originals import build_originals
from danbooru_pipeline.store.px512 import build_px512
from danbooru_pipeline.store.recovery import ledger_or_recovered

WEEKS: Final = 52


@dataclass(frozen=True, slots=True, order=True)
class Expected:
    """A file as the ledger describes it; `path` is the same relative to the store and to a release."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubReport:
    """What the scrub of one bucket found.

    Attributes:
        files, bytes: that were read.
        damaged: files that are missing or do not have the bytes that the ledger says.
        repaired: damaged files that were restored, in the store and in every release.
        left: one line for each of the others.
    """

    files: int
    bytes: int
    damaged: int
    repaired: int
    left: tuple[str, ...]
    seconds: float


def buckets_of_week(day: date) -> tuple[str, ...]:
    """The buckets to scrub in the week of a day; 52 consecutive weeks cover all buckets."""
    week = day.toordinal() // 7 % WEEKS
    return BUCKETS[week::WEEKS]


def expected_files(rows: Iterable[LedgerRow]) -> list[Expected]:
    """The files that a ledger describes, by path."""
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
        SourceError: the file host cannot be used. Damaged files are in the quarantine, and a build fetches them again.
    """
    began = time.monotonic()
    with leased(context.layout.bucket_lock(bucket)) as lease:
        files = expected_files(ledger_or_recovered(context.layout, bucket).values())
        damaged = [file for file in files if sha256_or_none(context.layout.store / file.path) != file.sha256]
        lease.check()
        for file in damaged:
            _quarantine(context, bucket, file)
        ahead = forget_damaged(context.layout, bucket, {Path(file.path).stem for file in damaged})
        _fill_pixel_hashes(context, bucket, lease, without={file.path for file in damaged})
    of_release = [file for file in damaged if int(Path(file.path).stem) not in ahead.ids]
    left = (*(_repair(context, bucket, of_release) if of_release else ()), *ahead.lines)
    return ScrubReport(
        files=len(files) + ahead.kept,
        bytes=sum(file.size for file in files) + ahead.kept_bytes,
        damaged=len(of_release) + len(ahead.lines),
        repaired=len(of_release) + len(ahead.lines) - len(left),
        left=left,
        seconds=time.monotonic() - began,
    )


def _fill_pixel_hashes(context: RunContext, bucket: str, lease: Lease, *, without: Collection[str]) -> None:
    """Give rows of an earlier version their pixel hash: the file was just read, and need not be fetched for it."""
    rows = read_ledger(context.layout.ledger(bucket))
    jobs = {
        row.id: context.images.submit(ImageJob(source=path, settings=context.image_settings))
        for row in rows.values()
        if row.status is Status.OK
        and row.pixel_hash is None
        and row.held_ext
        and original_path(row.id, row.held_ext) not in without
        and (path := context.layout.original(row.id, row.held_ext)).exists()
    }
    found = {id_: job.result().pixel_hash for id_, job in jobs.items()}
    if any(found.values()):
        rows |= {id_: replace(rows[id_], pixel_hash=pixel_hash) for id_, pixel_hash in found.items()}
        lease.check()
        write_ledger(context.layout.ledger(bucket), rows.values())


def _quarantine(context: RunContext, bucket: str, file: Expected) -> None:
    """Move a damaged file out of the way, if it exists."""
    source = context.layout.store / file.path
    if not source.exists():
        return
    folder = context.layout.quarantine_bucket(file.path.partition("/")[0], bucket)
    folder.mkdir(parents=True, exist_ok=True)
    commit_part(source, folder / f"{source.name}.{file.sha256[:8]}")


def _repair(context: RunContext, bucket: str, damaged: list[Expected]) -> tuple[str, ...]:
    """Build the bucket again and give releases the repaired files. Returns a line per file that was not restored."""
    year = _newest_year(context, bucket)
    if year is not None:
        build_originals(context, bucket, year)
        build_px512(context, bucket, year)
    folders = [*published(context.layout).values(), *context.layout.superseded_releases]
    return tuple(line for file in damaged for line in _repair_one(context, file, folders))


def _newest_year(context: RunContext, bucket: str) -> int | None:
    """The newest year that has posts of this bucket, which is the one its ledger is about."""
    years = context.layout.metadata_years
    return max((year for year in years if context.layout.posts_bucket(year, bucket).exists()), default=None)


def _repair_one(context: RunContext, file: Expected, folders: Sequence[Path]) -> Iterator[str]:
    """Give every release the repaired file. Yields at most one line, if the file was not restored everywhere."""
    source = context.layout.store / file.path
    same = sha256_or_none(source) == file.sha256
    lost = []
    for folder in folders:
        target = folder / file.path
        # An earlier release may have an intact file of its own under the same name.
        if not target.exists() or (target.stat().st_size, sha256_or_none(target)) == (file.size, file.sha256):
            continue
        if same and _is_in_manifest(folder, file):
            with exclusive(context.layout.publication_lock):
                if source.exists() and target.exists():  # else the post was taken down meanwhile
                    _replace_link(source, target)
        elif _is_in_manifest(folder, file):
            lost.append(folder.name)
    if lost:
        yield f"{file.path}: damaged in {', '.join(lost)}; take it from another copy of the release"
    elif not same:
        yield f"{file.path}: the source no longer has the same file" + (
            "" if source.exists() else ", and it is gone from the store"
        )


def _is_in_manifest(folder: Path, file: Expected) -> bool:
    """Whether a release's own checksums list these bytes under this path."""
    tree, bucket, _ = file.path.split("/")
    try:
        sums = (folder / checksums_path(tree, bucket)).read_text()
    except OSError:
        return False
    return f"{file.sha256}  {file.path}" in sums.splitlines()


def _replace_link(source: Path, target: Path) -> None:
    part = part_path(target)
    link_or_copy(source, part)
    part.chmod(0o444)
    commit_part(part, target)

"""Recovers originals that are in the store but not in the ledger, after a crash or a lost ledger.

A file is adopted when its bytes, or those that its JPEG XL restores, have the MD5 of the metadata, or when they are the
very bytes that an earlier row of the same post describes. Anything else is fetched again. A file that following kept
under its MD5 is adopted by the release that wants it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import DiskFull
from danbooru_pipeline.fetch import Downloaded
from danbooru_pipeline.images import ImageJob
from danbooru_pipeline.io.atomic import commit_part, link_or_copy, part_path
from danbooru_pipeline.io.md5 import md5_of_bytes
from danbooru_pipeline.layout import ARCHIVE_EXTENSION
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.store.ledger import LedgerRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """A file that was adopted, or the outcome of its download, and what the next steps must know about it.

    Attributes:
        got: the outcome; zero requests when it was adopted.
        is_archive: the store has the JPG as JPEG XL.
        was_optimized: the stored file has already been optimised, as its earlier row says.
        full: the error, when the disk had no room for it.
    """

    got: Downloaded
    is_archive: bool = False
    was_optimized: bool = False
    full: DiskFull | None = None


def adopt_file(context: RunContext, fetch: Fetch, known: LedgerRow | None) -> Obtained | None:
    """The file of a post that is there already; None when it must be fetched. Safe for threads.

    Args:
        context: its layout and image workers are used.
        fetch: the file.
        known: the post's row of an earlier build, if there is one.
    """
    row = known if known is not None and known.md5 == fetch.md5 else None
    plain = context.layout.original(fetch.id, fetch.ext)
    return (
        _adopt_plain(fetch, plain, row)
        or _adopt_archive(context, fetch, row)
        or _adopt_replaced(fetch, context.layout.replaced(fetch.id, fetch.md5, fetch.ext), target=plain)
    )


def _adopt_plain(fetch: Fetch, path: Path, row: LedgerRow | None) -> Obtained | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    md5 = md5_of_bytes(data)
    if row is not None and row.sha256 != hashlib.sha256(data).hexdigest():
        row = None  # it describes other bytes
    was_optimized = row is not None and bool(row.optimized or row.kept is not None)
    if data and md5 == fetch.md5:
        got = Downloaded(reason=None, in_place=True, size=len(data), md5=md5)
    elif row is not None:
        # Optimised earlier, then withheld, and shown again by the source now.
        got = Downloaded(reason=None, in_place=True, size=row.source_size, md5=row.fetched_md5)
    else:
        return None
    return Obtained(got=got, was_optimized=was_optimized)


def _adopt_archive(context: RunContext, fetch: Fetch, row: LedgerRow | None) -> Obtained | None:
    path = context.layout.original(fetch.id, ARCHIVE_EXTENSION)
    if not path.exists():
        return None
    found = context.images.submit(ImageJob(source=path)).result()
    is_known = row is not None and row.sha256 == found.sha256
    if found.restored_md5 is None or (found.restored_md5 != fetch.md5 and not is_known):
        return None
    got = Downloaded(reason=None, in_place=True, size=found.restored_size, md5=found.restored_md5)
    return Obtained(got=got, is_archive=True)


def _adopt_replaced(fetch: Fetch, kept: Path, *, target: Path) -> Obtained | None:
    try:
        data = kept.read_bytes()
    except FileNotFoundError:
        return None
    if md5_of_bytes(data) != fetch.md5:
        return None  # rot; the scrub reports it
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(target)
    link_or_copy(kept, part)
    commit_part(part, target, flush_folder=False)  # as for a download: the caller flushes it for all files
    return Obtained(got=Downloaded(reason=None, in_place=True, size=len(data), md5=fetch.md5))

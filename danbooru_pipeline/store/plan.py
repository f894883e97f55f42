"""Plans what a bucket has to do. Pure: compares posts with ledger rows and with the files on disk.

A row is keyed by (id, md5): a post whose MD5 changed is work to do again. A file that is not held is asked about once
in each release: a 404 of last year says nothing about this year.
"""

import dataclasses
import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from danbooru_pipeline.io.atomic import READ_ONLY, make_own_read_only
from danbooru_pipeline.outcomes import Reason, Status
from danbooru_pipeline.posts import Fetch, Post
from danbooru_pipeline.posts.fetchable import why_not_fetched
from danbooru_pipeline.store.ledger import LedgerRow

#: Outcomes that the file host has decided: final for a release, and asked about again by the next one.
FILE_REASONS: Final = frozenset({Reason.GONE, Reason.TOO_LARGE})


@dataclass(frozen=True, slots=True)
class BucketPlan:
    """What a bucket has to do for a release.

    Attributes:
        fetch: files of posts that are new, changed or pending, and files that the store has lost.
        settle: rows that change without a request: of withheld, quarantined, removed and replaced posts.
        keep: rows that stay as they are.
        changed: how many of `fetch` replace a file with another MD5.
        recheck: ids of posts to ask the source about first; those with a file that it shows are in `fetch` as well.
    """

    fetch: tuple[Fetch, ...]
    settle: tuple[LedgerRow, ...]
    keep: tuple[LedgerRow, ...]
    changed: int
    recheck: tuple[int, ...] = ()


def plan_bucket(
    posts: Collection[Post],
    ledger: Mapping[int, LedgerRow],
    files: Mapping[str, int],
    *,
    exclude_tags: frozenset[str] = frozenset(),
    release: int,
    recheck: frozenset[Reason] = frozenset(),
) -> BucketPlan:
    """Compare a bucket's posts with its rows and files.

    Args:
        posts: the bucket's posts of the release.
        ledger: rows by id.
        files: name -> size in bytes of the files in the bucket's folder of originals.
        exclude_tags: tags whose posts get no file.
        release: year of the release, for rows that are new.
        recheck: reasons whose posts are asked about again, whether or not this release has asked already.
    """
    again = {post.id for post in posts if _is_asked_again(post, ledger.get(post.id), release=release, reasons=recheck)}
    again |= _restorable(ledger, {post.id for post in posts}, release=release, reasons=recheck)
    fetch: list[Fetch] = []
    settle: list[LedgerRow] = []
    keep: list[LedgerRow] = []
    changed = 0
    seen = {post.id for post in posts}
    for post in posts:
        row = ledger.get(post.id)
        is_known = post.id not in again and row is not None and _is_complete(row, files)
        wanted = _row_without_request(post, row, exclude_tags=exclude_tags, release=release, is_known=is_known)
        if wanted is not None:
            (keep if wanted == row else settle).append(wanted)
        else:
            changed += row is not None and row.status is Status.OK and row.md5 != post.md5
            fetch.append(Fetch.of(post))
    for row in ledger.values():
        if row.id not in seen:
            wanted = _without_post(row, release=release)
            (keep if wanted == row else settle).append(wanted)
    return BucketPlan(tuple(fetch), tuple(settle), tuple(keep), changed, recheck=tuple(sorted(again)))


def _row_without_request(
    post: Post, row: LedgerRow | None, *, exclude_tags: frozenset[str], release: int, is_known: bool
) -> LedgerRow | None:
    """The row of a post whose file needs no request; None when it must be fetched.

    `is_known` says whether the row needs no work as long as it is about the post's file.
    """
    reason = why_not_fetched(post, exclude_tags=exclude_tags)
    if reason is not None:
        return _settled(post, reason, row, release=release)
    if row is not None and (row.md5, row.ext) == (post.md5, post.ext) and is_known:
        return _update_row(row, post, release=release)
    return None


def _without_post(row: LedgerRow, *, release: int) -> LedgerRow:
    """The row of a post that the release does not have: expunged, unless it is of a later release."""
    if row.first_release is not None and row.first_release > release:
        return row
    return dataclasses.replace(row, reason=Reason.EXPUNGED)


def _settled(post: Post, reason: Reason, row: LedgerRow | None, *, release: int) -> LedgerRow:
    """The row of a post that gets no file now. What is known of an earlier file stays, so that it can be restored."""
    if row is None:
        return LedgerRow(id=post.id, md5=post.md5, ext=post.ext, reason=reason, first_release=release)
    return dataclasses.replace(_of_release(row, release), reason=reason)


def _of_release(row: LedgerRow, release: int) -> LedgerRow:
    """The row of a post that a release holds: following may have expected it in a later one."""
    is_early = row.first_release is not None and row.first_release > release
    return dataclasses.replace(row, first_release=release) if is_early else row


def _update_row(row: LedgerRow, post: Post, *, release: int) -> LedgerRow:
    """A complete row, updated to its post: its reason is `replaced` while the file is not that of the sweep."""
    row = _of_release(row, release)
    if post.pixel_hash not in {None, row.source_pixel_hash}:  # none is no news: not every source carries it
        row = dataclasses.replace(row, source_pixel_hash=post.pixel_hash)
    if row.reason not in {None, Reason.REPLACED}:
        return row
    return dataclasses.replace(row, reason=Reason.REPLACED if post.replaced else None)


def _is_complete(row: LedgerRow, files: Mapping[str, int]) -> bool:
    """Whether a row needs no request: its file is there in full, or the server's answer about it is final."""
    if row.status is Status.OK:
        return row.size is not None and files.get(f"{row.id}.{row.held_ext}") == row.size
    return row.reason in FILE_REASONS


def _is_asked_again(post: Post, row: LedgerRow | None, *, release: int, reasons: frozenset[Reason]) -> bool:
    """Whether to ask about a file that is not held: on request, or because no build of this release has asked yet."""
    if row is None or row.reason is None:
        return False
    is_due = row.reason in FILE_REASONS and not row.was_checked(release=release)
    return row.reason in reasons or (is_due and post.visible and (row.md5, row.ext) == (post.md5, post.ext))


def _restorable(
    ledger: Mapping[int, LedgerRow], posts: Collection[int], *, release: int, reasons: frozenset[Reason]
) -> set[int]:
    """Ids of expunged posts to ask about on request, which the sweep did not have: the site may have restored them."""
    if Reason.EXPUNGED not in reasons:
        return set()
    rows = (row for row in ledger.values() if row.reason is Reason.EXPUNGED and row.id not in posts)
    return {row.id for row in rows if row.first_release is None or row.first_release <= release}


def list_files(folder: Path, *, read_only: bool = False) -> dict[str, int]:
    """Name -> size in bytes of the whole files in a bucket's folder; hidden and partial ones are left out.

    Args:
        folder: of the bucket.
        read_only: make those read-only that are not, while looking at them.
    """
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        found = {e.name: e.stat(follow_symlinks=False) for e in entries if e.is_file() and e.name[0] != "."}
    if read_only:
        for name, facts in found.items():
            if stat.S_ISREG(facts.st_mode) and stat.S_IMODE(facts.st_mode) != READ_ONLY:
                make_own_read_only(folder / name)
    return {name: facts.st_size for name, facts in found.items()}

"""Plans what a bucket has to do. Pure: compares posts with ledger rows and with the files that are there.

A row is keyed by (id, md5): a post whose MD5 changed is work to do again.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from danbooru_pipeline.outcomes import Reason, Status
from danbooru_pipeline.posts import Post
from danbooru_pipeline.store.ledger import LedgerRow


@dataclass(frozen=True, slots=True)
class BucketPlan:
    """What a bucket has to do for a release.

    Attributes:
        fetch: posts whose file is to be asked for: new ones, changed ones, pending ones, ones whose file is gone.
        settle: rows that need no request: withheld, quarantined and removed posts.
        keep: rows that stay as they are.
        changed: how many of `fetch` had a file under another MD5.
    """

    fetch: tuple[Post, ...]
    settle: tuple[LedgerRow, ...]
    keep: tuple[LedgerRow, ...]
    changed: int

    @property
    def changes_ledger(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.fetch or self.settle)


def plan_bucket(
    posts: Iterable[Post],
    ledger: Mapping[int, LedgerRow],
    files: Mapping[str, int],
    *,
    exclude_tags: frozenset[str] = frozenset(),
    release: int,
) -> BucketPlan:
    """Compare a bucket's posts with its rows and files.

    Args:
        posts: the bucket's posts of the release.
        ledger: rows by id.
        files: name -> size in bytes of the files in the bucket's folder of originals.
        exclude_tags: tags whose posts get no file.
        release: year of the release, for rows that are new.
    """
    fetch: list[Post] = []
    settle: list[LedgerRow] = []
    keep: list[LedgerRow] = []
    changed = 0
    seen: set[int] = set()
    for post in posts:
        seen.add(post.id)
        row = ledger.get(post.id)
        reason = reason_without_request(post, exclude_tags)
        if reason is not None:
            wanted = _settled(post, reason, row, release=release)
            (keep if wanted == row else settle).append(wanted)
        elif row is not None and row.md5 == post.md5 and row.ext == post.ext and _holds(row, files):
            wanted = _marked(row, post)
            (keep if wanted == row else settle).append(wanted)
        else:
            changed += row is not None and row.status is Status.OK and row.md5 != post.md5
            fetch.append(post)
    for row in ledger.values():
        if row.id in seen:
            continue
        if row.first_release is not None and row.first_release > release:
            keep.append(row)  # a post of a later release than the one that is worked on
        else:
            gone = dataclasses.replace(row, reason=Reason.EXPUNGED)
            (keep if gone == row else settle).append(gone)
    return BucketPlan(fetch=tuple(fetch), settle=tuple(settle), keep=tuple(keep), changed=changed)


def reason_without_request(post: Post, exclude_tags: frozenset[str]) -> Reason | None:
    """Why a post's file is not to be asked for at all; None when it is."""
    if post.is_expunged:
        return Reason.EXPUNGED
    if post.is_banned:
        return Reason.BANNED
    if not post.visible:
        return Reason.RESTRICTED
    if not post.names_a_file:
        return Reason.BAD_ROW
    if exclude_tags and not exclude_tags.isdisjoint(post.tags.split()):
        return Reason.EXCLUDED_TAG
    return None


def _settled(post: Post, reason: Reason, row: LedgerRow | None, *, release: int) -> LedgerRow:
    """The row of a post that gets no file now. What is known of an earlier file stays, so it can come back."""
    if row is None:
        return LedgerRow(id=post.id, md5=post.md5, ext=post.ext, reason=reason, first_release=release)
    return dataclasses.replace(row, reason=reason)


def _marked(row: LedgerRow, post: Post) -> LedgerRow:
    """The row of a file that is there, marked while the post's file is another one than in the sweep."""
    if row.reason not in {None, Reason.REPLACED}:
        return row
    return dataclasses.replace(row, reason=Reason.REPLACED if post.replaced else None)


def _holds(row: LedgerRow, files: Mapping[str, int]) -> bool:
    """Whether a row is settled: the file it speaks of is there in full, or it is final without one."""
    if row.status is Status.OK:
        return row.size is not None and files.get(f"{row.id}.{row.held_ext}") == row.size
    return row.status is Status.MISSING or row.reason is Reason.TOO_LARGE


def list_files(folder: Path) -> dict[str, int]:
    """Name -> size in bytes of the whole files in a bucket's folder; hidden and unfinished ones are left out."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {e.name: e.stat(follow_symlinks=False).st_size for e in entries if e.is_file() and e.name[0] != "."}

"""Reconciles posts, ledger and files of one bucket: manifest rows where they agree, problems where they do not.

Pure. Here the promise of a release is kept: every post has one ledger row that says what became of its file, and a row
that says ``ok`` has its file on disk. A problem is one line, ``"<id>: <what is wrong>"``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from danbooru_pipeline.layout import bucket_of, original_path, px512_path
from danbooru_pipeline.outcomes import Reason, Status, status_of
from danbooru_pipeline.posts import Post
from danbooru_pipeline.posts.fetchable import why_not_fetched
from danbooru_pipeline.release.manifest.row import ManifestRow
from danbooru_pipeline.store.columns import ABSENT, ORIGINAL_FACTS, PX512_FACTS
from danbooru_pipeline.store.ledger import LedgerRow
from danbooru_pipeline.years import sfw_ratings

#: Reasons that follow from the metadata alone: the row has one exactly when the post says so.
_FROM_METADATA = frozenset({Reason.BANNED, Reason.RESTRICTED, Reason.BAD_ROW, Reason.EXPUNGED, Reason.TAGS_UNKNOWN})

#: 512px outcomes that the manifest derives itself; in the ledger row of an SFW post they are out of date.
DERIVED = frozenset({Reason.RATING, Reason.NO_ORIGINAL})


@dataclass(frozen=True, slots=True)
class _Px512:
    """Outcome of a post's 512px image in a release: there, or why not."""

    reason: Reason | None


def reconcile_bucket(
    posts: Iterable[Post],
    ledger: Mapping[int, LedgerRow],
    original_files: Mapping[str, int],
    px512_files: Mapping[str, int],
    *,
    year: int,
    px512_settings: str,
) -> tuple[list[ManifestRow], list[str]]:
    """Reconcile a bucket's posts, ledger and files. Returns rows and problems, each by id.

    Args:
        posts: the bucket's posts of the release.
        ledger: rows by id; those of expunged posts, or of later releases, are skipped.
        original_files: name -> size in bytes of the bucket's originals.
        px512_files: the same of its 512px images.
        year: of the release.
        px512_settings: fingerprint of the settings that 512px images must be made with.
    """
    sfw = sfw_ratings(year)
    rows: dict[int, ManifestRow] = {}
    problems: list[str] = []
    seen: set[int] = set()
    for post in sorted(posts, key=lambda post: post.id):
        row = ledger.get(post.id)
        problem = "has more than one post" if post.id in seen else _row_problem(post, row, original_files)
        seen.add(post.id)
        px512 = None if problem or not row else _px512_of(post, row, px512_files, sfw=sfw, settings=px512_settings)
        if row is not None and isinstance(px512, _Px512):
            rows[post.id] = _manifest_row(post, row, px512, year=year)
        else:
            problems.append(f"{post.id}: {problem or px512}")
    problems += [
        f"{id_}: has a ledger row ({ledger[id_].reason or 'ok'}) but no post"
        for id_ in sorted(ledger.keys() - seen)
        if not _may_lack_post(ledger[id_], year)
    ]
    return list(rows.values()), problems


def _may_lack_post(row: LedgerRow, year: int) -> bool:
    later = row.first_release is not None and row.first_release > year
    return later or row.reason is Reason.EXPUNGED


def _row_problem(post: Post, row: LedgerRow | None, files: Mapping[str, int]) -> str | None:
    """What is wrong between a post, its ledger row and its original; None when they agree."""
    if row is None:
        return "has no ledger row"
    expected = why_not_fetched(post)
    if expected is None and _is_choice(post, row):
        return None
    if expected is not row.reason and (expected is not None or row.reason in _FROM_METADATA):
        return f"the ledger says {row.reason or 'ok'}, the metadata says {expected or 'that it has a file'}"
    if expected is not None:
        return None  # the row may still describe an earlier file, so that it can be restored
    if row.md5 != post.md5 or row.ext != post.ext:
        return f"the ledger is about {row.md5}.{row.ext}, the metadata about {post.md5}.{post.ext}"
    return _original_problem(post, row, files) if row.status is Status.OK else None


def _is_choice(post: Post, row: LedgerRow) -> bool:
    """Whether a row follows from the tags that the operator excluded when it was planned, and not from the post."""
    return row.reason is Reason.EXCLUDED_TAG or (row.reason is Reason.TAGS_UNKNOWN and post.tags is None)


def _original_problem(post: Post, row: LedgerRow, files: Mapping[str, int]) -> str | None:
    size = files.get(f"{post.id}.{row.held_ext}")
    if size is None:
        return "the ledger says ok, but the original is not there"
    if row.sha256 is None or row.size is None:
        return "the ledger says ok without size and SHA-256"
    if size != row.size:
        return f"the original has {size} bytes, the ledger says {row.size}"
    return None


def _px512_of(
    post: Post, row: LedgerRow, files: Mapping[str, int], *, sfw: tuple[str, ...], settings: str
) -> _Px512 | str:
    """The outcome of a post's 512px image, or its problem."""
    if post.rating not in sfw:
        return _Px512(Reason.RATING)
    if row.status is not Status.OK:
        return _Px512(Reason.NO_ORIGINAL)
    problem = _px512_problem(row, files.get(f"{post.id}.jpg"), settings)
    if problem is not None:
        return problem
    return _Px512(row.px512_reason)


def _px512_problem(row: LedgerRow, size: int | None, settings: str) -> str | None:
    if row.px512_settings is None:
        return "its 512px image was never tried"
    if row.px512_settings != settings:
        return f"its 512px image was made with the settings {row.px512_settings}, not {settings}"
    if row.px512_reason in DERIVED:
        return f"its 512px image was left out for {row.px512_reason}, which no longer holds"
    return None if row.px512_reason is not None else _px512_file_problem(row, size)


def _px512_file_problem(row: LedgerRow, size: int | None) -> str | None:
    if size is None:
        return "the ledger says that it has a 512px image, but that is not there"
    if row.px512_sha256 is None or size != row.px512_size:
        return f"the 512px image has {size} bytes, the ledger says {row.px512_size}"
    if row.px512_dhash is None or row.px512_phash is None:
        return "its 512px image was made by a version that computed no perceptual hashes"
    return None


def _manifest_row(post: Post, row: LedgerRow, px512: _Px512, *, year: int) -> ManifestRow:
    """The row of a release; facts of a file that it does not hold are left out, whatever the store knows of it."""
    held = row.status is Status.OK and post.ext is not None
    names = (*(ORIGINAL_FACTS if held else ()), *(PX512_FACTS if px512.reason is None else ()))
    facts = {**ABSENT, **{name: getattr(row, name) for name in names}}
    return ManifestRow(
        id=post.id,
        bucket=bucket_of(post.id),
        rating=post.rating,
        status=row.status.value,
        reason=None if row.reason is None else row.reason.value,
        path=original_path(post.id, str(row.held_ext)) if held else None,
        source_md5=post.md5,
        source_md5_matches=row.source_md5_matches if held else None,
        source_pixel_hash=post.pixel_hash,
        pixel_hash_matches=_pixel_hash_matches(post, row) if held else None,
        px512_status=status_of(px512.reason).value,
        px512_reason=None if px512.reason is None else px512.reason.value,
        px512_path=None if px512.reason else px512_path(post.id),
        first_release=row.first_release or year,
        **facts,
    )


def _pixel_hash_matches(post: Post, row: LedgerRow) -> bool | None:
    """As `LedgerRow.pixel_hash_matches`, but by the post of this release."""
    known = post.pixel_hash is not None and row.pixel_hash is not None
    return post.pixel_hash == row.pixel_hash if known else None

"""Posts, ledger and files of one bucket, held against each other: manifest rows where they agree, problems where not.

Pure. The rule of the house is kept here: every post has one ledger row that says what became of its file, and a row
that says ``ok`` has its file on disk. A problem is one line, ``"<id>: <what is wrong>"``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from danbooru_pipeline.layout import bucket_of, original_path, px512_path
from danbooru_pipeline.outcomes import Reason, Status, status_of
from danbooru_pipeline.posts import Post
from danbooru_pipeline.store.ledger import LedgerRow
from danbooru_pipeline.store.plan import reason_without_request
from danbooru_pipeline.years import sfw_ratings

#: Reasons that follow from the metadata alone. A row that has one must agree with the post, in both directions.
_FROM_METADATA = frozenset({Reason.BANNED, Reason.RESTRICTED, Reason.BAD_ROW, Reason.EXPUNGED})

#: 512px outcomes that the manifest derives itself; in a ledger row that should have an image they are out of date.
_DERIVED = frozenset({Reason.RATING, Reason.NO_ORIGINAL})

#: Facts of the original that are passed on as they are.
_FACTS = ("alpha", "color_space", "has_profile", "orientation", "optimized", "optimized_by", "kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """What became of one post's files in one release. Facts of a file are None when the release does not hold it.

    Attributes:
        source_md5: MD5 that the metadata announce.
        fetched_md5, source_size: of the bytes that the source sent, before optimisation.
        path, px512_path: relative to the release.
    """

    id: int
    bucket: str
    rating: str | None
    status: str
    reason: str | None = None
    path: str | None = None
    size: int | None = None
    sha256: str | None = None
    source_md5: str | None = None
    source_size: int | None = None
    source_md5_matches: bool | None = None
    fetched_md5: str | None = None
    file_type: str | None = None
    width: int | None = None
    height: int | None = None
    pages: int | None = None
    flags: tuple[str, ...] = ()
    alpha: bool | None = None
    color_space: str | None = None
    has_profile: bool | None = None
    orientation: int | None = None
    optimized: bool | None = None
    optimized_by: str | None = None
    kept: str | None = None
    px512_status: str
    px512_reason: str | None = None
    px512_path: str | None = None
    px512_size: int | None = None
    px512_sha256: str | None = None
    px512_background: str | None = None
    px512_flags: tuple[str, ...] = ()
    first_release: int


@dataclass(frozen=True, slots=True)
class _Px512:
    """Outcome of a post's 512px image."""

    reason: Reason | None
    size: int | None = None
    sha256: str | None = None


def reconcile_bucket(
    posts: Iterable[Post],
    ledger: Mapping[int, LedgerRow],
    original_files: Mapping[str, int],
    px512_files: Mapping[str, int],
    *,
    year: int,
    px512_settings: str,
) -> tuple[list[ManifestRow], list[str]]:
    """Hold a bucket's posts, ledger and files against each other. Returns rows and problems, each by id.

    Args:
        posts: the bucket's posts of the release.
        ledger: rows by id; those of posts that are gone, or of later releases, are passed over.
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
    expected = reason_without_request(post, frozenset())
    if row.reason is Reason.EXCLUDED_TAG and expected is None:
        return None  # the operator's choice, not a fact of the post
    if expected is not row.reason and (expected is not None or row.reason in _FROM_METADATA):
        return f"the ledger says {row.reason or 'ok'}, the metadata say {expected or 'that it has a file'}"
    if expected is not None:
        return None  # the row may still speak of an earlier file, so that it can come back
    if row.md5 != post.md5 or row.ext != post.ext:
        return f"the ledger is about {row.md5}.{row.ext}, the metadata about {post.md5}.{post.ext}"
    return _original_problem(post, row, files) if row.status is Status.OK else None


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
    """The outcome of a post's 512px image, or what is wrong with it."""
    if post.rating not in sfw:
        return _Px512(Reason.RATING)
    if row.status is not Status.OK:
        return _Px512(Reason.NO_ORIGINAL)
    problem = _px512_problem(row, files.get(f"{post.id}.jpg"), settings)
    if problem is not None:
        return problem
    return _Px512(row.px512_reason) if row.px512_reason else _Px512(None, row.px512_size, row.px512_sha256)


def _px512_problem(row: LedgerRow, size: int | None, settings: str) -> str | None:
    if row.px512_settings is None:
        return "its 512px image was never tried"
    if row.px512_settings != settings:
        return f"its 512px image was made with the settings {row.px512_settings}, not {settings}"
    if row.px512_reason in _DERIVED:
        return f"its 512px image was left out for {row.px512_reason}, which no longer holds"
    if row.px512_reason is None and size is None:
        return "the ledger says that it has a 512px image, but that is not there"
    if row.px512_reason is None and (row.px512_sha256 is None or size != row.px512_size):
        return f"the 512px image has {size} bytes, the ledger says {row.px512_size}"
    return None


def _manifest_row(post: Post, row: LedgerRow, px512: _Px512, *, year: int) -> ManifestRow:
    held = row.status is Status.OK and post.ext is not None
    return ManifestRow(
        id=post.id,
        bucket=bucket_of(post.id),
        rating=post.rating,
        status=row.status.value,
        reason=None if row.reason is None else row.reason.value,
        path=original_path(post.id, str(row.held_ext)) if held else None,
        size=row.size if held else None,
        sha256=row.sha256 if held else None,
        source_md5=post.md5,
        source_size=row.source_size if held else None,
        source_md5_matches=row.source_md5_matches if held else None,
        fetched_md5=row.fetched_md5 if held else None,
        file_type=row.file_type if held else None,
        width=row.width if held else None,
        height=row.height if held else None,
        pages=row.pages if held else None,
        flags=row.flags if held else (),
        **{name: getattr(row, name) if held else None for name in _FACTS},
        px512_status=status_of(px512.reason).value,
        px512_reason=None if px512.reason is None else px512.reason.value,
        px512_path=None if px512.reason else px512_path(post.id),
        px512_size=px512.size,
        px512_sha256=px512.sha256,
        px512_background=row.px512_background if px512.reason is None else None,
        px512_flags=row.px512_flags if px512.reason is None else (),
        first_release=row.first_release or year,
    )

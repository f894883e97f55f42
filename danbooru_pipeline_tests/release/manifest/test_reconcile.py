"""Reconciliation: what agrees becomes rows, what does not is named."""

from dataclasses import replace

import pytest

from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts import Post
from danbooru_pipeline.release import ManifestRow, reconcile_bucket
from danbooru_pipeline.store.ledger import LedgerRow
from danbooru_pipeline_tests.support.held_file import FILES, POST, PX512_FILES, ROW

GONE = LedgerRow(id=1001, md5="a" * 32, ext="png", reason=Reason.GONE, first_release=2021)


def reconcile(
    posts: list[Post],
    ledger: list[LedgerRow],
    *,
    files: dict[str, int] | None = None,
    px512: dict[str, int] | None = None,
    year: int = 2021,
) -> tuple[list[ManifestRow], list[str]]:
    """Reconcile with the files that `ROW` describes, unless others are given."""
    return reconcile_bucket(
        posts,
        {row.id: row for row in ledger},
        FILES if files is None else files,
        PX512_FILES if px512 is None else px512,
        year=year,
        px512_settings="q90",
    )


def test_post_with_row_and_files_becomes_a_full_row() -> None:
    """A post whose row and files agree has paths, sizes and sums of both files."""
    rows, problems = reconcile([POST], [ROW])
    assert problems == []
    (row,) = rows
    assert (row.path, row.size, row.sha256) == ("original/0001/1001.png", 10, "b" * 64)
    assert (row.px512_path, row.px512_size, row.px512_status) == ("512px/0001/1001.jpg", 5, "ok")
    assert (row.source_md5, row.source_md5_matches, row.first_release) == ("a" * 32, True, 2021)


@pytest.mark.parametrize(
    ("post", "row", "reason"),
    [
        (POST, GONE, Reason.GONE),
        (POST, replace(GONE, reason=Reason.RETRY_EXHAUSTED), Reason.RETRY_EXHAUSTED),
        (POST, replace(ROW, reason=Reason.EXCLUDED_TAG), Reason.EXCLUDED_TAG),
        (replace(POST, tags=None), replace(ROW, reason=Reason.TAGS_UNKNOWN), Reason.TAGS_UNKNOWN),
        (replace(POST, is_banned=True), replace(ROW, reason=Reason.BANNED), Reason.BANNED),
        (replace(POST, md5=None, file_url=None), replace(ROW, reason=Reason.RESTRICTED), Reason.RESTRICTED),
        (replace(POST, ext="exe"), replace(GONE, ext="exe", reason=Reason.BAD_ROW), Reason.BAD_ROW),
    ],
)
def test_row_without_file_says_nothing_of_one(post: Post, row: LedgerRow, reason: Reason) -> None:
    """A post without a file in this release has its reason and no path, size or sum, even if there was one once."""
    rows, problems = reconcile([post], [row])
    assert problems == []
    assert (rows[0].reason, rows[0].px512_reason) == (reason, Reason.NO_ORIGINAL)
    assert (rows[0].path, rows[0].size, rows[0].sha256, rows[0].fetched_md5) == (None, None, None, None)


@pytest.mark.parametrize(
    ("rating", "year", "status"), [("q", 2021, "skipped"), ("g", 2021, "skipped"), ("g", 2022, "ok")]
)
def test_512px_image_follows_the_ratings_of_the_year(rating: str, year: int, status: str) -> None:
    """Only SFW ratings of the year have a 512px image; one that the store still holds is left out."""
    rows, problems = reconcile([replace(POST, rating=rating)], [ROW], year=year)
    assert problems == []
    assert rows[0].px512_status == status
    assert (rows[0].px512_path is None) == (status != "ok")


def test_512px_failure_keeps_its_reason() -> None:
    """A 512px image that could not be made is a row with that reason."""
    rows, _ = reconcile([POST], [replace(ROW, px512_reason=Reason.UNDECODABLE)], px512={})
    assert (rows[0].px512_status, rows[0].px512_reason) == ("failed", "undecodable")


@pytest.mark.parametrize(
    ("posts", "ledger", "message"),
    [
        ([POST], [], "has no ledger row"),
        ([POST, POST], [ROW], "more than one post"),
        ([], [ROW], "has a ledger row (ok) but no post"),
        ([replace(POST, md5="d" * 32)], [ROW], "the metadata about dddd"),
        ([replace(POST, ext="jpg")], [ROW], "the metadata about aaaa"),
        ([replace(POST, is_banned=True)], [ROW], "the ledger says ok, the metadata says banned"),
        ([POST], [replace(ROW, reason=Reason.BANNED)], "the ledger says banned"),
        ([POST], [replace(ROW, reason=Reason.TAGS_UNKNOWN)], "the ledger says tags_unknown"),
        ([POST], [replace(ROW, reason=Reason.EXPUNGED)], "the ledger says expunged"),
        ([POST], [replace(ROW, size=11)], "has 10 bytes, the ledger says 11"),
        ([POST], [replace(ROW, sha256=None)], "without size and SHA-256"),
        ([POST], [replace(ROW, px512_settings=None)], "was never tried"),
        ([POST], [replace(ROW, px512_settings="q80")], "settings q80, not q90"),
        ([POST], [replace(ROW, px512_reason=Reason.RATING)], "left out for rating"),
        ([POST], [replace(ROW, px512_size=6)], "has 5 bytes, the ledger says 6"),
        ([POST], [replace(ROW, px512_dhash=None)], "computed no perceptual hashes"),
    ],
)
def test_disagreement_is_named(posts: list[Post], ledger: list[LedgerRow], message: str) -> None:
    """What does not agree is one line that begins with the id, and no row of it is guessed."""
    rows, problems = reconcile(posts, ledger)
    assert len(problems) == 1
    assert problems[0].startswith("1001: ")
    assert message in problems[0]
    assert len(rows) == (len(posts) == 2)


def test_missing_files_are_named() -> None:
    """An ok row without its original, or without its 512px image, is a problem."""
    assert "original is not there" in reconcile([POST], [ROW], files={})[1][0]
    assert "512px image, but that is not there" in reconcile([POST], [ROW], px512={})[1][0]


def test_rows_of_later_releases_and_expunged_posts_are_passed_over() -> None:
    """The ledger may know posts that this release does not have."""
    later, gone = replace(ROW, first_release=2022), replace(ROW, id=2001, reason=Reason.EXPUNGED)
    assert reconcile([], [later, gone]) == ([], [])

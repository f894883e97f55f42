"""A bucket's 512px images: every SFW post of a release has one, or a reason why not.

Most were made with the original, from the same read. What is left are posts whose rating changed, images made with
other settings, and files that are gone.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.images import ImageJob, ImageResult, make_contact_sheet
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.outcomes import Status
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger, write_ledger
from danbooru_pipeline.store.originals import read_bucket_posts
from danbooru_pipeline.store.plan import list_files
from danbooru_pipeline.years import sfw_ratings


@dataclass(frozen=True, slots=True, kw_only=True)
class Px512Report:
    """What work on a bucket's 512px images came to. Sizes in bytes.

    Attributes:
        wanted: SFW posts of the release that have an original.
        files: 512px images of them in the store.
        made: in this run; the others were there.
        sheet: a small JPEG that shows some of them, None when there are none.
    """

    wanted: int
    files: int
    made: int
    bytes_stored: int
    reasons: Mapping[str, int]
    seconds: float
    sheet: bytes | None = None


def plan_px512(
    rows: Mapping[int, LedgerRow], files: Mapping[str, int], *, wanted: frozenset[int], settings: str
) -> list[LedgerRow]:
    """Rows whose 512px image has to be made: never tried, made with other settings, or not there in full.

    Args:
        rows: the bucket's ledger.
        files: name -> size in bytes of the 512px images in the store.
        wanted: ids with an SFW rating.
        settings: fingerprint of the settings to make them with.
    """
    return [
        row
        for row in rows.values()
        if row.id in wanted
        and row.status is Status.OK
        and (
            row.px512_settings != settings
            or (row.px512_reason is None and files.get(f"{row.id}.jpg") != row.px512_size)
        )
    ]


def build_px512(context: RunContext, bucket: str, year: int) -> Px512Report:
    """Complete a bucket's 512px images for the ratings of a release."""
    began = time.monotonic()
    ratings = sfw_ratings(year)
    with exclusive(context.layout.bucket_lock(bucket)):  # runs of two years may meet in one bucket
        rows = read_ledger(context.layout.ledger(bucket))
        wanted = frozenset(p.id for p in read_bucket_posts(context, bucket, year) if p.rating in ratings)
        files = list_files(context.layout.px512_bucket(bucket))
        todo = plan_px512(rows, files, wanted=wanted, settings=context.image_settings.fingerprint())
        made = 0
        for row, future in [(row, context.images.submit(_job(context, row))) for row in todo]:
            rows[row.id] = _with_px512(row, future.result(), context)
            made += rows[row.id].px512_reason is None
        if todo:
            write_ledger(context.layout.ledger(bucket), rows.values())
    chosen = [rows[i] for i in wanted if i in rows and rows[i].status is Status.OK]
    stored = [row for row in chosen if row.px512_reason is None]
    return Px512Report(
        wanted=len(chosen),
        files=len(stored),
        made=made,
        bytes_stored=sum(row.px512_size or 0 for row in stored),
        reasons=dict(Counter(str(row.px512_reason) for row in chosen if row.px512_reason is not None)),
        seconds=time.monotonic() - began,
        sheet=make_contact_sheet([context.layout.px512(row.id) for row in sorted(stored, key=lambda row: row.id)]),
    )


def _job(context: RunContext, row: LedgerRow) -> ImageJob:
    assert row.held_ext is not None, "rows with a file have an extension"
    return ImageJob(
        source=context.layout.original(row.id, row.held_ext),
        px512=context.layout.px512(row.id),
        settings=context.image_settings,
    )


def _with_px512(row: LedgerRow, result: ImageResult, context: RunContext) -> LedgerRow:
    return replace(
        row,
        px512_reason=result.px512_reason,
        px512_size=result.px512_size,
        px512_sha256=result.px512_sha256,
        px512_background=result.background,
        px512_flags=result.px512_flags,
        px512_settings=context.image_settings.fingerprint(),
    )

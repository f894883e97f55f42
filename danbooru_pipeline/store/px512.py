"""A bucket's 512px images: every SFW post of a release has one, or a reason why not.

Most were made together with the original, from the same read. What is left are posts whose rating changed, images made
with other settings, and files that are gone.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.images import ImageJob, make_contact_sheet
from danbooru_pipeline.io.leases import leased
from danbooru_pipeline.outcomes import Status
from danbooru_pipeline.store.ledger import LedgerRow, with_px512, write_ledger
from danbooru_pipeline.store.plan import list_files
from danbooru_pipeline.store.planning import read_bucket_posts, require_posts
from danbooru_pipeline.store.recovery import ledger_or_recovered
from danbooru_pipeline.years import sfw_ratings


@dataclass(frozen=True, slots=True, kw_only=True)
class Px512Report:
    """What a build did for a bucket's 512px images, and what they are now. Sizes in bytes.

    Attributes:
        wanted: SFW posts of the release that have an original.
        files: 512px images of them in the store.
        made: by this build; the others were there.
        reasons: of the wanted posts that have no 512px image.
        sheet: a small JPEG that shows some of them; None without any.
        folder: that has all of them.
    """

    wanted: int
    files: int
    made: int
    bytes_stored: int
    reasons: Mapping[str, int]
    seconds: float
    sheet: bytes | None = None
    folder: Path


@dataclass(frozen=True, slots=True)
class Px512Plan:
    """A 512px image to make: the row of its post, and the extension of the original in the store."""

    row: LedgerRow
    ext: str


def plan_px512(
    rows: Mapping[int, LedgerRow], files: Mapping[str, int], *, wanted: frozenset[int], settings: str
) -> list[Px512Plan]:
    """Images to make: never tried, made with other settings or without perceptual hashes, or not there in full.

    Args:
        rows: the bucket's ledger.
        files: name -> size in bytes of the 512px images in the store.
        wanted: ids with an SFW rating.
        settings: fingerprint of the settings to make them with.
    """
    return [
        Px512Plan(row, ext)
        for row in rows.values()
        if row.id in wanted
        and row.status is Status.OK
        and (ext := row.held_ext) is not None
        and (
            row.px512_settings != settings
            or (row.px512_reason is None and files.get(f"{row.id}.jpg") != row.px512_size)
            or (row.px512_reason is None and row.px512_dhash is None)
        )
    ]


def build_px512(context: RunContext, bucket: str, year: int) -> Px512Report:
    """Complete a bucket's 512px images for the ratings of a release.

    Raises:
        StoreError: the posts of the year were not brought yet.
        LeaseLost: this process stood still, and another one took the bucket over.
    """
    began = time.monotonic()
    layout, ratings = context.layout, sfw_ratings(year)
    require_posts(layout, year)
    with leased(layout.bucket_lock(bucket)) as lease:  # runs of two years may meet in one bucket
        rows = ledger_or_recovered(layout, bucket)
        wanted = frozenset(post.id for post in read_bucket_posts(layout, bucket, year) if post.rating in ratings)
        settings = context.image_settings.fingerprint()
        files = list_files(layout.px512_bucket(bucket))
        plans = plan_px512(rows, files, wanted=wanted, settings=settings)
        for plan, future in [(plan, context.images.submit(_job(context, plan))) for plan in plans]:
            result = future.result()
            row = replace(plan.row, pixel_hash=plan.row.pixel_hash or result.pixel_hash)
            rows[row.id] = with_px512(row, result, settings=settings)
        if plans:
            lease.check()
            write_ledger(layout.ledger(bucket), rows.values())
    chosen = [rows[id_] for id_ in wanted if id_ in rows and rows[id_].status is Status.OK]
    stored = [row for row in chosen if row.px512_reason is None]
    return Px512Report(
        wanted=len(chosen),
        files=len(stored),
        made=sum(rows[plan.row.id].px512_reason is None for plan in plans),
        bytes_stored=sum(row.px512_size or 0 for row in stored),
        reasons=dict(Counter(str(row.px512_reason) for row in chosen if row.px512_reason is not None)),
        seconds=time.monotonic() - began,
        sheet=make_contact_sheet([layout.px512(row.id) for row in sorted(stored, key=lambda row: row.id)]),
        folder=layout.px512_bucket(bucket),
    )


def _job(context: RunContext, plan: Px512Plan) -> ImageJob:
    return ImageJob(
        source=context.layout.original(plan.row.id, plan.ext),
        px512=context.layout.px512(plan.row.id),
        hash_pixels=plan.row.pixel_hash is None,  # the row of an earlier version has none
        settings=context.image_settings,
    )

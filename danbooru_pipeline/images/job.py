"""One image, one read: inspect it, optimise it, make its 512px image; then write what is new.

Everything is computed before anything is written, and the original is written last: a worker that dies half-way leaves
the store as it was, or with a 512px image that the next attempt replaces.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from danbooru_pipeline.images.archive import restore_jpeg
from danbooru_pipeline.images.downscale import Downscaled, downscale_image
from danbooru_pipeline.images.inspect import ImageFacts, compare_extension, inspect_image
from danbooru_pipeline.images.optimize import MAX_OPTIMIZED_PIXELS, Optimized, optimize_image
from danbooru_pipeline.images.pixel_hash import decode_for_both, hash_decoded, hash_pixels
from danbooru_pipeline.images.settings import ImageSettings
from danbooru_pipeline.images.words import ARCHIVER, Flag, Kept
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.io.md5 import md5_of_bytes
from danbooru_pipeline.layout import ARCHIVE_EXTENSION
from danbooru_pipeline.outcomes import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageJob:
    """What to do with one file.

    Attributes:
        source: the stored file; a JPG that is stored as JPEG XL is restored first.
        original: where optimised bytes go, usually `source` itself; None leaves the original alone.
            Nothing is written if optimisation gains nothing.
        archive: where a JPG is stored as JPEG XL; `original` is then removed. None keeps JPGs.
        px512: where the 512px image goes; None if none is wanted.
        hash_pixels: whether the pixel hash is wanted; a row that has it need not pay for it again.
        settings: what the results look like.
    """

    source: Path
    original: Path | None = None
    archive: Path | None = None
    px512: Path | None = None
    hash_pixels: bool = True
    settings: ImageSettings = field(default_factory=ImageSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """The outcome of one job. Sizes are in bytes.

    Attributes:
        facts: of the source; None if even its header killed its worker.
        sha256: of the original as it is stored now.
        size: likewise.
        unprocessed: whether the file killed or stalled its workers, so no pixel is known to be sound.
        stored_ext: extension of the original as it is stored now, if it differs from that of its format.
        pixel_hash: of the picture, the same before and after optimisation (see `pixel_hash`); None if it was not
            wanted, or the picture is too large to be decoded.
        restored_md5: of the restored JPG, if the source is JPEG XL.
        restored_size: likewise.
        optimized: whether smaller bytes were written to the job's `original` or `archive`.
        saved_bytes: by how much they are smaller.
        optimized_by: the tool that made the smaller bytes; None if the original ones were kept.
        kept: why the original bytes were kept, a value of `Kept`; None if they were optimised, or not to be.
        px512_reason: why there is no 512px image; None if it was made, or not wanted.
        px512_sha256: of the 512px image; None without one.
        px512_size: likewise.
        background: of the 512px image.
        px512_dhash: perceptual hash of the picture in it; None without one.
        px512_phash: likewise.
        px512_flags: values of `Quality`.
        cpu_seconds: user and system time of the whole job.
    """

    facts: ImageFacts | None
    sha256: str
    size: int
    unprocessed: bool = False
    stored_ext: str | None = None
    pixel_hash: str | None = None
    restored_md5: str | None = None
    restored_size: int | None = None
    optimized: bool = False
    saved_bytes: int = 0
    optimized_by: str | None = None
    kept: str | None = None
    px512_reason: Reason | None = None
    px512_sha256: str | None = None
    px512_size: int | None = None
    background: str | None = None
    px512_dhash: bytes | None = None
    px512_phash: bytes | None = None
    px512_flags: tuple[str, ...] = ()
    cpu_seconds: float = 0.0


def _ignore(_result: ImageResult) -> None:
    """Nobody waits for the first look."""


def run_image_job(job: ImageJob, note: Callable[[ImageResult], None] = _ignore) -> ImageResult:
    """Run a job in this process.

    Args:
        job: what to do.
        note: is called before any pixel is decoded, with what holds if this process does not survive that.

    Raises:
        OSError: a file could not be read or written; what is wrong with a picture is part of the result.
    """
    started = time.process_time()
    stored, ext = job.source.read_bytes(), job.source.suffix[1:]
    if ext == ARCHIVE_EXTENSION:
        result = _process_archived(job, stored, note=note)
    else:
        result = _process(job, stored, ext=ext, note=note)
    return replace(result, cpu_seconds=time.process_time() - started)


def _process_archived(job: ImageJob, stored: bytes, *, note: Callable[[ImageResult], None]) -> ImageResult:
    """Process a JPG that is stored as JPEG XL; its original stays as it is."""
    archived = ImageResult(
        facts=None,
        sha256=hashlib.sha256(stored).hexdigest(),
        size=len(stored),
        stored_ext=ARCHIVE_EXTENSION,
        optimized_by=ARCHIVER,
    )
    try:
        data = restore_jpeg(stored)
    except ValueError:
        return replace(archived, px512_reason=None if job.px512 is None else Reason.DAMAGED)
    restored_md5 = md5_of_bytes(data)

    def as_stored(result: ImageResult) -> ImageResult:
        return replace(
            result,
            sha256=archived.sha256,
            size=archived.size,
            stored_ext=archived.stored_ext,
            optimized_by=archived.optimized_by,
            restored_md5=restored_md5,
            restored_size=len(data),
        )

    jpg = replace(job, original=None, archive=None)
    return as_stored(_process(jpg, data, ext="jpg", note=lambda result: note(as_stored(result))))


def _process(job: ImageJob, data: bytes, *, ext: str, note: Callable[[ImageResult], None]) -> ImageResult:
    """The whole pipeline: facts, optimisation, 512px image, writing."""
    facts = compare_extension(inspect_image(data), ext)
    note(ImageResult(facts=facts, sha256=hashlib.sha256(data).hexdigest(), size=len(data), unprocessed=True))
    optimized = _optimize(job, data, facts=facts)
    facts = _add_noticed(facts, None if optimized is None else optimized.kept)
    pixel_hash = _known_hash(job, data, facts=facts, optimized=optimized)
    wants_both = job.hash_pixels and pixel_hash is None and job.px512 is not None
    opened = decode_for_both(data, facts) if wants_both and facts.pixels <= job.settings.max_pixels else None
    pixels = None if optimized is None else optimized.pixels
    px512 = _downscale(job, data, facts=facts, decoded=pixels if opened is None else opened)
    if job.hash_pixels and pixel_hash is None:
        pixel_hash = hash_pixels(data, facts, max_pixels=job.settings.max_pixels, opened=opened)
    return ImageResult(facts=facts, pixel_hash=pixel_hash, **_write(job, data, optimized=optimized, px512=px512))


def _known_hash(job: ImageJob, data: bytes, *, facts: ImageFacts, optimized: Optimized | None) -> str | None:
    """The pixel hash from pixels that the optimiser decoded; None where that is not enough, or it is not wanted."""
    if not job.hash_pixels or optimized is None:
        return None
    if optimized.pixel_hash is None and optimized.pixels is not None:
        return hash_decoded(optimized.pixels, data, facts)
    return optimized.pixel_hash


def _add_noticed(facts: ImageFacts, kept: str | None) -> ImageFacts:
    """Add what only the optimiser and its strict decode noticed."""
    if kept == Kept.CORRUPT and Flag.CORRUPT not in facts.flags:
        return replace(facts, flags=(*facts.flags, Flag.CORRUPT.value))
    if kept == Kept.TRAILING_DATA and Flag.TRAILING_DATA not in facts.flags:
        return replace(facts, flags=(Flag.TRAILING_DATA.value, *facts.flags))
    known = {Flag.UNUSUAL_JPEG, Flag.TOO_MANY_SCANS} & set(facts.flags)
    if kept == Kept.UNUSUAL and facts.file_type == "jpg" and not known:
        return replace(facts, flags=(*facts.flags, Flag.UNUSUAL_JPEG.value))
    return facts


def _optimize(job: ImageJob, data: bytes, *, facts: ImageFacts) -> Optimized | None:
    if job.original is None:
        return None
    limit = min(job.settings.max_pixels, MAX_OPTIMIZED_PIXELS)
    archive = job.archive is not None and Flag.WRONG_EXTENSION not in facts.flags
    return optimize_image(data, facts, png_level=job.settings.png_level, archive=archive, max_pixels=limit)


def _downscale(job: ImageJob, data: bytes, *, facts: ImageFacts, decoded: Any) -> Downscaled | Reason | None:
    if job.px512 is None:
        return None
    return downscale_image(
        data,  # the source bytes: optimised JPEGs are progressive, and decode 1.7x slower
        facts,
        size=job.settings.px512_size,
        quality=job.settings.px512_quality,
        background=job.settings.background,
        max_pixels=job.settings.max_pixels,
        decoded=decoded,
    )


def _write(
    job: ImageJob, data: bytes, *, optimized: Optimized | None, px512: Downscaled | Reason | None
) -> dict[str, Any]:
    """Write what is new. Returns the fields of `ImageResult` that describe it."""
    fields: dict[str, Any] = {}
    if isinstance(px512, Reason):
        fields["px512_reason"] = px512
    elif px512 is not None and job.px512 is not None:
        write_atomic(job.px512, px512.data)
        fields |= {
            "px512_sha256": hashlib.sha256(px512.data).hexdigest(),
            "px512_size": len(px512.data),
            "background": px512.background,
            "px512_dhash": px512.hashes.dhash,
            "px512_phash": px512.hashes.phash,
            "px512_flags": px512.flags,
        }
    final = data
    if optimized is not None and optimized.tool is not None and job.original is not None:
        final = optimized.data
        if optimized.ext is None or job.archive is None:
            write_atomic(job.original, final)
        else:
            write_atomic(job.archive, final)
            job.original.unlink()  # killed between the two, both exist and the next run repeats the job
        fields |= {
            "optimized": True,
            "stored_ext": optimized.ext,
            "optimized_by": optimized.tool,
            "saved_bytes": len(data) - len(final),
        }
    fields["kept"] = None if optimized is None else optimized.kept
    return fields | {"sha256": hashlib.sha256(final).hexdigest(), "size": len(final)}

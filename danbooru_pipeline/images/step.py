"""One image, one read: look at it, optimise it, make its 512px image; then write what is new.

Everything is computed before anything is written, and the original is written last: a worker that dies half-way leaves
the store as it was, or with a 512px image that the next attempt replaces.
"""

import hashlib
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from danbooru_pipeline.images.archive import TOOL, restore_jpeg
from danbooru_pipeline.images.background import Background, Pixels
from danbooru_pipeline.images.downscale import MAX_PIXELS, Downscaled, downscale_image
from danbooru_pipeline.images.inspect import Flag, ImageFacts, compare_extension, inspect_image
from danbooru_pipeline.images.optimize import MAX_OPTIMIZED_PIXELS, Kept, Optimized, optimize_image
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.layout import ARCHIVE_EXTENSION
from danbooru_pipeline.outcomes import Reason

#: Whether JPG originals are kept as they are, or as JPEG XL.
JpgArchive = Literal["off", "jxl"]
#: How every 512px image is made, for RELEASE.json. `px512_rules` counts up when the same settings give other bytes.
FIXED: Final = {
    "px512_encoding": "baseline JPEG, 4:4:4, optimised Huffman tables, no metadata",
    "px512_color": "sRGB; embedded ICC profiles are applied, PNG gAMA and cHRM are not",
    "px512_rules": 4,
    "jpg_optimizer": "mozjpeg, lossless, all markers kept",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    """Everything that decides what the bytes of a release look like.

    Attributes:
        png_level: oxipng's level, 0-6.
        px512_quality: JPEG quality of the 512px images.
        px512_size: their side in pixels.
        max_pixels: larger pictures are not decoded.
        background: what is behind transparent pictures.
        jpg_archive: ``jxl`` keeps JPG originals as JPEG XL, which gives them back byte for byte.
    """

    png_level: int = 2
    px512_quality: int = 90
    px512_size: int = 512
    max_pixels: int = MAX_PIXELS
    background: Background = "contrast"
    jpg_archive: JpgArchive = "off"

    def as_dict(self) -> dict[str, Any]:
        """For RELEASE.json: what can be chosen, and what cannot."""
        return asdict(self) | FIXED

    def fingerprint(self) -> str:
        """A short string that changes exactly when 512px images would; the level of lossless work changes none."""
        text = ",".join(
            f"{name}={value}"
            for name, value in sorted(self.as_dict().items())
            if name.startswith("px512") or name in {"background", "max_pixels"}
        )
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageJob:
    """What to do with one file.

    Attributes:
        source: the file as it is; a JPG that is kept as JPEG XL is turned back first.
        original: where optimised bytes go, usually `source` itself; None leaves the original alone.
            When optimising gains nothing, nothing is written.
        archive: where a JPG goes as JPEG XL, in place of `original`, which is removed then; None keeps JPGs.
        px512: where the 512px image goes; None when it is not wanted.
        settings: what the results look like.
    """

    source: Path
    original: Path | None = None
    archive: Path | None = None
    px512: Path | None = None
    settings: ImageSettings = field(default_factory=ImageSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """What became of one file.

    Attributes:
        facts: of the source; None when every attempt at it ended its worker.
        stored_ext: extension of the original as it now is, when the source's is another one.
        restored_md5: of the JPG that was turned back, when the source is JPEG XL.
        restored_size: the same, bytes.
        sha256: of the original as it now is.
        size: the same, bytes.
        optimized: whether smaller bytes were written to the job's `original` or `archive`.
        saved_bytes: how many fewer they are.
        optimized_by: what made the smaller bytes, None when the original ones stayed.
        kept: why the original bytes stayed, a value of `Kept`; None when optimised or not asked to.
        px512_reason: why there is no 512px image; None when it was made, or not wanted.
        px512_sha256: of the 512px image, None when there is none.
        px512_size: the same, bytes.
        background: of the 512px image.
        px512_flags: values of `Quality`.
        cpu_seconds: user and system time of the whole job.
    """

    facts: ImageFacts | None
    sha256: str
    size: int
    stored_ext: str | None = None
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
    px512_flags: tuple[str, ...] = ()
    cpu_seconds: float = 0.0


def run_image_job(job: ImageJob) -> ImageResult:
    """Do the job in this process. Only trouble with reading and writing raises."""
    started = time.process_time()
    stored, ext = job.source.read_bytes(), job.source.suffix[1:]
    result = _run_restored(job, stored) if ext == ARCHIVE_EXTENSION else _run(job, stored, ext=ext)
    return replace(result, cpu_seconds=time.process_time() - started)


def _run_restored(job: ImageJob, stored: bytes) -> ImageResult:
    """The job of a JPG that is kept as JPEG XL; its original stays as it is."""
    held = ImageResult(
        facts=None,
        sha256=hashlib.sha256(stored).hexdigest(),
        size=len(stored),
        stored_ext=ARCHIVE_EXTENSION,
        optimized_by=TOOL,
    )
    try:
        data = restore_jpeg(stored)
    except ValueError:
        return replace(held, px512_reason=None if job.px512 is None else Reason.DAMAGED)
    return replace(
        _run(replace(job, original=None, archive=None), data, ext="jpg"),
        sha256=held.sha256,
        size=held.size,
        stored_ext=held.stored_ext,
        optimized_by=held.optimized_by,
        restored_md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
        restored_size=len(data),
    )


def _run(job: ImageJob, data: bytes, *, ext: str) -> ImageResult:
    facts = compare_extension(inspect_image(data), ext)
    optimized = _optimize(data, facts, job)
    if optimized is not None and optimized.kept == Kept.CORRUPT and Flag.CORRUPT not in facts.flags:
        facts = replace(facts, flags=(*facts.flags, Flag.CORRUPT.value))  # only the decoder saw it
    px512 = _downscale(data, facts, job, decoded=None if optimized is None else optimized.pixels)
    return ImageResult(facts=facts, **_write(job, data, optimized, px512))


def _optimize(data: bytes, facts: ImageFacts, job: ImageJob) -> Optimized | None:
    if job.original is None:
        return None
    limit = min(job.settings.max_pixels, MAX_OPTIMIZED_PIXELS)
    archive = job.archive is not None and Flag.WRONG_EXTENSION not in facts.flags
    return optimize_image(data, facts, png_level=job.settings.png_level, archive=archive, max_pixels=limit)


def _downscale(data: bytes, facts: ImageFacts, job: ImageJob, *, decoded: Pixels | None) -> Downscaled | Reason | None:
    if job.px512 is None:
        return None
    return downscale_image(
        data,  # the bytes as they came: optimised JPEGs are progressive, and decode 1.7x slower
        facts,
        size=job.settings.px512_size,
        quality=job.settings.px512_quality,
        background=job.settings.background,
        max_pixels=job.settings.max_pixels,
        decoded=decoded,
    )


def _write(
    job: ImageJob, data: bytes, optimized: Optimized | None, px512: Downscaled | Reason | None
) -> dict[str, Any]:
    """Write what is new, and say so in the fields of an `ImageResult`."""
    fields: dict[str, Any] = {}
    if isinstance(px512, Reason):
        fields["px512_reason"] = px512
    elif px512 is not None and job.px512 is not None:
        write_atomic(job.px512, px512.data)
        fields |= {
            "px512_sha256": hashlib.sha256(px512.data).hexdigest(),
            "px512_size": len(px512.data),
            "background": px512.background,
            "px512_flags": px512.flags,
        }
    final = data
    if optimized is not None and optimized.tool is not None and job.original is not None:
        final = optimized.data
        if optimized.ext is None or job.archive is None:
            write_atomic(job.original, final)
        else:
            write_atomic(job.archive, final)
            job.original.unlink()  # after a kill between the two, both are there and the next run does it again
        fields |= {
            "optimized": True,
            "stored_ext": optimized.ext,
            "optimized_by": optimized.tool,
            "saved_bytes": len(data) - len(final),
        }
    fields["kept"] = None if optimized is None else optimized.kept
    return fields | {"sha256": hashlib.sha256(final).hexdigest(), "size": len(final)}

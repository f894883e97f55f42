"""Pictures of other sizes and formats than 512px, by the same decoders, colours and backgrounds; for exports.

Always upright, sRGB and opaque. A picture that cannot be rendered correctly gives a `Reason`, one that is smaller than
its frame `TOO_SMALL`, unless enlarging is allowed.
"""

import hashlib
import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pylibjxl
import pyvips
from PIL import Image, ImageFile

from danbooru_pipeline.images.archive import restore_jpeg
from danbooru_pipeline.images.background import choose_background
from danbooru_pipeline.images.decode import shrink_image
from danbooru_pipeline.images.downscale import refuse, why_undecoded
from danbooru_pipeline.images.errors import readable_errors
from danbooru_pipeline.images.inspect import ImageFacts, compare_extension, inspect_image
from danbooru_pipeline.images.job import ImageJob, ImageResult, run_image_job
from danbooru_pipeline.images.settings import MAX_PIXELS, Background
from danbooru_pipeline.io.atomic import commit_part, part_path
from danbooru_pipeline.layout import ARCHIVE_EXTENSION
from danbooru_pipeline.outcomes import Reason

Fit = Literal["inside", "pad", "crop", "buckets"]
Format = Literal["jpg", "webp", "png", "jxl"]
#: The picture is smaller than the frame that it should fill.
TOO_SMALL: Final = "too_small"
#: Sides of training buckets: multiples of this, from four of them to 32.
STEP: Final = 64
_SHORTEST, _LONGEST_SIDE = 4 * STEP, 32 * STEP


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderSettings:
    """What pictures should look like.

    Attributes:
        size: of the longer side (``inside``), of the square (``pad``, ``crop``), or the side of the square that has the
            area of a bucket; None leaves sizes alone, but for `max_pixels`.
        fit: ``inside`` keeps the whole picture, ``pad`` centres it on a square, ``crop`` cuts the middle of it,
            ``buckets`` cuts it to the training bucket of the nearest aspect.
        max_pixels: larger pictures are shrunk to this area.
        format: of the files.
        quality: 1 to 100; 100 is lossless for jxl and webp.
        background: behind transparent pictures, and around padded ones.
        enlarge: whether pictures smaller than their frame are enlarged.
    """

    size: int | None = 1024
    fit: Fit = "inside"
    max_pixels: int | None = None
    format: Format = "jpg"
    quality: int = 90
    background: Background = "contrast"
    enlarge: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderJob(ImageJob):
    """One picture to be rendered.

    Attributes:
        target: where it goes.
        render: how.
    """

    target: Path
    render: RenderSettings = field(default_factory=RenderSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderResult(ImageResult):
    """The outcome: `px512_size` and `px512_sha256` are those of the rendered file.

    Attributes:
        left_out: why there is no file; None if there is one.
        rendered_width, rendered_height: of it.
    """

    left_out: str | None = None
    rendered_width: int = 0
    rendered_height: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """The sizes of the scaled picture, and of the canvas that it is centred on or cut to."""

    width: int
    height: int
    canvas_width: int
    canvas_height: int


def run_render_job(job: ImageJob, note: Callable[[ImageResult], None]) -> ImageResult:
    """Run a job in this process; a job that is not about rendering as `run_image_job` does.

    Args:
        job: what to do.
        note: is told before any pixel is decoded what holds if this process does not survive that.

    Raises:
        OSError: a file could not be read or written.
    """
    if not isinstance(job, RenderJob):
        return run_image_job(job, note)
    started = time.process_time()
    stored = job.source.read_bytes()
    blank = RenderResult(facts=None, sha256="", size=len(stored))
    note(replace(blank, unprocessed=True))
    opened = inspect_stored(stored, job.source.suffix[1:])
    if opened is None:
        return replace(blank, left_out=Reason.DAMAGED.value)
    data, facts = opened
    rendered = render_image(data, facts, job.render)
    if isinstance(rendered, str):
        return replace(blank, facts=facts, left_out=rendered)
    made = encode(rendered, job.render)
    part = part_path(job.target)
    part.write_bytes(made)  # not flushed: whoever repeats the export makes it again
    commit_part(part, job.target, flush_folder=False)
    return replace(
        blank,
        facts=facts,
        px512_sha256=hashlib.sha256(made).hexdigest(),
        px512_size=len(made),
        rendered_width=rendered.width,
        rendered_height=rendered.height,
        cpu_seconds=time.process_time() - started,
    )


def inspect_stored(stored: bytes, ext: str) -> tuple[bytes, ImageFacts] | None:
    """What decoders read of a file of the store, and its facts; None for an archived JPEG that is damaged."""
    if ext == ARCHIVE_EXTENSION:
        try:
            stored, ext = restore_jpeg(stored), "jpg"
        except ValueError:
            return None
    return stored, compare_extension(inspect_image(stored), ext)


def render_image(data: bytes, facts: ImageFacts, settings: RenderSettings) -> Image.Image | str:
    """The picture, or the reason why there is none."""
    refusal = refuse(facts, max_pixels=MAX_PIXELS)
    if refusal is not None:
        return refusal.value
    frame = frame_of(*facts.upright_size, settings)
    if frame is None:
        return TOO_SMALL
    try:
        with readable_errors():
            return _on_canvas(_scaled(data, facts, frame), frame, settings.background)
    except (ValueError, pyvips.Error) as error:
        return why_undecoded(error, facts).value


def frame_of(width: int, height: int, settings: RenderSettings) -> Frame | None:
    """Sizes for a picture of this size; None if it is too small for its frame."""
    limit = math.sqrt(settings.max_pixels / (width * height)) if settings.max_pixels else math.inf
    size = settings.size
    if size is None or settings.fit in ("inside", "pad"):
        scale = min(limit, math.inf if size is None else size / max(width, height))
        if not settings.enlarge or math.isinf(scale):
            scale = min(1.0, scale)
        # Rounded down where an area is given, or it would be exceeded.
        scaled = [max(1, math.floor(side * scale + (1e-9 if scale == limit else 0.5))) for side in (width, height)]
        canvas = [size, size] if size is not None and settings.fit == "pad" else scaled
        return Frame(*scaled, *canvas)
    canvas_width, canvas_height = (size, size) if settings.fit == "crop" else _bucket(width, height, settings)
    if min(canvas_width, canvas_height) < 1:
        return None
    scale = max(canvas_width / width, canvas_height / height)
    if scale > 1 and not settings.enlarge:
        return None
    scaled_width, scaled_height = (
        max(canvas, round(side * scale)) for canvas, side in ((canvas_width, width), (canvas_height, height))
    )
    return Frame(scaled_width, scaled_height, canvas_width, canvas_height)


def _bucket(width: int, height: int, settings: RenderSettings) -> tuple[int, int]:
    """The bucket of a picture: of the nearest aspect, and no larger than the picture unless that may be enlarged."""
    size = settings.size or 1024
    if width * height < size * size and not settings.enlarge:
        return width // STEP * STEP, height // STEP * STEP
    aspect = math.log(width / height)
    buckets = training_buckets(size)
    fitting = [b for b in buckets if settings.enlarge or (b[0] <= width and b[1] <= height)] or buckets
    return min(fitting, key=lambda bucket: abs(math.log(bucket[0] / bucket[1]) - aspect))


@lru_cache
def training_buckets(size: int) -> tuple[tuple[int, int], ...]:
    """Widths and heights of multi-aspect training: multiples of 64 of at most the area of a square of `size`."""
    found = {(max(STEP, size // STEP * STEP),) * 2}
    shortest, longest = min(_SHORTEST, size), max(_LONGEST_SIDE, size)
    for side in range(shortest // STEP * STEP or STEP, longest + 1, STEP):
        other = min(longest, size * size // side // STEP * STEP)
        if other >= shortest // STEP * STEP and other:
            found |= {(side, other), (other, side)}
    return tuple(sorted(found))


def _scaled(data: bytes, facts: ImageFacts, frame: Frame) -> Any:
    """The picture in exactly the size of a frame."""
    image, _ = shrink_image(data, facts, size=max(frame.width, frame.height))
    if (image.width, image.height) == (frame.width, frame.height):
        return image
    pixels = image.write_to_memory()  # what was decoded in one pass cannot be read twice
    whole = pyvips.Image.new_from_memory(pixels, image.width, image.height, image.bands, "uchar")
    whole = whole.copy(interpretation="srgb")
    return whole.thumbnail_image(frame.width, height=frame.height, size="force")


def _on_canvas(image: Any, frame: Frame, background: Background) -> Image.Image:
    pixels = np.frombuffer(image.write_to_memory(), np.uint8).reshape(image.height, image.width, image.bands)
    has_alpha = pixels.shape[2] == 4
    exact = (frame.canvas_width, frame.canvas_height) == (frame.width, frame.height)
    if exact and not has_alpha:
        return Image.fromarray(pixels)
    _, level = choose_background(pixels if has_alpha else None, background)
    picture = Image.fromarray(pixels)
    canvas = Image.new("RGB", (frame.canvas_width, frame.canvas_height), (level,) * 3)
    place = ((frame.canvas_width - frame.width) // 2, (frame.canvas_height - frame.height) // 2)
    canvas.paste(picture, place, mask=picture if has_alpha else None)
    return canvas


def encode(picture: Image.Image, settings: RenderSettings) -> bytes:
    """The bytes of a picture in the wanted format, without metadata."""
    if settings.format == "jxl":
        lossless = settings.quality >= 100
        distance = 0.0 if lossless else 0.1 + (100 - settings.quality) * 0.09
        data: bytes = pylibjxl.encode(np.asarray(picture), effort=4, distance=distance, lossless=lossless)
        return data
    buffer = io.BytesIO()
    if settings.format == "jpg":
        ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 6 * picture.width * picture.height)
        picture.save(buffer, "JPEG", quality=settings.quality, subsampling="4:4:4", optimize=True)
    elif settings.format == "webp":
        picture.save(buffer, "WEBP", quality=settings.quality, lossless=settings.quality >= 100, method=4)
    else:
        picture.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()

"""Lossless optimisation of PNG and JPG: new bytes are kept only if they are proven to decode to the same picture.

First the checks (whole, of a usual kind, nothing after the end), then the optimiser, then the proof; in any doubt the
original bytes stay. PNG: level 2 saves 3 points more than ``optipng -o2`` at a quarter of its CPU. JPG: mozjpeg
saves twice what jpegoptim does, and the strict decodes before and after cost less than a third of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import mozjpeg_lossless_optimization as mozjpeg
import numpy as np
import oxipng
import pyvips

from danbooru_pipeline.images.archive import archive_jpeg
from danbooru_pipeline.images.background import Pixels
from danbooru_pipeline.images.errors import readable_errors
from danbooru_pipeline.images.inspect import ImageFacts
from danbooru_pipeline.images.jpeg import carried_segments
from danbooru_pipeline.images.jpeg_decode import JpegFault, decode_jpeg, decode_strictly
from danbooru_pipeline.images.pixel_hash import PixelDigest, hash_held, strips_of
from danbooru_pipeline.images.png import (
    carried_chunks,
    has_background,
    has_hidden_data,
    is_colored,
    without_broken_alpha,
    without_offsets,
)
from danbooru_pipeline.images.png_filters import choose_filters
from danbooru_pipeline.images.words import ARCHIVER, JPG_OPTIMIZER, PNG_OPTIMIZERS, Flag, Kept
from danbooru_pipeline.layout import ARCHIVE_EXTENSION

#: Larger pictures are left as they are: at 0.7 s/MP they take a third of the time limit.
MAX_OPTIMIZED_PIXELS = 50_000_000
#: Likewise for the pixels of 16-bit pictures, on which every filter is tried. oxipng holds several rasters, asks for
#: two at once, and aborts the process when it runs out of memory: RGBA of 36 MP (288 MB) takes more than a worker's
#: 2 GiB, and of 25 MP all of its time on a busy machine.
MAX_DEEP_BYTES = 100_000_000

#: Levels whose filters are chosen on a sample -> effort of deflate. Lower levels try fewer filters, higher ones all.
#: Effort 11 instead of 10 takes 1.6 times the CPU for a percent more of drawn pictures, 0.7 of painted ones: level 3.
_SAMPLED = {2: 10, 3: 11}
#: Colour spaces of 16 bits -> bytes of a pixel without its alpha, which takes two more.
_SIXTEEN_BIT_SPACES = {"rgb16": 6, "grey16": 2}
_EIGHT_BIT_SPACES = frozenset({"srgb", "b-w"})


#: Flags that rule out optimisation. APNG: the decoder shows one frame, so the others could not be proven equal.
_RULED_OUT = {
    Flag.TRUNCATED: Kept.TRUNCATED,
    Flag.CORRUPT: Kept.CORRUPT,
    Flag.TRAILING_DATA: Kept.TRAILING_DATA,
    Flag.APNG: Kept.UNUSUAL,
    Flag.UNUSUAL_JPEG: Kept.UNUSUAL,
    Flag.TOO_MANY_SCANS: Kept.UNUSUAL,
}


@dataclass(frozen=True, slots=True)
class Optimized:
    """The outcome of optimisation.

    Attributes:
        data: the smaller bytes, or the original ones.
        tool: what made the smaller bytes; None if the original ones were kept.
        ext: extension that the smaller bytes need, if it is not the original one.
        kept: why the original bytes were kept, a value of `Kept`; None if they were not.
        pixels: of a JPEG that was strictly decoded on the way, so it is not decoded twice.
        pixel_hash: of a PNG, if its pixels passed by on the way (see `pixel_hash`).
    """

    data: bytes
    tool: str | None = None
    ext: str | None = None
    kept: str | None = None
    pixels: Pixels | None = field(default=None, repr=False, compare=False)
    pixel_hash: str | None = field(default=None, compare=False)


def optimize_image(
    data: bytes, facts: ImageFacts, *, png_level: int = 2, archive: bool = False, max_pixels: int = MAX_OPTIMIZED_PIXELS
) -> Optimized:
    """Optimise a PNG or JPG losslessly, or say why its bytes are kept; `archive` tries JPEG XL first for a JPG."""
    if facts.file_type not in {"png", "jpg"}:
        return Optimized(data, kept=Kept.WRONG_TYPE)
    for flag, kept in _RULED_OUT.items():
        if flag in facts.flags:
            return Optimized(data, kept=kept)
    if facts.pixels == 0:
        return Optimized(data, kept=Kept.CORRUPT)
    if facts.pixels > max_pixels or _deep_bytes(facts) > MAX_DEEP_BYTES:
        return Optimized(data, kept=Kept.TOO_MANY_PIXELS)
    if facts.file_type == "jpg":
        return _optimize_jpeg(data, archive=archive)
    return _optimize_png(data, facts, level=png_level)


def _deep_bytes(facts: ImageFacts) -> int:
    """What the pixels of a 16-bit picture take in memory; 0 for all others."""
    color = _SIXTEEN_BIT_SPACES.get(facts.color_space or "")
    return 0 if color is None else facts.pixels * (color + 2 * bool(facts.alpha))


def _optimize_jpeg(data: bytes, *, archive: bool) -> Optimized:
    pixels = decode_jpeg(data)
    if isinstance(pixels, JpegFault):
        return Optimized(data, kept=Kept.UNUSUAL if pixels is JpegFault.UNUSUAL else Kept.CORRUPT)
    return replace((_archive_jpeg(data) if archive else None) or _recode_jpeg(data, pixels), pixels=pixels)


def _archive_jpeg(data: bytes) -> Optimized | None:
    archived = archive_jpeg(data)
    return None if archived is None else Optimized(archived, tool=ARCHIVER, ext=ARCHIVE_EXTENSION)


def _recode_jpeg(data: bytes, before: Pixels) -> Optimized:
    try:
        # The default strips all metadata, including ICC profile and orientation, which damages the picture visibly.
        smaller = mozjpeg.optimize(data, copy=mozjpeg.COPY_MARKERS.ALL)
    except ValueError:
        return Optimized(data, kept=Kept.REFUSED)
    if len(smaller) >= len(data):
        return Optimized(data, kept=Kept.LARGER)
    after = decode_strictly(smaller)
    same = after is not None and np.array_equal(before, after) and carried_segments(data) == carried_segments(smaller)
    if not same:
        return Optimized(data, kept=Kept.NOT_IDENTICAL)
    return Optimized(smaller, tool=JPG_OPTIMIZER)


def _optimize_png(data: bytes, facts: ImageFacts, *, level: int) -> Optimized:
    if without_broken_alpha(data) is not data:
        return Optimized(data, kept=Kept.UNUSUAL)  # the optimiser would make the transparency valid
    filters = choose_filters(data, facts) if level in _SAMPLED else None
    smaller = run_oxipng(without_offsets(data), facts, level=level, filters=filters)
    if smaller is None:
        return Optimized(data, kept=Kept.REFUSED)
    if len(smaller) >= len(data):
        return Optimized(data, kept=Kept.LARGER)
    lost = _what_is_lost(data, smaller, facts)
    if lost is not None:
        return Optimized(data, kept=lost)
    if facts.has_profile or facts.color_space not in _EIGHT_BIT_SPACES:
        held = _held_if_same(data, smaller)
        same, pixel_hash = held is not None, None if held is None else hash_held(held)
    else:
        pixel_hash = _hash_if_same(data, smaller)
        same = pixel_hash is not None
    if not same:
        return Optimized(data, kept=Kept.NOT_IDENTICAL)
    return Optimized(smaller, tool=PNG_OPTIMIZERS[level], pixel_hash=pixel_hash)


def _what_is_lost(data: bytes, smaller: bytes, facts: ImageFacts) -> Kept | None:
    """What a PNG loses beside its pixels; None if it loses nothing. A profile fits only its own colour type."""
    if has_hidden_data(data):
        return Kept.TRAILING_DATA
    fits = not facts.has_profile or is_colored(data) == is_colored(smaller)
    return None if fits and carried_chunks(data) == carried_chunks(smaller) else Kept.NOT_IDENTICAL


def run_oxipng(data: bytes, facts: ImageFacts, *, level: int, filters: Sequence[Any] | None) -> bytes | None:
    """The optimiser's bytes; None if it refuses. ``interlace=None`` keeps the interlacing as it is.

    A profile fits only colour or only grey, so with one colour that happens to be grey stays colour. The background
    (`bKGD`) fits only its own kind of pixels, and would be lost with it: such a file keeps its kind.
    """
    may_change = not has_background(data)
    options: dict[str, Any] = {
        "level": level,
        "interlace": None,
        "bit_depth_reduction": may_change and facts.color_space not in _SIXTEEN_BIT_SPACES,
        "color_type_reduction": may_change,
        "palette_reduction": may_change,
        "grayscale_reduction": may_change and not facts.has_profile,
    }
    if filters is not None:
        options["filter"] = filters
    if level in _SAMPLED:
        options["deflate"] = oxipng.Deflaters.libdeflater(_SAMPLED[level])
    try:
        smaller: bytes = oxipng.optimize_from_memory(data, **options)
    except oxipng.PngError:
        return None
    except BaseException as error:
        # A Rust panic arrives as pyo3's PanicException, a BaseException that cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        return None
    return smaller


def _held_if_same(first: bytes, second: bytes) -> Any:
    """The first of two PNGs in memory; None if their pixels differ. Colour under full transparency counts."""
    try:
        with readable_errors():
            held = _open(first).copy_memory()
            a, b = held, _open(second)
            if (a.width, a.height, a.format) != (b.width, b.height, b.format):
                return None
            if (a.bands, a.interpretation) != (b.bands, b.interpretation):
                a, b = _as_rgba(a), _as_rgba(b)
            return held if (a != b).max() == 0 else None
    except pyvips.Error:
        return None


def _hash_if_same(first: bytes, second: bytes) -> str | None:
    """The pixel hash of two 8-bit PNGs without a profile, from the pass that compares them; None if they differ."""
    try:
        with readable_errors():
            a, b = _as_rgba(_open(first)), _as_rgba(_open(second))
            if (a.width, a.height, a.bands, a.format) != (b.width, b.height, b.bands, b.format):
                return None
            digest = PixelDigest(a.width, a.height, a.bands)
            for mine, other in zip(strips_of(a), strips_of(b), strict=True):
                if not np.array_equal(np.frombuffer(mine, np.uint8), np.frombuffer(other, np.uint8)):
                    return None
                digest.update(mine)
    except pyvips.Error:
        return None
    return digest.hexdigest()


def _open(data: bytes) -> Any:
    return pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="error")


def _as_rgba(image: Any) -> Any:
    """Expand to RGBA of the same depth: grey becomes three equal bands, no alpha becomes full alpha; both exact."""
    deep = image.format == "ushort"
    image = image.colourspace("rgb16" if deep else "srgb")
    return image if image.hasalpha() else image.bandjoin(65535 if deep else 255)

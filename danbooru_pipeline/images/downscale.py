"""The 512px image of a picture: exactly square, the whole picture centred in it, never enlarged.

Always upright, sRGB and opaque, and a baseline JPEG without metadata, since that is what training code decodes fastest
and without surprises (baseline 4:4:4 1.16 ms, progressive 2.72 ms). A picture that cannot be rendered correctly gives a
`Reason` instead.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyvips
from PIL import Image, ImageFile

from danbooru_pipeline.images.background import Pixels, choose_background
from danbooru_pipeline.images.bmp import decode_bmp
from danbooru_pipeline.images.inspect import Flag, ImageFacts
from danbooru_pipeline.images.jpeg import decode_strictly
from danbooru_pipeline.images.quality import judge_quality
from danbooru_pipeline.images.settings import MAX_PIXELS, Background
from danbooru_pipeline.images.signature import IMAGE_TYPES
from danbooru_pipeline.outcomes import Reason

_RGBA = 4
_FIRST_SIDEWAYS = 5  # EXIF orientations from here on swap width and height
_THIN = 16  # a side with fewer pixels would show rounding and the edges of JPEG blocks
_CMYK, _PROFILE = "cmyk", "icc-profile-data"
_DAMAGE = frozenset({Flag.TRUNCATED, Flag.CORRUPT})


@dataclass(frozen=True, slots=True)
class Downscaled:
    """A 512px image.

    Attributes:
        data: the JPEG.
        background: ``white`` or ``black``.
        flags: values of `Quality`.
    """

    data: bytes
    background: str
    flags: tuple[str, ...] = ()


def downscale_image(
    data: bytes,
    facts: ImageFacts,
    *,
    size: int = 512,
    quality: int = 90,
    background: Background = "contrast",
    max_pixels: int = MAX_PIXELS,
    decoded: Pixels | None = None,
) -> Downscaled | Reason:
    """Make the 512px image, or say why there is none.

    Args:
        data: the file.
        facts: of that file.
        size: side of the square in pixels.
        quality: of the JPEG.
        background: what is put behind a transparent picture.
        max_pixels: larger pictures are not decoded.
        decoded: pixels of a JPEG that was already decoded strictly, so it is not decoded twice.
    """
    refusal = refuse(facts, max_pixels=max_pixels)
    if refusal is not None:
        return refusal
    try:
        image = _shrink(data, facts, size=size, decoded=decoded)
        pixels = _pixels_of(image)
        has_alpha = pixels.shape[2] == _RGBA
        chosen, level = choose_background(pixels if has_alpha else None, background)
        square, shown = _place(pixels, level, size=size)
        flags = judge_quality(shown, empty_alpha=has_alpha and not pixels[..., 3].any())
        return Downscaled(_encode(square, quality=quality), background=chosen, flags=flags)
    except ValueError:
        return Reason.DAMAGED
    except pyvips.Error as error:
        if "out of memory" in str(error):
            raise MemoryError(str(error)) from error  # not the picture's fault
        # A JPEG that neither our strict decoder nor libvips knows is not necessarily damaged.
        return Reason.UNDECODABLE if Flag.UNUSUAL_JPEG in facts.flags else Reason.DAMAGED


def refuse(facts: ImageFacts, *, max_pixels: int = MAX_PIXELS) -> Reason | None:
    """Why there can be no 512px image, from the facts alone; None if nothing speaks against decoding."""
    if facts.file_type not in IMAGE_TYPES:
        return Reason.NOT_AN_IMAGE
    if facts.pages is not None and facts.pages > 1:
        return Reason.ANIMATED
    if facts.pixels > max_pixels:
        return Reason.TOO_MANY_PIXELS
    if not _DAMAGE.isdisjoint(facts.flags):
        return Reason.DAMAGED
    return Reason.UNDECODABLE if facts.pixels == 0 else None


def _shrink(data: bytes, facts: ImageFacts, *, size: int, decoded: Pixels | None = None) -> Any:
    """The picture scaled to fit size × size: upright, 8-bit sRGB, possibly with alpha. A lazy libvips image.

    Raises:
        ValueError: it is damaged.
        pyvips.Error: it is damaged or cannot be decoded.
    """
    # Without a profile, converting costs 3.5x and changes no pixel (measured).
    profile = {"output_profile": "srgb"} if facts.has_profile else {}
    source = _decode(data, facts, size=size, decoded=decoded)
    if source is None:
        # thumbnail_buffer ignores fail_on as an argument (libvips issue 5195), and would accept half a picture.
        image = pyvips.Image.thumbnail_buffer(
            data, size, height=size, size="down", option_string="[fail_on=truncated]", **profile
        )
    else:
        width, height = _fit(facts, size)
        image = source.thumbnail_image(width, height=height, size="force", **profile)
    if (image.interpretation, image.format) != ("srgb", "uchar"):
        image = image.colourspace("srgb").cast("uchar")
    return image


def _decode(data: bytes, facts: ImageFacts, *, size: int, decoded: Pixels | None) -> Any:
    """Decode formats for which another decoder is better than libvips; a JPEG possibly at a fraction of its size.

    libvips does not read BMP. It misses bit rot near the end of a JPEG; the strict decoder finds it in half the time,
    but does not know unusual kinds of JPEG.

    Returns:
        None if libvips is to decode the file itself.
    """
    if facts.file_type == "bmp":
        return decode_bmp(data)
    if facts.file_type != "jpg" or Flag.UNUSUAL_JPEG in facts.flags:
        return None
    is_cmyk = facts.color_space == _CMYK
    scale = 8 if is_cmyk else _scale(facts, size)
    pixels = decoded if is_cmyk or scale == 1 else None
    if pixels is None:
        pixels = decode_strictly(data, scale=scale)
    if pixels is None:
        raise ValueError("the JPEG is damaged")
    if is_cmyk:
        return None  # decoded only to prove that it is sound: libvips knows how to interpret the inks
    image = _image_of(pixels)
    if facts.orientation is not None:
        image.set_type(pyvips.GValue.gint_type, "orientation", facts.orientation)
    if facts.has_profile:
        header = pyvips.Image.new_from_buffer(data, "", access="sequential")
        image.set_type(pyvips.GValue.blob_type, _PROFILE, header.get(_PROFILE))
    return image


def _scale(facts: ImageFacts, size: int) -> int:
    """How much a JPEG may be reduced during decoding; like libvips it leaves enough pixels for a good filter."""
    width, height = facts.width or 0, facts.height or 0
    shrink = max(width, height) / size
    return next((scale for scale in (8, 4, 2) if shrink >= 2 * scale and min(width, height) >= _THIN * scale), 1)


def _fit(facts: ImageFacts, size: int) -> tuple[int, int]:
    """Width and height of the upright picture inside size × size, from the full size, before any scale rounded it."""
    width, height = facts.width or 1, facts.height or 1
    if (facts.orientation or 1) >= _FIRST_SIDEWAYS:
        width, height = height, width
    shrink = max(1.0, max(width, height) / size)
    return max(1, round(width / shrink)), max(1, round(height / shrink))


def _pixels_of(image: Any) -> Pixels:
    """Compute all pixels, without a copy."""
    return np.frombuffer(image.write_to_memory(), np.uint8).reshape(image.height, image.width, image.bands)


def _image_of(pixels: Pixels) -> Any:
    """Wrap pixels in a libvips image, without a copy."""
    height, width, bands = pixels.shape
    image = pyvips.Image.new_from_memory(pixels, width, height, bands, "uchar")
    return image.copy(interpretation="b-w" if bands == 1 else "srgb")


def _place(pixels: Pixels, level: int, *, size: int) -> tuple[Image.Image, Pixels]:
    """Centre a picture on a square of the background. Returns the square, and the part of it that is not padding."""
    height, width, _ = pixels.shape
    top, left = (size - height) // 2, (size - width) // 2
    picture = Image.fromarray(pixels)
    square = Image.new("RGB", (size, size), (level,) * 3)
    square.paste(picture, (left, top), mask=picture if picture.mode == "RGBA" else None)
    return square, np.asarray(square)[top : top + height, left : left + width]


def _encode(square: Image.Image, *, quality: int) -> bytes:
    """Encode as `FIXED` says: the same pixels as libvips, in half the time."""
    buffer = io.BytesIO()
    # With optimised tables the encoder needs the whole output in one buffer; Pillow's guess is too small for noise.
    ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 6 * square.width * square.height)
    square.save(buffer, "JPEG", quality=quality, subsampling="4:4:4", optimize=True)
    return buffer.getvalue()

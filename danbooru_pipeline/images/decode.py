"""A picture of any type, decoded and scaled to fit a square: upright, 8-bit sRGB, possibly with alpha.

Chooses the decoder, and what it must not be trusted with: libvips misses bit rot near the end of a JPEG, shrinks a WebP
while it decodes (before alpha is premultiplied, so colour that nobody should see bleeds into the edges), takes the
thumbnail in an AVIF for the picture, and does not read BMP. A large JPEG is decoded at a fraction of its size.
"""

from typing import Any

import numpy as np
import pyvips

from danbooru_pipeline.images.apng import lone_frame
from danbooru_pipeline.images.avif import walk_avif, with_turned_alpha
from danbooru_pipeline.images.background import Pixels
from danbooru_pipeline.images.bmp import decode_bmp, read_bmp_header
from danbooru_pipeline.images.color import StatedColor, from_cicp, to_srgb
from danbooru_pipeline.images.gif import is_whole_frame, partial_frame, white_frame, with_longer_data
from danbooru_pipeline.images.inspect import ImageFacts
from danbooru_pipeline.images.jpeg import walk_jpeg
from danbooru_pipeline.images.jpeg_decode import JpegFault, decode_jpeg, wrap_pixels
from danbooru_pipeline.images.png import stated_color, without_broken_alpha
from danbooru_pipeline.images.words import Flag

_THIN = 16  # a side with fewer pixels would show rounding and the edges of JPEG blocks
_SHRUNK_BY_LIBVIPS = frozenset({"png", "gif"})
_WHITE = 255
_CMYK, _PROFILE = "cmyk", "icc-profile-data"


class UndecodableError(ValueError):
    """No decoder here implements this kind of file; that is no damage."""


def shrink_image(data: bytes, facts: ImageFacts, *, size: int, decoded: Any = None) -> tuple[Any, bool]:
    """The picture scaled to fit size × size: upright, 8-bit sRGB, possibly with alpha.

    Args:
        data: the file.
        facts: of that file.
        size: side of the square in pixels.
        decoded: pixels of a JPEG that was decoded strictly, or a picture from `pixel_hash.decode_for_both`; None if the
            file is to be decoded.

    Returns:
        A lazy libvips image, and whether the file states PQ or HLG.

    Raises:
        UndecodableError: it is of a kind that is not implemented.
        ValueError: it is damaged.
        pyvips.Error: it is damaged or cannot be decoded.
    """
    if facts.file_type == "png":
        data = without_broken_alpha(data)
    stated = _stated_color(data, facts)
    is_hdr = stated is not None and stated.is_hdr
    is_narrow = False
    if stated is not None and facts.has_profile and (is_hdr or facts.file_type == "avif"):
        is_narrow = facts.file_type == "avif" and stated.narrow
        stated = None  # beside PQ or HLG, a profile is its maker's own rendering for those who cannot show HDR
    # Without a profile, converting costs 3.5x and changes no pixel (measured). What a PNG states overrules its profile.
    profile = {"output_profile": "srgb"} if facts.has_profile and stated is None else {}
    image = _shrunk(data, facts, profile, size=size, decoded=decoded, is_narrow=is_narrow)
    if stated is not None and not stated.is_srgb:
        image = _converted(image, stated)
    if (image.interpretation, image.format) != ("srgb", "uchar"):
        image = image.colourspace("srgb").cast("uchar")
    return image, is_hdr


def _shrunk(
    data: bytes, facts: ImageFacts, profile: dict[str, str], *, size: int, decoded: Any, is_narrow: bool
) -> Any:
    """The picture scaled to fit, in the colours that the profile options ask for; a profile means the full range."""
    in_memory = decoded if isinstance(decoded, pyvips.Image) else None
    if facts.file_type == "gif":
        whole = _whole_gif(data)
        in_memory = _on_screen(whole, in_memory if whole is data else None)
        data = whole
    if facts.file_type == "avif":
        turned = with_turned_alpha(data)
        in_memory = in_memory if turned is data else None
        data = turned
    if in_memory is not None and facts.file_type in _SHRUNK_BY_LIBVIPS:
        return in_memory.thumbnail_image(size, height=size, size="down", **profile)
    source = _decode(data, facts, size=size, decoded=decoded) if in_memory is None else in_memory
    if source is None:
        # thumbnail_buffer ignores fail_on as an argument (libvips issue 5195), and would accept half a picture.
        options = "[fail_on=truncated]"
        return pyvips.Image.thumbnail_buffer(data, size, height=size, size="down", option_string=options, **profile)
    if facts.file_type == "avif" and source.hasalpha() and walk_avif(data).premultiplied:
        source = source.unpremultiply().cast(source.format)
    if is_narrow:
        source = _full_range(source)
    width, height = _fit(facts, size)
    return source.thumbnail_image(width, height=height, size="force", **profile)


def _full_range(image: Any) -> Any:
    """Values of 16 to 235 as 0 to 255, or likewise of 16 bits; alpha stays as it is."""
    most = 65535 if image.format == "ushort" else 255
    alpha = int(image.hasalpha())
    colors = image.bands - alpha
    wide = image.linear([255 / 219] * colors + [1.0] * alpha, [-16 / 219 * most] * colors + [0.0] * alpha)
    return wide.rint().cast(image.format)


def _stated_color(data: bytes, facts: ImageFacts) -> StatedColor | None:
    """Colour that is stated by numbers; an AVIF's profile goes before its `nclx`, a PNG's after its `cICP`."""
    if facts.file_type == "png":
        return stated_color(data)
    if facts.file_type == "avif":
        walk = walk_avif(data)
        narrow = walk.monochrome and not walk.full_range  # libheif expands colour and leaves grey as it is
        if walk.nclx is not None:
            return from_cicp(*walk.nclx, narrow=narrow)
    return None


def _converted(image: Any, stated: StatedColor) -> Any:
    """The picture in sRGB; computed here and now, since it is small."""
    if image.format not in ("uchar", "ushort"):
        image = image.cast("ushort" if image.interpretation in ("rgb16", "grey16") else "uchar")
    depth = np.uint16 if image.format == "ushort" else np.uint8
    values = np.frombuffer(image.write_to_memory(), depth).reshape(image.height, image.width, image.bands)
    pixels = to_srgb(values, stated)
    made = pyvips.Image.new_from_memory(pixels, image.width, image.height, image.bands, "uchar")
    return made.copy(interpretation="b-w" if image.bands < 3 else "srgb")


def _decode(data: bytes, facts: ImageFacts, *, size: int, decoded: Pixels | None) -> Any:
    """Decode what libvips must not shrink by itself; None if it may."""
    if facts.file_type == "bmp":
        if read_bmp_header(data).is_beyond:
            raise UndecodableError("no decoder here implements this BMP")
        return decode_bmp(data)
    if facts.file_type == "avif":
        return open_avif(data, fail_on="truncated")
    if facts.file_type == "webp":
        return pyvips.Image.webpload_buffer(data, fail_on="truncated", access="sequential")
    if facts.file_type == "png" and Flag.APNG in facts.flags:
        return _lone_frame(data)
    if facts.file_type == "jpg" and (Flag.UNUSUAL_JPEG not in facts.flags or walk_jpeg(data).is_arithmetic):
        return _decode_jpeg(data, facts, size=size, decoded=decoded)
    return None


def open_avif(data: bytes, *, fail_on: str = "none") -> Any:
    """The primary item of an AVIF, lazily."""
    image = pyvips.Image.heifload_buffer(data, access="sequential", fail_on=fail_on)
    page = int(image.get("heif-primary")) if image.get_typeof("heif-primary") else 0
    return image if page == 0 else pyvips.Image.heifload_buffer(data, page=page, access="sequential", fail_on=fail_on)


def _whole_gif(data: bytes) -> bytes:
    """The file, or a copy in which libvips finds all pixels of the frame. Those without data it leaves black or clear.

    Raises:
        ValueError: some have no data.
        pyvips.Error: the data are damaged.
    """
    frame = white_frame(data)
    if frame is None or pyvips.Image.gifload_buffer(frame, access="sequential").min() == _WHITE:
        return data
    if not is_whole_frame(frame):
        raise ValueError("the data of the GIF's frame stop early")
    return with_longer_data(data)


def _on_screen(data: bytes, in_memory: Any) -> Any:
    """A GIF whose frame leaves some of the screen free, which is transparent and not black; `in_memory` of all others.

    With a transparent colour libvips does so itself.
    """
    image = pyvips.Image.gifload_buffer(data, fail_on="truncated") if in_memory is None else in_memory
    frame = partial_frame(data, image.width, image.height)
    if frame is None or image.hasalpha():
        return in_memory
    left, top, width, height = frame
    shown = (pyvips.Image.black(width, height) + 255).cast("uchar")
    return image.bandjoin(shown.embed(left, top, image.width, image.height))


def _lone_frame(data: bytes) -> Any:
    """The only frame of an APNG on its canvas; None if it is the default image, which every decoder shows."""
    frame = lone_frame(data)
    if frame is None:
        return None
    image = pyvips.Image.pngload_buffer(frame.data, fail_on="truncated")
    if (image.width, image.height) == (frame.canvas_width, frame.canvas_height):
        return image
    if not image.hasalpha():
        image = image.bandjoin(65535 if image.format == "ushort" else 255)
    return image.embed(frame.left, frame.top, frame.canvas_width, frame.canvas_height, extend="black")


def _decode_jpeg(data: bytes, facts: ImageFacts, *, size: int, decoded: Pixels | None) -> Any:
    """A sound JPEG, possibly at a fraction of its size; None if libvips is to interpret it."""
    is_cmyk = facts.color_space == _CMYK
    scale = 8 if is_cmyk else _scale(facts, size)
    pixels = decoded if is_cmyk or scale == 1 else None
    if pixels is None:
        outcome = decode_jpeg(data, scale=scale)
        if outcome is JpegFault.UNUSUAL:
            raise UndecodableError("no decoder here implements this JPEG")
        if isinstance(outcome, JpegFault):
            raise ValueError("the JPEG is damaged")
        pixels = outcome
    if is_cmyk:
        return None  # decoded only to prove that it is sound: libvips knows how to interpret the inks
    image = wrap_pixels(pixels)
    if facts.orientation is not None:
        image.set_type(pyvips.GValue.gint_type, "orientation", facts.orientation)
    if facts.has_profile:
        header = pyvips.Image.jpegload_buffer(data, access="sequential")
        image.set_type(pyvips.GValue.blob_type, _PROFILE, header.get(_PROFILE))
    return image


def _scale(facts: ImageFacts, size: int) -> int:
    """How much a JPEG may be reduced during decoding; like libvips it leaves enough pixels for a good filter."""
    width, height = facts.width or 0, facts.height or 0
    shrink = max(width, height) / size
    return next((scale for scale in (8, 4, 2) if shrink >= 2 * scale and min(width, height) >= _THIN * scale), 1)


def _fit(facts: ImageFacts, size: int) -> tuple[int, int]:
    """Width and height of the upright picture inside size × size, from the full size, before any scale rounded it."""
    width, height = facts.upright_size
    shrink = max(1.0, max(width, height) / size)
    return max(1, round(width / shrink)), max(1, round(height / shrink))

"""The site's pixel hash: an MD5 over the decoded picture, so that lossless optimisation does not change it.

The rule is that of the site (`media_asset.pixel_hash`). Whatever is not a still JPG, PNG, GIF, WebP or AVIF, or does
not decode without an error, has the MD5 of its bytes as its pixel hash. A still picture is turned upright if it is a
JPG, converted by its ICC profile, converted to sRGB, and given an opaque alpha channel if it has none; then it is
hashed as a PAM.

Equality proves that two files show the same picture. Inequality proves nothing: the site's value may be older than its
decoders are today. Pixels are hashed in strips, so a picture is never in memory twice.
"""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyvips

from danbooru_pipeline.images.background import Pixels
from danbooru_pipeline.images.inspect import ImageFacts, inspect_image
from danbooru_pipeline.images.settings import MAX_PIXELS
from danbooru_pipeline.images.signature import iso_brands

#: Types that the site decodes; the hash of every other file is its MD5.
HASHED_TYPES: Final = frozenset({"jpg", "png", "gif", "webp", "avif"})
#: Bytes of a strip: small enough for the cache of a core.
_STRIP_BYTES: Final = 2**19
_RGBA: Final = 4
_PROFILE: Final = "icc-profile-data"
_OPAQUE: Final = {"rgb16": 65535, "grey16": 65535, "scrgb": 1.0}


def pixel_hash_of(path: Path | str) -> str:
    """The pixel hash of a file.

    Decodes it in this process; untrusted files belong into an `ImagePool`.

    Raises:
        OSError: the file cannot be read.
    """
    data = Path(path).read_bytes()
    return hash_pixels(data, max_pixels=sys.maxsize) or md5_of(data)


def hash_pixels(data: bytes, facts: ImageFacts | None = None, *, max_pixels: int = MAX_PIXELS) -> str | None:
    """The pixel hash of a file's bytes; None if the picture has more than `max_pixels` and was not decoded."""
    facts = facts or inspect_image(data)
    if not is_hashed_by_pixels(data, facts):
        return md5_of(data)
    if facts.pixels > max_pixels:
        return None
    try:
        image = opened(data, facts)
        digest = PixelDigest(image.width, image.height, image.bands)
        for strip in strips_of(image):
            digest.update(strip)
    except pyvips.Error as error:
        if "out of memory" in str(error):
            raise MemoryError(str(error)) from error
        return md5_of(data)
    return digest.hexdigest()


def hash_decoded(pixels: Pixels, facts: ImageFacts) -> str | None:
    """The pixel hash of a JPG that is decoded already; None where the rule needs more than these pixels.

    A picture with a profile or inks has to be converted, and a turned one to be turned: `hash_pixels` does that.
    """
    height, width, bands = pixels.shape
    if facts.has_profile or (facts.orientation or 1) != 1 or bands not in {1, 3}:
        return None
    digest = PixelDigest(width, height, _RGBA)
    rows = max(1, _STRIP_BYTES // (width * _RGBA))
    strip = np.full((min(rows, height), width, _RGBA), 255, np.uint8)
    for top in range(0, height, rows):
        part = pixels[top : top + rows]
        for band in range(3):  # a band at a time: assigning along the short last axis takes four times as long
            strip[: len(part), :, band] = part[..., band if bands == 3 else 0]
        digest.update(strip[: len(part)].data)
    return digest.hexdigest()


class PixelDigest:
    """The hash of a picture whose rows arrive from top to bottom."""

    def __init__(self, width: int, height: int, bands: int) -> None:
        header = f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {bands}\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n"
        self._md5 = hashlib.md5(header.encode(), usedforsecurity=False)

    def update(self, rows: Any) -> None:
        """Take some rows: any buffer, without a copy."""
        self._md5.update(rows)

    def hexdigest(self) -> str:
        """The hash of all rows."""
        return self._md5.hexdigest()


def is_hashed_by_pixels(data: bytes, facts: ImageFacts) -> bool:
    """Whether a file is a still picture of a kind that the site decodes."""
    if facts.file_type not in HASHED_TYPES or facts.pixels == 0 or (facts.pages or 1) > 1:
        return False
    return facts.file_type != "avif" or b"avis" not in iso_brands(data)


def strips_of(image: Any) -> Iterator[Any]:
    """The rows of a picture as buffers, from top to bottom."""
    rows = max(1, _STRIP_BYTES // (image.width * image.bands))
    region = pyvips.Region.new(image)
    for top in range(0, image.height, rows):
        yield region.fetch(0, top, image.width, min(rows, image.height - top))


def opened(data: bytes, facts: ImageFacts) -> Any:
    """The picture as the rule wants it."""
    is_turned = facts.file_type == "jpg" and (facts.orientation or 1) != 1
    # `fail` as the site writes it: any error of the decoder, but not its warnings.
    image = pyvips.Image.new_from_buffer(data, "", fail=True, access="random" if is_turned else "sequential")
    if is_turned:
        image = image.autorot()
    if image.get_typeof(_PROFILE):
        image = image.icc_transform("srgb")
    if image.interpretation != "srgb":
        image = image.colourspace("srgb")
    return image if image.hasalpha() else image.bandjoin(_OPAQUE.get(image.interpretation, 255))


def md5_of(data: bytes) -> str:
    """The MD5 of a file's bytes."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()

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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyvips

from danbooru_pipeline.images.background import Pixels
from danbooru_pipeline.images.errors import readable_errors
from danbooru_pipeline.images.gif import partial_frame
from danbooru_pipeline.images.inspect import ImageFacts, inspect_image
from danbooru_pipeline.images.jpeg_decode import wrap_pixels
from danbooru_pipeline.images.png import stated_color, without_broken_alpha
from danbooru_pipeline.images.settings import MAX_PIXELS
from danbooru_pipeline.images.signature import iso_brands
from danbooru_pipeline.images.words import Flag
from danbooru_pipeline.io.md5 import md5_of_bytes

#: Types that the site decodes; the hash of every other file is its MD5.
HASHED_TYPES: Final = frozenset({"jpg", "png", "gif", "webp", "avif"})
#: Larger pictures are not held in memory as a whole: they are decoded twice, in strips.
MAX_SHARED_PIXELS: Final = 50_000_000
#: Bytes of a strip: small enough for the cache of a core.
_STRIP_BYTES: Final = 2**19
_RGBA: Final = 4
_PROFILE: Final = "icc-profile-data"
#: EXIF orientation -> how a picture is turned upright.
_TURNS: Final[dict[int, Callable[[Pixels], Pixels]]] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: p.transpose(1, 0, 2)[:, ::-1],
    7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda p: p.transpose(1, 0, 2)[::-1],
}
_OPAQUE: Final = {"rgb16": 65535, "grey16": 65535, "scrgb": 1.0}


def pixel_hash_of(path: Path | str) -> str:
    """The pixel hash of a file.

    Decodes it in this process; untrusted files belong into an `ImagePool`.

    Raises:
        OSError: the file cannot be read.
    """
    data = Path(path).read_bytes()
    return hash_pixels(data, max_pixels=sys.maxsize) or md5_of_bytes(data)


def hash_pixels(
    data: bytes, facts: ImageFacts | None = None, *, max_pixels: int = MAX_PIXELS, opened: Any = None
) -> str | None:
    """The pixel hash of a file's bytes; None if the picture has more than `max_pixels` and was not decoded.

    `opened` is the picture if it is decoded already (see `decode_for_both`).
    """
    facts = facts or inspect_image(data)
    if not is_hashed_by_pixels(data, facts):
        return md5_of_bytes(data)
    if facts.pixels > max_pixels:
        return None
    try:
        with readable_errors():
            return hash_image(open_upright(data, facts) if opened is None else converted(opened))
    except pyvips.Error as error:
        if "out of memory" in str(error):
            raise MemoryError(str(error)) from error
        return md5_of_bytes(data)


def hash_image(image: Any) -> str:
    """The pixel hash of a picture that is as the rule wants it (see `converted`).

    Raises:
        pyvips.Error: it is damaged, which a lazy picture shows only now.
    """
    digest = PixelDigest(image.width, image.height, image.bands)
    for strip in strips_of(image):
        digest.update(strip)
    return digest.hexdigest()


def hash_held(image: Any) -> str | None:
    """The pixel hash of an upright picture in memory; None if its profile cannot be applied."""
    try:
        with readable_errors():
            return hash_image(converted(image))
    except pyvips.Error:
        return None


def hash_decoded(pixels: Pixels, data: bytes, facts: ImageFacts) -> str | None:
    """The pixel hash of a JPG that is decoded already; None where only `hash_pixels` knows it, as with inks.

    Args:
        pixels: of the JPG, in its own colours, not turned.
        data: the file, for its profile.
        facts: of the file.

    """
    turn = _TURNS.get(facts.orientation or 1)
    if pixels.shape[2] not in {1, 3} or turn is None:
        return None
    if not facts.has_profile:
        return _hash_rgb(turn(pixels))
    try:
        with readable_errors():
            header = pyvips.Image.jpegload_buffer(data, access="sequential")
            image = wrap_pixels(np.ascontiguousarray(turn(pixels)))
            image.set_type(pyvips.GValue.blob_type, _PROFILE, header.get(_PROFILE))
    except pyvips.Error:
        return None
    return hash_held(image)


def _hash_rgb(pixels: Pixels) -> str:
    """The hash of upright pixels of sRGB or grey."""
    height, width, bands = pixels.shape
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


def decode_for_both(data: bytes, facts: ImageFacts) -> Any:
    """A picture in memory for its hash and its 512px image; None where one of them needs another decode.

    A JPEG is reduced while it is decoded for its 512px image; broken transparency of a PNG counts for its hash alone.
    """
    if facts.file_type == "jpg" or (facts.file_type == "png" and without_broken_alpha(data) is not data):
        return None
    if facts.pixels > MAX_SHARED_PIXELS or Flag.APNG in facts.flags or not is_hashed_by_pixels(data, facts):
        return None
    try:
        with readable_errors():
            image = pyvips.Image.new_from_buffer(data, "", fail=True, access="sequential")
            if image.get_typeof("heif-primary") and int(image.get("heif-primary")):
                return None  # the rule takes the first item, and the 512px image the primary one
            return image.copy_memory()
    except pyvips.Error:
        return None


def is_hashed_by_pixels(data: bytes, facts: ImageFacts) -> bool:
    """Whether a file is a still picture of a kind that the site decodes."""
    if facts.file_type not in HASHED_TYPES or facts.pixels == 0 or (facts.pages or 1) > 1:
        return False
    return facts.file_type != "avif" or b"avis" not in iso_brands(data)


def is_shown_as_hashed(data: bytes, facts: ImageFacts) -> bool:
    """Whether the pixel hash covers all that decides how a sound still picture is shown.

    It leaves out the EXIF turn of all but JPGs, colour that a PNG states by numbers, that viewers ignore transparency
    whose checksum fails, and what the frame of a GIF leaves free. AVIFs have too much of this kind, and nothing makes
    them smaller without loss.
    """
    if facts.file_type == "jpg":
        return True
    if facts.file_type == "avif" or (facts.orientation or 1) != 1:
        return False
    if facts.file_type == "gif":
        return bool(facts.alpha) or partial_frame(data, facts.width or 0, facts.height or 0) is None
    if facts.file_type == "png":
        stated = stated_color(data)
        # Beside a profile, which the hash goes by, what is stated counts instead; or the profile is broken.
        is_other = stated is not None and (facts.has_profile or not stated.is_srgb)
        return not is_other and without_broken_alpha(data) is data
    return True


def strips_of(image: Any) -> Iterator[Any]:
    """The rows of a picture as buffers, from top to bottom."""
    rows = max(1, _STRIP_BYTES // (image.width * image.bands))
    region = pyvips.Region.new(image)
    for top in range(0, image.height, rows):
        yield region.fetch(0, top, image.width, min(rows, image.height - top))


def open_upright(data: bytes, facts: ImageFacts) -> Any:
    """The picture as the rule wants it."""
    is_turned = facts.file_type == "jpg" and (facts.orientation or 1) != 1
    # `fail` as the site writes it: any error of the decoder, but not its warnings.
    image = pyvips.Image.new_from_buffer(data, "", fail=True, access="random" if is_turned else "sequential")
    return converted(image.autorot() if is_turned else image)


def converted(image: Any) -> Any:
    """An upright picture in the colours that the rule wants, with alpha."""
    if image.get_typeof(_PROFILE):
        image = image.icc_transform("srgb")
    if image.interpretation != "srgb":
        image = image.colourspace("srgb")
    return image if image.hasalpha() else image.bandjoin(_OPAQUE.get(image.interpretation, 255))

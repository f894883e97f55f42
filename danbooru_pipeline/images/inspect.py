"""Facts of a file from its header and its markers or chunks; no pixel is decoded.

Works for every file of a release; a video or an archive has a type and no other facts. Never raises on any bytes.
"""

from dataclasses import dataclass, replace
from typing import Any

import pyvips

from danbooru_pipeline.images.avif import walk_avif
from danbooru_pipeline.images.bmp import read_bmp_header
from danbooru_pipeline.images.errors import readable_errors
from danbooru_pipeline.images.gif import gif_end
from danbooru_pipeline.images.jpeg import walk_jpeg
from danbooru_pipeline.images.png import walk_png, without_broken_alpha
from danbooru_pipeline.images.signature import sniff_other_picture, sniff_type
from danbooru_pipeline.images.webp import webp_end, webp_size
from danbooru_pipeline.images.words import FIRST_ORIENTATION, FIRST_SIDEWAYS, LAST_ORIENTATION, Flag

#: Types that libvips may decode; every other decoder would add attack surface.
_VIPS_TYPES = frozenset({"jpg", "png", "gif", "webp", "avif"})


_ORIENTATIONS = range(FIRST_ORIENTATION, LAST_ORIENTATION + 1)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What a file is.

    Attributes:
        file_type: by its first bytes; None if unknown.
        width: in pixels as stored, before the orientation is applied; None if unknown.
        height: likewise.
        pages: frames of an animation, 1 for a still picture, None for anything else.
        alpha: whether there is transparency (a channel, or a transparent colour).
        color_space: as libvips names it: srgb, b-w, cmyk, rgb16, grey16, …
        has_profile: whether an ICC profile is embedded.
        orientation: EXIF orientation 1-8; None without one.
        flags: values of `Flag`, in the order of its definition.
    """

    file_type: str | None
    width: int | None = None
    height: int | None = None
    pages: int | None = None
    alpha: bool | None = None
    color_space: str | None = None
    has_profile: bool = False
    orientation: int | None = None
    flags: tuple[str, ...] = ()

    @property
    def pixels(self) -> int:
        """Width times height; 0 when unknown."""
        return (self.width or 0) * (self.height or 0)

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the picture as it is shown; 1 where its header does not say."""
        width, height = self.width or 1, self.height or 1
        return (height, width) if (self.orientation or 1) >= FIRST_SIDEWAYS else (width, height)


def inspect_image(data: bytes) -> ImageFacts:
    """Read a file's facts without decoding it."""
    facts = _read(data)
    return replace(
        facts,
        width=_counted(facts.width),
        height=_counted(facts.height),
        pages=_counted(facts.pages),
        orientation=facts.orientation if facts.orientation in _ORIENTATIONS else None,
    )


def _counted(number: int | None) -> int | None:
    """A number as a column holds it; None for nonsense, whatever wrote it into the file."""
    return number if number is not None and 0 < number < 2**31 else None


def _read(data: bytes) -> ImageFacts:
    """The facts as the file states them."""
    file_type = sniff_type(data)
    if file_type == "bmp":
        return _inspect_bmp(data)
    if file_type not in _VIPS_TYPES:
        other = sniff_other_picture(data) if file_type is None else None
        return ImageFacts(file_type, flags=() if other is None else (other,))
    found = _structure(data, file_type)
    flags = tuple(flag.value for flag in Flag if flag in found.flags)
    try:
        with readable_errors():
            image = _open(data, file_type)
    except pyvips.Error:
        return ImageFacts(file_type, found.width, found.height, pages=found.frames, flags=flags)
    return ImageFacts(
        file_type=file_type,
        width=image.width,
        height=image.height,
        pages=found.frames or _pages(image, file_type),
        alpha=bool(image.hasalpha()),
        color_space=str(image.interpretation),
        has_profile=image.get_typeof("icc-profile-data") != 0,
        orientation=_header_int(image, "orientation"),
        flags=flags,
    )


def compare_extension(facts: ImageFacts, ext: str) -> ImageFacts:
    """Add `WRONG_EXTENSION` if the type is known and differs from the extension; ``jpeg`` counts as ``jpg``."""
    named = "jpg" if ext == "jpeg" else ext
    if facts.file_type is None or facts.file_type == named:
        return facts
    return replace(facts, flags=(*facts.flags, Flag.WRONG_EXTENSION.value))


@dataclass(frozen=True, slots=True)
class _Structure:
    """What the markers, chunks or boxes say; `width` and `height` count where libvips refuses the header.

    A number of 0 is unknown.
    """

    flags: set[Flag]
    width: int | None = None
    height: int | None = None
    frames: int | None = None


def _structure(data: bytes, file_type: str) -> _Structure:
    """Walk the file; the frame count is there where the decoder does not report it."""
    if file_type == "jpg":
        jpeg = walk_jpeg(data)
        found = set() if jpeg.usual else {Flag.UNUSUAL_JPEG}
        if jpeg.too_many_scans:
            found.add(Flag.TOO_MANY_SCANS)
        elif jpeg.lacks_scan:
            found.add(Flag.CORRUPT)
        return _Structure(_end_flags(data, jpeg.end) | found, jpeg.width, jpeg.height)
    if file_type == "png":
        png = walk_png(data)
        found = {Flag.CORRUPT} if png.corrupt else set()
        found |= {Flag.APNG} if png.frames is not None else set()
        return _Structure(_end_flags(data, png.end) | found, png.width, png.height, png.frames)
    if file_type == "webp":
        return _Structure(_end_flags(data, webp_end(data)), *webp_size(data))
    if file_type == "gif":
        width, height = (int.from_bytes(data[at : at + 2], "little") for at in (6, 8))
        return _Structure(_end_flags(data, gif_end(data)), width, height)
    avif = walk_avif(data)
    return _Structure(_end_flags(data, avif.end), avif.width, avif.height, avif.frames)


def _open(data: bytes, file_type: str) -> Any:
    """The picture, lazily; of an AVIF its primary item, which need not be its first."""
    shown = without_broken_alpha(data) if file_type == "png" else data
    image = pyvips.Image.new_from_buffer(shown, "", access="sequential")
    page = (_header_int(image, "heif-primary") or 0) if file_type == "avif" else 0
    return pyvips.Image.new_from_buffer(data, "", access="sequential", page=page) if page else image


def _pages(image: Any, file_type: str) -> int:
    """Frames by the header. Further items of an AVIF are none; only its tracks have frames."""
    return 1 if file_type == "avif" else _header_int(image, "n-pages") or 1


def _end_flags(data: bytes, end: int | None) -> set[Flag]:
    """Whether the file is truncated, or continues after its end."""
    if end is None:
        return {Flag.TRUNCATED}
    return {Flag.TRAILING_DATA} if end < len(data) else set()


def _inspect_bmp(data: bytes) -> ImageFacts:
    """Facts of the header; the picture itself is not decoded."""
    header = read_bmp_header(data)
    found = {Flag.TRUNCATED: header.truncated, Flag.TRAILING_DATA: header.trailing}
    return ImageFacts(
        "bmp",
        width=header.width,
        height=header.height,
        pages=1,
        alpha=header.alpha or None,  # without a mask nothing is said of it
        color_space="srgb",
        flags=tuple(flag.value for flag, holds in found.items() if holds),
    )


def _header_int(image: Any, field: str) -> int | None:
    """A number from the header; None if it is absent."""
    return int(image.get(field)) if image.get_typeof(field) else None

"""The words that describe a file and its 512px image, in the columns of ledger and manifest. No decoder is needed here.

Whoever reads a ledger or verifies a release knows by these what may stand there.
"""

from enum import StrEnum
from typing import Final


class Flag(StrEnum):
    """A property of a file that later steps must know."""

    TRUNCATED = "truncated"
    TRAILING_DATA = "trailing_data"
    CORRUPT = "corrupt"
    APNG = "apng"
    UNUSUAL_JPEG = "unusual_jpeg"
    TOO_MANY_SCANS = "too_many_scans"
    HEIC = "heic"
    JXL = "jxl"
    TIFF = "tiff"
    JP2 = "jp2"
    PSD = "psd"
    WRONG_EXTENSION = "wrong_extension"


#: Flags that name the format of a picture that no release has.
OTHER_FORMATS = frozenset({Flag.HEIC, Flag.JXL, Flag.TIFF, Flag.JP2, Flag.PSD})
#: Flags with which no file has a 512px image.
WITHOUT_PX512 = OTHER_FORMATS | {Flag.TRUNCATED, Flag.CORRUPT, Flag.TOO_MANY_SCANS}


class Kept(StrEnum):
    """Why the original bytes were kept."""

    WRONG_TYPE = "wrong_type"
    TRUNCATED = "truncated"
    TRAILING_DATA = "trailing_data"
    CORRUPT = "corrupt"
    UNUSUAL = "unusual"
    TOO_MANY_PIXELS = "too_many_pixels"
    REFUSED = "refused"
    LARGER = "larger"
    NOT_IDENTICAL = "not_identical"


class Quality(StrEnum):
    """Why an image may be of little use for training."""

    FEW_COLORS = "few_colors"
    NEARLY_WHITE = "nearly_white"
    NEARLY_BLACK = "nearly_black"
    EMPTY_ALPHA = "empty_alpha"
    #: Not judged from the picture: its file states PQ or HLG, and it was tone-mapped.
    HDR = "hdr"


#: Background of a 512px image -> the value of its channels, in the order of preference.
LEVELS: Final = {"white": 255, "black": 0, "grey": 128}

#: What makes stored bytes of those of the source; oxipng with its level.
ARCHIVER: Final = "jpeg-xl"
JPG_OPTIMIZER: Final = "mozjpeg"
PNG_OPTIMIZERS: Final = tuple(f"oxipng -o{level}" for level in range(7))
OPTIMIZERS: Final = frozenset({ARCHIVER, JPG_OPTIMIZER, *PNG_OPTIMIZERS})

#: How libvips names colour spaces: all that it knows.
COLOR_SPACES: Final = frozenset(
    {"b-w", "cmc", "cmyk", "error", "fourier", "grey16", "histogram", "hsv", "lab", "labq", "labs", "lch", "matrix"}
    | {"multiband", "oklab", "oklch", "rgb", "rgb16", "scrgb", "srgb", "xyz", "yxy"}
)

#: EXIF orientations; from `FIRST_SIDEWAYS` on they swap width and height.
FIRST_ORIENTATION, FIRST_SIDEWAYS, LAST_ORIENTATION = 1, 5, 8

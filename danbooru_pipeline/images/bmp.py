"""BMP, which libvips does not read: its header, and its pixels decoded by Pillow with every other format disabled.

Callers check the size before they decode. Nothing here raises anything but `ValueError`.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyvips
from PIL import Image

#: Our own limit is checked before anything is decoded; Pillow's default would warn at half of that.
Image.MAX_IMAGE_PIXELS = None
#: The longest side that libvips accepts.
_MAX_SIDE = 10_000_000


@dataclass(frozen=True, slots=True)
class BmpHeader:
    """What the two headers say.

    Attributes:
        width, height: in pixels; None if the file ends before them, or if they are not valid.
        truncated: whether the file is shorter than its header says.
    """

    width: int | None
    height: int | None
    truncated: bool


def read_bmp_header(data: bytes) -> BmpHeader:
    """Read the headers."""
    layout, at = ("<HH", 18) if data[14:18] == b"\x0c\0\0\0" else ("<ii", 18)
    if len(data) < at + struct.calcsize(layout):
        return BmpHeader(None, None, truncated=True)
    width, height = struct.unpack_from(layout, data, at)
    height = abs(height)  # negative when the rows run from top to bottom
    truncated = int.from_bytes(data[2:6], "little") > len(data)
    return BmpHeader(width, height, truncated) if width > 0 and height else BmpHeader(None, None, truncated)


def decode_bmp(data: bytes) -> Any:
    """Decode to a libvips image in memory, 8-bit RGB or RGBA.

    Raises:
        ValueError: it is damaged, or a kind of BMP that Pillow does not know.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("BMP",)) as image:
            if max(image.size) > _MAX_SIDE:
                raise ValueError(f"a side of {max(image.size):,} pixels is too long")
            mode = "RGBA" if image.mode in {"RGBA", "PA", "LA"} else "RGB"
            pixels = np.ascontiguousarray(image.convert(mode))
    except (OSError, SyntaxError, struct.error, EOFError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise ValueError(f"it cannot be decoded: {error}") from error
    height, width, bands = pixels.shape
    return pyvips.Image.new_from_memory(pixels, width, height, bands, "uchar")

"""BMP, which libvips does not read: its header, and its pixels by Pillow with every other decoder shut out.

Only pictures whose size was looked at before are decoded. Nothing here raises but `ValueError`.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyvips
from PIL import Image

#: Our own limit is checked before anything is decoded; Pillow's warns from half of it on.
Image.MAX_IMAGE_PIXELS = None
#: libvips takes no longer side.
_MAX_SIDE = 10_000_000


@dataclass(frozen=True, slots=True)
class BmpHeader:
    """What the two headers say.

    Attributes:
        width, height: pixels; None when the file stops before them, or when they are none.
        truncated: the file is shorter than it says.
    """

    width: int | None
    height: int | None
    truncated: bool


def read_bmp_header(data: bytes) -> BmpHeader:
    """Look at the header."""
    layout, at = ("<HH", 18) if data[14:18] == b"\x0c\0\0\0" else ("<ii", 18)
    if len(data) < at + struct.calcsize(layout):
        return BmpHeader(None, None, truncated=True)
    width, height = struct.unpack_from(layout, data, at)
    height = abs(height)  # a negative height: the top row comes first
    truncated = int.from_bytes(data[2:6], "little") > len(data)
    return BmpHeader(width, height, truncated) if width > 0 and height else BmpHeader(None, None, truncated)


def decode_bmp(data: bytes) -> Any:
    """The picture as a libvips image in memory, 8-bit RGB or RGBA.

    Raises:
        ValueError: it is damaged, or a kind of BMP that is not known.
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

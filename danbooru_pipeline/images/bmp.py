"""BMP, which libvips does not read: its header, and its pixels.

Pixels whose channels are masks of bits (BITFIELDS) are taken apart here, as Pillow knows a few masks only, and no alpha
in 16 bits; all others are decoded by Pillow with every other format disabled. Callers check the size before decoding.
Nothing here raises anything but `ValueError`.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyvips
from PIL import Image

#: Our own limit is checked before anything is decoded; Pillow's default would warn at half of that.
Image.MAX_IMAGE_PIXELS = None
#: The longest side that libvips accepts.
_MAX_SIDE = 10_000_000
_FILE_HEADER, _CORE_HEADER = 14, 12
#: Sizes of the second header from which on it holds masks, a mask for alpha, and the place of a profile.
_WITH_MASKS, _WITH_ALPHA, _WITH_PROFILE = 52, 56, 124
_RAW, _RLE, _BITFIELDS, _ALPHA_BITFIELDS = 0, frozenset({1, 2}), 3, 6
#: Where masks are: in the second header, or after a short one. Those of three colours come first.
_MASKS, _COLORS = 54, 3
_EMBEDDED_PROFILE: Final = b"DEBM"
#: Bits of a pixel of each kind that is decoded.
_KNOWN: Final = {0: {1, 4, 8, 16, 24, 32}, 1: {8}, 2: {4}, _BITFIELDS: {16, 32}, _ALPHA_BITFIELDS: {16, 32}}
#: Kinds that somebody defined and no decoder here has: JPEG, PNG and inks in a BMP; and bits of a pixel of Windows CE
#: and GDI+. Of any other number nobody knows what it means, so it is damage.
_BEYOND: Final = {4, 5, 11, 12, 13}
_BEYOND_BITS: Final = {2, 64}
_STRIP_PIXELS: Final = 2**18


@dataclass(frozen=True, slots=True)
class BmpHeader:
    """What the two headers say.

    Attributes:
        width, height: in pixels; None if the file ends before them, or if they are not valid.
        truncated: whether pixels are missing at the end of the file.
        trailing: whether anything but zeros follows the pixels, and the profile if there is one.
        alpha: whether there is a mask for alpha.
        is_beyond: whether it is of a kind that is defined, and not implemented here.
        bits, compression: of the pixels.
        start: offset of the pixels.
        masks: of red, green, blue and alpha, if they are masks of bits.
        from_top: whether the first row is the upper one.
    """

    width: int | None
    height: int | None
    truncated: bool
    trailing: bool = False
    alpha: bool = False
    is_beyond: bool = False
    bits: int = 0
    compression: int = 0
    start: int = 0
    masks: tuple[int, ...] = ()
    from_top: bool = False


def read_bmp_header(data: bytes) -> BmpHeader:
    """Read the headers. The size of the file that they state is often wrong, and counts where nothing else does."""
    size = _int(data, _FILE_HEADER)
    is_core = size == _CORE_HEADER
    layout, at = ("<HHHH", 18) if is_core else ("<iiHH", 18)
    if len(data) < at + struct.calcsize(layout):
        return BmpHeader(None, None, truncated=True)
    width, signed, _, bits = struct.unpack_from(layout, data, at)
    height = abs(signed)  # negative when the rows run from top to bottom
    compression = 0 if is_core else _int(data, 30)
    if width <= 0 or not height:
        return BmpHeader(None, None, truncated=_int(data, 2) > len(data))
    start = _int(data, 10) or _FILE_HEADER + size
    masks = _masks(data, size, compression)
    needed, end = _extent(data, start, width=width, height=height, bits=bits, compression=compression)
    if size >= _WITH_PROFILE and data[70:74] == _EMBEDDED_PROFILE:
        end = max(end, _FILE_HEADER + _int(data, 126) + _int(data, 130))
    return BmpHeader(
        width,
        height,
        truncated=needed > len(data),
        trailing=end < len(data) and bool(data[end:].strip(b"\0")),
        alpha=any(masks[_COLORS:]),
        is_beyond=compression in _BEYOND or bits in _BEYOND_BITS,
        bits=bits,
        compression=compression,
        start=start,
        masks=masks,
        from_top=signed < 0,
    )


def _extent(data: bytes, start: int, *, width: int, height: int, bits: int, compression: int) -> tuple[int, int]:
    """Where the last pixel ends, and where what belongs to the pixels ends."""
    if bits in _KNOWN.get(compression, ()) and compression not in _RLE:
        stride = _stride(width, bits)
        return start + stride * (height - 1) + -(-width * bits // 8), start + stride * height
    stated, packed = _int(data, 2), _int(data, 34)
    if compression in _RLE and packed:
        return start + packed, max(start + packed, min(stated, len(data)))
    return (stated, stated) if stated > start else (start, len(data))


def _stride(width: int, bits: int) -> int:
    """Bytes of a row: a multiple of four."""
    return -(-width * bits // 32) * 4


def _masks(data: bytes, size: int, compression: int) -> tuple[int, ...]:
    """Masks of the channels: of the second header, or after it if that is too short."""
    if compression not in (_BITFIELDS, _ALPHA_BITFIELDS) or len(data) < _MASKS + 16:
        return ()
    has_alpha = size >= _WITH_ALPHA or compression == _ALPHA_BITFIELDS
    return struct.unpack_from("<4I" if has_alpha else "<3I", data, _MASKS)


def _int(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def decode_bmp(data: bytes) -> Any:
    """Decode to a libvips image in memory, 8-bit RGB or RGBA.

    Raises:
        ValueError: it is damaged, or a kind of BMP that is not known.
    """
    header = read_bmp_header(data)
    if max(header.width or 0, header.height or 0) > _MAX_SIDE:
        raise ValueError(f"a side of more than {_MAX_SIDE:,} pixels is too long")
    pixels = _take_apart(data, header) if header.masks and header.bits in _KNOWN[_BITFIELDS] else _decode(data)
    height, width, bands = pixels.shape
    return pyvips.Image.new_from_memory(pixels, width, height, bands, "uchar")


def _decode(data: bytes) -> npt.NDArray[np.uint8]:
    """Pixels by Pillow."""
    try:
        with Image.open(io.BytesIO(data), formats=("BMP",)) as image:
            mode = "RGBA" if image.mode in {"RGBA", "PA", "LA"} else "RGB"
            return np.ascontiguousarray(image.convert(mode))
    except (OSError, SyntaxError, struct.error, EOFError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise ValueError(f"it cannot be decoded: {error}") from error


def _take_apart(data: bytes, header: BmpHeader) -> npt.NDArray[np.uint8]:
    """Pixels whose channels are masks of bits, some rows at a time."""
    width, height = header.width or 0, header.height or 0
    if header.truncated or not width or not height:
        raise ValueError("it cannot be decoded: pixels are missing")
    stride = _stride(width, header.bits)
    masks = header.masks if header.alpha else header.masks[:_COLORS]
    pixels = np.empty((height, width, len(masks)), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        count = min(rows, height - top)
        at = header.start + top * stride
        # The padding of the last row may be missing.
        strip = data[at : at + count * stride].ljust(count * stride, b"\0")
        values = np.frombuffer(strip, f"<u{header.bits // 8}").reshape(count, -1)[:, :width]
        for channel, mask in enumerate(masks):
            pixels[top : top + count, :, channel] = _channel(values, mask)
    if header.alpha and not pixels[..., _COLORS].any():
        pixels = np.ascontiguousarray(pixels[..., :_COLORS])  # its writer left alpha blank: viewers show such a picture
    return pixels if header.from_top else np.ascontiguousarray(pixels[::-1])


def _channel(values: npt.NDArray[Any], mask: int) -> npt.NDArray[np.uint8]:
    """The bits of a mask, as 0 to 255."""
    if not mask:
        return np.zeros(values.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    width = (mask >> shift).bit_length()
    most = 2 ** min(width, 8) - 1
    found = (values & values.dtype.type(mask & np.iinfo(values.dtype).max)) >> (shift + max(0, width - 8))
    table = np.rint(np.arange(most + 1) * 255 / most).astype(np.uint8)
    channel: npt.NDArray[np.uint8] = table[found]
    return channel

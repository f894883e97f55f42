"""Makes the awkward pictures that the tests look at; all of them on the spot."""

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyvips

from danbooru_pipeline.images.png import chunks_of

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def illustration(width: int = 300, height: int = 200, *, bands: int = 3) -> Any:
    """Smooth colours with some noise: compresses like a drawing, and is different everywhere."""
    random = np.random.default_rng(7)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 255 / max(1, width - 1), y * 255 / max(1, height - 1), 255 - (x + y) * 255 / (width + height)])
    noisy = np.clip(base + random.normal(0, 4, base.shape), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return from_array(np.ascontiguousarray(noisy[..., :bands]))


def from_array(pixels: npt.NDArray[Any]) -> Any:
    """A libvips image of an array of height × width × bands."""
    image = pyvips.Image.new_from_array(pixels)
    deep = pixels.dtype == np.uint16
    grey = image.bands < 3
    return image.copy(interpretation={(0, 0): "srgb", (1, 0): "rgb16", (0, 1): "b-w", (1, 1): "grey16"}[deep, grey])


def solid(color: tuple[int, ...], width: int = 64, height: int = 64) -> Any:
    """One colour."""
    return from_array(np.full((height, width, len(color)), color, np.uint8))


def corners() -> Any:
    """Red top left, green top right, blue bottom left, white bottom right: shows any turn or flip."""
    pixels = np.zeros((120, 200, 3), np.uint8)
    pixels[:60, :100], pixels[:60, 100:], pixels[60:, :100], pixels[60:, 100:] = RED, GREEN, BLUE, WHITE
    return from_array(pixels)


def jpeg(image: Any, **options: Any) -> bytes:
    """Encode as JPEG, poorly, so that there is something to gain."""
    data: bytes = image.jpegsave_buffer(**({"Q": 92, "keep": "none"} | options))
    return data


def png(image: Any, **options: Any) -> bytes:
    """Encode as PNG, poorly, so that there is something to gain."""
    data: bytes = image.pngsave_buffer(**({"compression": 1, "keep": "none"} | options))
    return data


def chunk(name: bytes, body: bytes) -> bytes:
    """One PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunk(data: bytes, name: bytes, body: bytes) -> bytes:
    """A PNG with one chunk more, right after its header."""
    return data[:33] + chunk(name, body) + data[33:]


def raw_png(header: bytes, rows: bytes, *extra: bytes) -> bytes:
    """A PNG from a header and unfiltered rows; `extra` chunks go before the data."""
    body = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows, 1)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def palette_png(*, transparent: bool) -> bytes:
    """32 × 32 pixels from a palette of a red that may be transparent, and blue."""
    rows = b"".join(b"\0" + bytes([0] * 16 + [1] * 16) for _ in range(32))
    trns = (chunk(b"tRNS", b"\0\xff"),) if transparent else ()
    return raw_png(struct.pack(">IIBBBBB", 32, 32, 8, 3, 0, 0, 0), rows, chunk(b"PLTE", bytes(RED + BLUE)), *trns)


def bomb_png(width: int = 30_000, height: int = 30_000) -> bytes:
    """A header that promises far more pixels than are wise to decode."""
    return raw_png(struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0), b"\0" * 1000)


def apng(frames: int) -> bytes:
    """An animated PNG whose frames are all the same."""
    data = png(solid(RED))
    still = next(c for c in chunks_of(data) if c.name == b"IDAT")
    body = data[still.start : still.start + still.length]
    control = struct.pack(">IIIIIHHBB", 0, 64, 64, 0, 0, 1, 10, 0, 0)
    more = b"".join(
        chunk(b"fcTL", struct.pack(">I", 2 * n - 1) + control[4:]) + chunk(b"fdAT", struct.pack(">I", 2 * n) + body)
        for n in range(1, frames)
    )
    head = data[:33] + chunk(b"acTL", struct.pack(">II", frames, 0)) + chunk(b"fcTL", control)
    return head + chunk(b"IDAT", body) + more + chunk(b"IEND", b"")


def animated(suffix: str, frames: int = 3) -> bytes:
    """A GIF or WebP of some frames."""
    strip = illustration(64, 64 * frames)
    strip.set_type(pyvips.GValue.gint_type, "page-height", 64)
    data: bytes = strip.write_to_buffer(suffix)
    return data


def bmp(width: int = 8, height: int = 8) -> bytes:
    """A plain 24-bit bitmap."""
    return bmp_header(width, height) + bytes(width * 3 + (-width * 3) % 4) * abs(height)


def bmp_header(width: int, height: int) -> bytes:
    """What comes before its pixels."""
    size = (width * 3 + (-width * 3) % 4) * abs(height)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, size, 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + size, 0, 0, 14 + len(header)) + header


def rot(data: bytes, at: float, *, length: int = 24) -> bytes:
    """The same bytes with some of them changed, `at` (0 to 1) of the way."""
    start = int(len(data) * at)
    return data[:start] + bytes((b ^ 0x5A) or 1 for b in data[start : start + length]) + data[start + length :]


def pixels_of(data: bytes) -> npt.NDArray[Any]:
    """Decode to an array of height × width × bands."""
    image = pyvips.Image.new_from_buffer(data, "")
    pixels: npt.NDArray[Any] = image.numpy()
    return pixels.reshape(image.height, image.width, image.bands)

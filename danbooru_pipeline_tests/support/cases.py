"""Makes files as the world uploads them, after reports of bugs in many programs; named after what they have inside."""

import io
import re
import struct
import subprocess
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyvips
from PIL import Image

from danbooru_pipeline.images.jpeg import segments_of
from danbooru_pipeline.images.png import chunks_of
from danbooru_pipeline_tests.support.pictures import BLUE, RED, chunk, illustration, jpeg, png, solid, with_chunk

Pixels = npt.NDArray[np.uint8]


def drawing(width: int = 200, height: int = 152) -> Pixels:
    """Smooth colours that survive any sampling, as an array."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, 255 - x * 200 // width], axis=2).astype(np.uint8)


def sampled_jpeg(samplings: str, *options: str) -> bytes:
    """A JPEG of `drawing` with one sampling for each component, as in ``2x2,1x1,1x2``."""
    buffer = io.BytesIO()
    Image.fromarray(drawing()).save(buffer, "PPM")
    command = ["cjpeg", "-quality", "92", "-sample", samplings, *options]
    return subprocess.run(command, input=buffer.getvalue(), capture_output=True, check=True).stdout


def cmyk_420() -> bytes:
    """Inks, all but the first at half resolution."""
    buffer = io.BytesIO()
    Image.fromarray(drawing()).convert("CMYK").save(buffer, "JPEG", quality=92, subsampling=2)
    return buffer.getvalue()


def fractional_jpeg() -> bytes:
    """Components of three and of two samples a unit, which no decoder of this family implements."""
    return with_samplings(sampled_jpeg("2x1,1x1,1x1"), b"\x31\x21\x11")


def with_samplings(data: bytes, samplings: bytes) -> bytes:
    """The same scans under other sampling factors, one byte a component."""
    at = next(segment.start for segment in segments_of(data) if segment.marker == 0xC0)
    out = bytearray(data)
    for number, factors in enumerate(samplings):
        out[at + 7 + 3 * number] = factors
    return bytes(out)


def samsung_sos(parameters: bytes) -> bytes:
    """A sequential JPEG with a spectral selection that only a progressive one may have."""
    data = jpeg(illustration())
    end = next(segment.end for segment in segments_of(data) if segment.marker == 0xDA)
    return data[: end - 3] + parameters + data[end:]


def jfif_revision(major: int) -> bytes:
    """A JPEG of a revision of JFIF that never was."""
    buffer = io.BytesIO()
    Image.fromarray(drawing()).save(buffer, "JPEG", quality=92)
    data = bytearray(buffer.getvalue())
    data[data.index(b"JFIF\0") + 5] = major
    return bytes(data)


def adobe_transform(code: int) -> bytes:
    """A JPEG whose Adobe marker has an unknown colour transform."""
    data = jpeg(illustration())
    return data[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([code]) + data[2:]


def before_eoi(padding: bytes, data: bytes | None = None) -> bytes:
    """A JPEG with bytes between its last scan and its end."""
    data = jpeg(illustration()) if data is None else data
    return data[:-2] + padding + data[-2:]


def scan_bomb(scans: int, side: int) -> bytes:
    """A progressive JPEG of many scans that hold next to nothing."""
    data = jpeg(pyvips.Image.black(64, 64), interlace=True)
    frame = next(segment for segment in segments_of(data) if segment.marker == 0xC2)
    first = next(segment for segment in segments_of(data) if segment.marker == 0xDA)
    size = struct.pack(">HH", side, side)
    head = data[: frame.start + 1] + size + data[frame.start + 5 : first.start - 4]
    return head + b"\xff\xda\0\x08\x01\x01\0\x01\x05\0\x7f" * scans + b"\xff\xd9"


def avif(pixels: Pixels | Image.Image, **options: Any) -> bytes:
    """Encode as AVIF."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, "AVIF", **({"quality": 95, "speed": 10} | options))
    return buffer.getvalue()


def with_nclx(data: bytes, primaries: int, transfer: int) -> bytes:
    """The same AVIF with other statements about its colour."""
    return re.sub(rb"nclx....", b"nclx" + struct.pack(">HH", primaries, transfer), data, flags=re.DOTALL)


def ramp(width: int = 600, height: int = 300) -> Pixels:
    """Grey from 0 to 255, from left to right."""
    return np.repeat(np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))[..., np.newaxis], 3, axis=2)


def stating(data: bytes, **chunks: bytes) -> bytes:
    """A PNG with more chunks after its header."""
    for name, body in chunks.items():
        data = with_chunk(data, name.encode(), body)
    return data


def rotten_chunk(data: bytes, name: bytes) -> bytes:
    """A PNG with a chunk of that name whose checksum is wrong."""
    end = next(chunk.end for chunk in chunks_of(data) if chunk.name == name)
    return data[: end - 1] + bytes([data[end - 1] ^ 0xFF]) + data[end:]


def apng_lone_frame(width: int, height: int, left: int, top: int) -> bytes:
    """A red default image of 64 × 64 that is no frame, and one frame of another colour."""
    default = png(solid(RED))
    frame = png(solid(BLUE, width, height))
    body = b"".join(frame[c.start : c.start + c.length] for c in chunks_of(frame) if c.name == b"IDAT")
    control = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, width, height, left, top, 1, 10, 0, 0))
    default = with_chunk(default, b"acTL", struct.pack(">II", 1, 0))
    return default[:-12] + control + chunk(b"fdAT", struct.pack(">I", 1) + body) + default[-12:]


def hidden_colors(side: int = 1200) -> Pixels:
    """Opaque blue squares beside fully transparent green ones, of which nothing may ever be seen."""
    y, x = np.mgrid[0:side, 0:side]
    shown = (x // 7 + y // 7) % 2 == 0
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[shown], pixels[~shown] = (0, 0, 255, 255), (0, 255, 0, 0)
    return pixels


def idot_png() -> bytes:
    """A PNG with Apple's offsets into its compressed data."""
    return with_chunk(png(illustration()), b"iDOT", struct.pack(">7I", 2, 0, 100, 40, 100, 100, 9000))


def profiled_png(pixels: Pixels, profile: bytes, name: bytes = b"ICC Profile") -> bytes:
    """A PNG as Pillow writes it, with a profile."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", icc_profile=profile, compress_level=1)
    data = buffer.getvalue()
    found = next(c for c in chunks_of(data) if c.name == b"iCCP")
    body = data[found.start : found.start + found.length].partition(b"\0")[2]
    return data[: found.start - 8] + chunk(b"iCCP", name + b"\0" + body) + data[found.end :]


def profile_of(name: str) -> bytes:
    """One of libvips' own profiles."""
    image = pyvips.Image.black(8, 8, bands=3).copy(interpretation="srgb").icc_transform(name, input_profile="srgb")
    profile: bytes = image.get("icc-profile-data")
    return profile


def text_chunk(key: bytes, text: bytes, *, packed: bool) -> bytes:
    """The content of a zTXt or a tEXt chunk."""
    return key + b"\0" + (b"\0" + zlib.compress(text, 1) if packed else text)

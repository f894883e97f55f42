"""Bytes of a file of each kind, as art programs, cameras and careless uploaders produce them. No disk, no HTTP."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import pyvips

from danbooru_pipeline.demo.art.kinds import Kind
from danbooru_pipeline.demo.art.pictures import draw_frames, draw_lines, draw_picture, draw_sticker
from danbooru_pipeline.demo.art.scenes import Scene

_ORIENTATION_90_RIGHT = 6


@dataclass(frozen=True, slots=True)
class Made:
    """A file, and what a booru records about it. Width and height are those of the upright picture, in pixels."""

    data: bytes
    width: int
    height: int
    duration: float | None = None


def make_file(kind: Kind, scene: Scene, rng: Random) -> Made:
    """Make a file of a kind that shows a scene."""
    width, height = (1, 1) if kind is Kind.PNG_TINY else _choose_size(kind, scene, rng)
    data = _ENCODERS[kind](_Order(scene, rng, width, height))
    moving = kind in {Kind.MP4, Kind.WEBM, Kind.ZIP} or kind.value.endswith("animated")
    return Made(data, width, height, duration=round(rng.uniform(0.3, 8), 2) if moving else None)


@dataclass(frozen=True, slots=True)
class _Order:
    scene: Scene
    rng: Random
    width: int
    height: int

    @property
    def size(self) -> dict[str, int]:
        return {"width": self.width, "height": self.height}

    def picture(self) -> pyvips.Image:
        return draw_picture(self.scene, self.rng, **self.size)

    def frames(self, count: int) -> list[pyvips.Image]:
        return list(draw_frames(self.scene, self.rng, **self.size, count=count))


def _choose_size(kind: Kind, scene: Scene, rng: Random) -> tuple[int, int]:
    """Mostly small sizes, since every pixel is optimised later; some are large enough to be shrunk to 512px."""
    if kind in {Kind.ZIP, Kind.GIF_ANIMATED, Kind.WEBP_ANIMATED, Kind.PNG_ANIMATED}:
        long_side = rng.randint(90, 150)
    elif kind.ext == "jpg":
        long_side = rng.randint(700, 1000) if rng.random() < 0.15 else rng.randint(190, 350)
    elif kind.ext == "png":
        long_side = rng.randint(530, 660) if rng.random() < 0.06 else rng.randint(150, 280)
    else:
        long_side = rng.randint(140, 320)
    ratio = rng.choice((0.71, 0.71, 0.75, 0.8, 1.0))
    short_side = round(long_side * ratio)
    is_wide = rng.random() < {"landscape": 0.75, "comic": 0.0}.get(scene.motif, 0.15)
    return (long_side, short_side) if is_wide else (short_side, long_side)


def _encode_jpg(order: _Order) -> bytes:
    return _save_jpg(order.picture(), order.rng)


def _save_jpg(image: pyvips.Image, rng: Random, **options: object) -> bytes:
    data: bytes = image.jpegsave_buffer(Q=rng.randint(80, 95), **options)
    return data


def _encode_grey_jpg(order: _Order) -> bytes:
    return _save_jpg(order.picture().colourspace("b-w"), order.rng)


def _encode_cmyk_jpg(order: _Order) -> bytes:
    # Without a profile, as found in the wild; the built-in one alone is a megabyte.
    return _save_jpg(order.picture().colourspace("cmyk"), order.rng, keep="none")


def _encode_profile_jpg(order: _Order) -> bytes:
    return _save_jpg(order.picture().icc_transform("p3", input_profile="srgb"), order.rng)


def _encode_rotated_jpg(order: _Order) -> bytes:
    image = order.picture().rot270().copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", _ORIENTATION_90_RIGHT)
    return _save_jpg(image, order.rng)


def _encode_truncated_jpg(order: _Order) -> bytes:
    data = _encode_jpg(order)
    return data[: len(data) * 3 // 5]


def _encode_trailing_jpg(order: _Order) -> bytes:
    return _encode_jpg(order) + b"\r\n" + order.rng.randbytes(700)


def _encode_png(order: _Order) -> bytes:
    return _save_png(order.picture(), order.rng)


def _save_png(image: pyvips.Image, rng: Random) -> bytes:
    """Save as drawing programs do: half with almost no compression, a third with a needless alpha channel."""
    effort, row_filter = rng.choice(((1, "none"), (1, "sub"), (2, "none"), (6, "none"), (6, "sub")))
    image = image.bandjoin(255) if image.bands == 3 and rng.random() < 0.3 else image
    data: bytes = image.pngsave_buffer(compression=effort, filter=row_filter)
    return data


def _encode_sticker(order: _Order) -> bytes:
    return _save_png(draw_sticker(order.scene, order.rng, **order.size), order.rng)


def _encode_palette_png(order: _Order) -> bytes:
    data: bytes = draw_sticker(order.scene, order.rng, **order.size).pngsave_buffer(palette=True, effort=1)
    return data


def _encode_lines(order: _Order, ink: int) -> bytes:
    return _save_png(draw_lines(order.scene, order.rng, **order.size, ink=ink), order.rng)


def _encode_grey_png(order: _Order) -> bytes:
    return _save_png(order.picture().colourspace("b-w"), order.rng)


def _encode_16bit_png(order: _Order) -> bytes:
    # Values that need more than 8 bits, or an optimiser could rightly reduce the depth.
    deep = order.picture() * 250 + pyvips.Image.xyz(order.width, order.height)[0]
    data: bytes = deep.cast("ushort").copy(interpretation="rgb16").pngsave_buffer(compression=1)
    return data


def _encode_tiny_png(order: _Order) -> bytes:
    colour = list(order.rng.randbytes(3))
    data: bytes = (
        (pyvips.Image.black(1, 1, bands=3) + colour).cast("uchar").copy(interpretation="srgb").pngsave_buffer()
    )
    return data


def _png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png_chunks(data: bytes) -> dict[bytes, bytes]:
    """Chunk bodies by name, with all image data joined."""
    chunks: dict[bytes, bytes] = {}
    position = 8
    while position < len(data):
        (length,), name = struct.unpack_from(">I", data, position), data[position + 4 : position + 8]
        chunks[name] = chunks.get(name, b"") + data[position + 8 : position + 8 + length]
        position += 12 + length
    return chunks


def _encode_animated_png(order: _Order) -> bytes:
    """An APNG, assembled by hand, since libvips does not write them."""
    frames = [_png_chunks(frame.pngsave_buffer(compression=6)) for frame in order.frames(4)]
    parts = [b"\x89PNG\r\n\x1a\n", _png_chunk(b"IHDR", frames[0][b"IHDR"])]
    parts.append(_png_chunk(b"acTL", struct.pack(">II", len(frames), 0)))
    sequence = 0
    for number, frame in enumerate(frames):
        control = struct.pack(">IIIIIHHBB", sequence, order.width, order.height, 0, 0, 12, 100, 0, 0)
        parts.append(_png_chunk(b"fcTL", control))
        sequence += 1
        if number == 0:
            parts.append(_png_chunk(b"IDAT", frame[b"IDAT"]))
        else:
            parts.append(_png_chunk(b"fdAT", struct.pack(">I", sequence) + frame[b"IDAT"]))
            sequence += 1
    return b"".join([*parts, _png_chunk(b"IEND", b"")])


def _join_frames(frames: Sequence[pyvips.Image]) -> pyvips.Image:
    image = pyvips.Image.arrayjoin(list(frames), across=1).copy()
    image.set_type(pyvips.GValue.gint_type, "page-height", frames[0].height)
    image.set_type(pyvips.GValue.array_int_type, "delay", [120] * len(frames))
    image.set_type(pyvips.GValue.gint_type, "loop", 0)
    return image


def _encode_gif(order: _Order) -> bytes:
    data: bytes = order.picture().gifsave_buffer(effort=1, dither=0)
    return data


def _encode_animated_gif(order: _Order) -> bytes:
    data: bytes = _join_frames(order.frames(3)).gifsave_buffer(effort=1, dither=0)
    return data


def _encode_webp(order: _Order) -> bytes:
    data: bytes = order.picture().webpsave_buffer(Q=80, effort=1)
    return data


def _encode_animated_webp(order: _Order) -> bytes:
    data: bytes = _join_frames(order.frames(3)).webpsave_buffer(Q=80, effort=1)
    return data


def _encode_ugoira(order: _Order) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, frame in enumerate(order.frames(3)):
            # ZipInfo's default date, 1980, keeps the bytes reproducible.
            archive.writestr(zipfile.ZipInfo(f"{number:06d}.jpg"), frame.jpegsave_buffer(Q=85))
    return buffer.getvalue()


def _encode_mp4(order: _Order) -> bytes:
    body = order.rng.randbytes(order.rng.randint(2000, 9000))
    head = struct.pack(">I4s4sI8s", 24, b"ftyp", b"isom", 512, b"isommp42")
    return head + struct.pack(">I4s", 8, b"free") + struct.pack(">I4s", 8 + len(body), b"mdat") + body


def _encode_webm(order: _Order) -> bytes:
    head = bytes.fromhex(
        "1a45dfa39f4286810142f7810142f2810442f381084282847765626d42878104428581021853806701ffffffffffffff"
    )
    return head + order.rng.randbytes(order.rng.randint(2000, 9000))


def _encode_swf(order: _Order) -> bytes:
    body = order.rng.randbytes(order.rng.randint(1000, 4000))
    return b"FWS\x09" + struct.pack("<I", 8 + len(body)) + body


_ENCODERS: dict[Kind, Callable[[_Order], bytes]] = {
    Kind.JPG: _encode_jpg,
    Kind.PNG: _encode_png,
    Kind.GIF: _encode_gif,
    Kind.WEBP: _encode_webp,
    Kind.ZIP: _encode_ugoira,
    Kind.MP4: _encode_mp4,
    Kind.WEBM: _encode_webm,
    Kind.SWF: _encode_swf,
    Kind.GIF_ANIMATED: _encode_animated_gif,
    Kind.WEBP_ANIMATED: _encode_animated_webp,
    Kind.PNG_STICKER: _encode_sticker,
    Kind.PNG_BLACK_LINES: lambda order: _encode_lines(order, 0),
    Kind.PNG_WHITE_LINES: lambda order: _encode_lines(order, 255),
    Kind.PNG_PALETTE: _encode_palette_png,
    Kind.PNG_GREY: _encode_grey_png,
    Kind.PNG_16BIT: _encode_16bit_png,
    Kind.PNG_ANIMATED: _encode_animated_png,
    Kind.PNG_TINY: _encode_tiny_png,
    Kind.JPG_GREY: _encode_grey_jpg,
    Kind.JPG_CMYK: _encode_cmyk_jpg,
    Kind.JPG_PROFILE: _encode_profile_jpg,
    Kind.JPG_ROTATED: _encode_rotated_jpg,
    Kind.JPG_TRUNCATED: _encode_truncated_jpg,
    Kind.JPG_TRAILING: _encode_trailing_jpg,
    Kind.JPG_IS_PNG: _encode_png,
}

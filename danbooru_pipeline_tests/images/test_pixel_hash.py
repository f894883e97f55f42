"""The pixel hash, held against a second implementation: Pillow decodes, littlecms converts, numpy does the rest.

The two agree to the byte wherever decoding is defined to the bit, or the same library does it: PNG, GIF, WebP, JPG.
They cannot where colours are computed: ICC profiles and inks (libvips converts in two steps, littlecms in one), AVIF
(libheif and libavif round their matrices and interpolate subsampled colours differently). There the pixels are
compared. Pillow has no 16-bit RGB, so PNGs of 16 bits are written by hand; they agree to the byte. Under full
transparency a GIF has no colour: libvips writes black, Pillow the entry of the palette.
"""

import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms, ImageOps

from danbooru_pipeline.images import ImageJob, inspect_image, optimize_image, run_image_job
from danbooru_pipeline.images.jpeg_decode import decode_strictly
from danbooru_pipeline.images.pixel_hash import (
    hash_decoded,
    hash_pixels,
    is_shown_as_hashed,
    open_upright,
    pixel_hash_of,
)
from danbooru_pipeline_tests.support.cases import profiled_png
from danbooru_pipeline_tests.support.pictures import (
    animated,
    apng,
    bmp,
    chunk,
    corners,
    illustration,
    jpeg,
    palette_png,
    png,
    rot,
    solid,
    with_chunk,
)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _second_pixels(data: bytes) -> Any:
    """The picture as the rule wants it, without libvips."""
    with Image.open(io.BytesIO(data)) as stored:
        profile = stored.info.get("icc_profile")
        image: Image.Image = ImageOps.exif_transpose(stored) if stored.format == "JPEG" else stored.copy()
    if profile:
        alpha = image.getchannel("A") if "A" in image.getbands() else None
        converted = ImageCms.profileToProfile(
            image.convert("RGB") if alpha else image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
        )
        assert converted is not None
        image = converted
        if alpha:
            image.putalpha(alpha)
    return np.ascontiguousarray(image.convert("RGBA"))


def _second_hash(data: bytes) -> str:
    pixels = _second_pixels(data)
    height, width, _ = pixels.shape
    pam = f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n".encode()
    return _md5(pam + pixels.tobytes())


def _alpha_picture() -> Any:
    picture = illustration(70, 51)
    ramp = (pyvips.Image.xyz(70, 51)[0] * 3).cast("uchar")
    return picture.bandjoin(ramp).copy(interpretation="srgb")


def _turned(orientation: int) -> bytes:
    picture = corners().copy()
    picture.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return jpeg(picture, keep="exif")


def _gray() -> Any:
    return illustration(90, 61).colourspace("b-w")


def _with_profile(name: str, save: Callable[[Any], bytes], image: Any = None) -> bytes:
    """A picture that embeds a profile of libvips's own."""
    return save((image or illustration(90, 61)).icc_transform(name).copy())


def _exif_png() -> bytes:
    picture = corners().copy()
    picture.set_type(pyvips.GValue.gint_type, "orientation", 6)
    return png(picture, keep="exif")


EXACT: dict[str, Callable[[], bytes]] = {
    "jpg": lambda: jpeg(illustration()),
    "jpg 4:4:4 progressive": lambda: jpeg(illustration(), interlace=True, subsample_mode="off"),
    "jpg, one pixel": lambda: jpeg(illustration(1, 1)),
    "jpg, odd size": lambda: jpeg(illustration(37, 23)),
    "grey jpg": lambda: jpeg(_gray()),
    **{f"jpg turned {n}": partial(_turned, n) for n in range(1, 9)},
    "png": lambda: png(illustration()),
    "interlaced png": lambda: png(illustration(), interlace=True),
    "grey png": lambda: png(_gray()),
    "png with alpha": lambda: png(_alpha_picture()),
    "grey png with alpha": lambda: png(_alpha_picture().colourspace("b-w")),
    "palette png": lambda: palette_png(transparent=False),
    "palette png with a transparent colour": lambda: palette_png(transparent=True),
    "png of 1 bit": lambda: png(_gray() > 128, bitdepth=1),
    "png turned by EXIF is left as it is": _exif_png,
    "gif": lambda: illustration(60, 41).gifsave_buffer(),
    "lossless webp": lambda: illustration().webpsave_buffer(lossless=True),
    "webp": lambda: illustration(60, 41).webpsave_buffer(Q=80),
    "lossless webp with alpha": lambda: _alpha_picture().webpsave_buffer(lossless=True, exact=True),
    "apng of one frame": lambda: apng(1),
}


@pytest.mark.parametrize("name", EXACT)
def test_agrees_to_the_byte_with_a_second_implementation(name: str, tmp_path: Path) -> None:
    """Two decoders that share no code of ours give the same hash."""
    data = EXACT[name]()
    (tmp_path / "a").write_bytes(data)
    assert pixel_hash_of(tmp_path / "a") == _second_hash(data) != _md5(data)


def _shown(data: bytes) -> Any:
    return open_upright(data, inspect_image(data)).numpy()


COMPUTED: dict[str, tuple[Callable[[], bytes], int]] = {
    "jpg with P3": (lambda: _with_profile("p3", lambda i: jpeg(i, keep="icc")), 3),
    "png with P3": (lambda: _with_profile("p3", lambda i: png(i, keep="icc")), 3),
    "png with P3 and alpha": (lambda: _with_profile("p3", lambda i: png(i, keep="icc"), _alpha_picture()), 3),
    "jpg with sRGB": (lambda: _with_profile("srgb", lambda i: jpeg(i, keep="icc")), 3),
    "cmyk jpg": (lambda: _with_profile("cmyk", lambda i: jpeg(i, keep="icc")), 6),
    "webp with P3": (lambda: _with_profile("p3", lambda i: i.webpsave_buffer(lossless=True, keep="icc")), 3),
    "avif": (lambda: illustration(60, 40).heifsave_buffer(compression="av1", Q=80, subsample_mode="off"), 3),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_agrees_within_rounding_where_colors_are_computed(name: str) -> None:
    """Two colour engines round differently, and by no more than that."""
    make, most = COMPUTED[name]
    data = make()
    mine, second = _shown(data), _second_pixels(data)
    assert mine.shape == second.shape
    assert np.abs(mine.astype(int) - second).max() <= most
    assert hash_pixels(data) != _md5(data)


def test_a_transparent_gif_agrees_where_it_is_visible() -> None:
    """What a decoder puts under full transparency is its own choice; alpha and all visible colours are equal."""
    data = _alpha_picture().gifsave_buffer()
    mine, second = _shown(data), _second_pixels(data)
    visible = second[..., 3] > 0
    assert not visible.all()
    assert np.array_equal(mine[..., 3], second[..., 3])
    assert np.array_equal(mine[visible], second[visible])


def test_a_sixteen_bit_png_is_hashed_in_eight() -> None:
    """Converting to sRGB takes the high byte; the hash covers what is left."""
    deep = (illustration().cast("ushort") * 257).cast("ushort").copy(interpretation="rgb16")
    assert hash_pixels(png(deep, bitdepth=16)) == hash_pixels(png(illustration()))


def _png_of_16_bits(pixels: Any, transparent: bytes = b"") -> bytes:
    """A PNG written by hand, so no library's idea of 16 bits is in it."""
    height, width, bands = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = [chunk(b"IHDR", header), *([chunk(b"tRNS", transparent)] if transparent else [])]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
@pytest.mark.parametrize("is_transparent", [False, True])
def test_sixteen_bits_agree_to_the_byte(bands: int, *, is_transparent: bool) -> None:
    """Of 16 bits the high byte counts, of colour and alpha, whatever is in the low one; grey is three equal bands."""
    pixels = np.random.default_rng(bands).integers(0, 65536, (13, 17, bands)).astype(np.uint16)
    high = (pixels >> 8).astype(np.uint8)
    wanted = np.full((13, 17, 4), 255, np.uint8)
    wanted[..., :3] = high[..., :3] if bands > 2 else high[..., :1]
    if bands in {2, 4}:
        wanted[..., 3] = high[..., -1]
    elif is_transparent:
        wanted[0, 0, 3] = 0  # the one pixel of the colour that counts as transparent
    key = pixels[0, 0].astype(">u2").tobytes() if is_transparent and bands in {1, 3} else b""
    pam = b"P7\nWIDTH 17\nHEIGHT 13\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n"
    assert hash_pixels(_png_of_16_bits(pixels, key)) == _md5(pam + wanted.tobytes())


BY_BYTES: dict[str, Callable[[], bytes]] = {
    "animated gif": lambda: animated(".gif"),
    "animated webp": lambda: animated(".webp"),
    "apng": lambda: apng(3),
    "avif sequence": lambda: illustration(64, 64).heifsave_buffer(compression="av1").replace(b"mif1", b"avis", 1),
    "bmp": bmp,
    "text": lambda: b"no picture",
    "nothing": lambda: b"",
    "truncated jpg": lambda: jpeg(illustration())[:900],
    "truncated png": lambda: png(illustration())[:9000],
    "damaged png": lambda: rot(png(illustration()), 0.5),
}


@pytest.mark.parametrize("name", BY_BYTES)
def test_everything_else_has_the_md5_of_its_bytes(name: str) -> None:
    """Animations, broken files and files that are no pictures are compared byte for byte."""
    data = BY_BYTES[name]()
    assert hash_pixels(data) == _md5(data)


def test_a_picture_of_too_many_pixels_has_no_hash() -> None:
    """It is not decoded, so it can neither be proven nor disproven."""
    assert hash_pixels(png(illustration(100, 100)), max_pixels=9_999) is None


@pytest.mark.parametrize("name", [name for name in EXACT if "jpg" in name or "png" in name])
def test_lossless_optimization_keeps_it(name: str) -> None:
    """The hash of the stored file is that of the source, which is why it can prove optimised files."""
    data = EXACT[name]()
    assert hash_pixels(optimize_image(data, inspect_image(data)).data) == hash_pixels(data)


def test_one_changed_pixel_or_channel_changes_it() -> None:
    """Also a colour under full transparency counts."""
    pixels = _alpha_picture().numpy().copy()
    pixels[0, 0, 3] = 0
    first = hash_pixels(png(pyvips.Image.new_from_array(pixels, interpretation="srgb")))
    pixels[0, 0, 0] ^= 1
    assert hash_pixels(png(pyvips.Image.new_from_array(pixels, interpretation="srgb"))) != first


@pytest.mark.parametrize("name", [name for name in EXACT if "jpg" in name])
def test_pixels_that_are_decoded_already_give_the_same_hash(name: str) -> None:
    """The strict decoder of the optimiser and libvips agree, so a JPG is decoded once."""
    data = EXACT[name]()
    pixels = decode_strictly(data)
    assert pixels is not None
    assert hash_decoded(pixels, data, inspect_image(data)) == hash_pixels(data)


AWKWARD: dict[str, Callable[[], bytes]] = {
    **EXACT,
    **{name: make for name, (make, _) in COMPUTED.items()},
    "png of 16 bits": lambda: png(_deep(), bitdepth=16),
    "grey png of 16 bits": lambda: png(_deep().colourspace("grey16"), bitdepth=16),
    "png of 16 bits with P3": lambda: png(_deep().icc_transform("p3", depth=16), bitdepth=16, keep="icc"),
    "gif with alpha": lambda: _alpha_picture().gifsave_buffer(),
    "avif with alpha": lambda: _alpha_picture().heifsave_buffer(compression="av1", Q=80),
    "jpg turned, with P3": lambda: _with_profile("p3", _turned_with_profile),
    "grey jpg with a profile": lambda: _gray().icc_transform("srgb").colourspace("b-w").jpegsave_buffer(profile="srgb"),
    "png with a broken profile": lambda: profiled_png(illustration().numpy(), b"no profile"),
    "damaged png": BY_BYTES["damaged png"],
    "truncated jpg": BY_BYTES["truncated jpg"],
    "animated gif": BY_BYTES["animated gif"],
}


def _deep() -> Any:
    return (illustration().cast("ushort") * 257).cast("ushort").copy(interpretation="rgb16")


def _turned_with_profile(image: Any) -> bytes:
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    return jpeg(image, keep="all")


@pytest.mark.parametrize("wanted", ["both", "512px", "original", "neither"])
@pytest.mark.parametrize("name", AWKWARD)
def test_a_shared_decode_changes_nothing(name: str, tmp_path: Path, wanted: str) -> None:
    """Whatever else a job makes of a picture, its hash is that of the file, and its 512px image the same without it."""
    data = AWKWARD[name]()
    results = []
    for want_hash in (True, False):
        folder = tmp_path / str(want_hash)
        folder.mkdir()
        source = folder / f"1.{inspect_image(data).file_type}"
        source.write_bytes(data)
        original = source if wanted in {"both", "original"} else None
        small = folder / "512.jpg" if wanted in {"both", "512px"} else None
        results.append(run_image_job(ImageJob(source=source, original=original, px512=small, hash_pixels=want_hash)))
    hashed, plain = results
    assert hashed.pixel_hash == hash_pixels(data)
    assert plain.pixel_hash is None
    assert (hashed.px512_sha256, hashed.px512_reason, hashed.sha256) == (
        plain.px512_sha256,
        plain.px512_reason,
        plain.sha256,
    )


def _srgb_as_numbers(data: bytes) -> bytes:
    """How much software states sRGB: gamma and primaries, rounded."""
    primaries = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    return with_chunk(with_chunk(data, b"cHRM", primaries), b"gAMA", struct.pack(">I", 45455))


def _with_bad_alpha(data: bytes) -> bytes:
    """Transparency with a wrong checksum, which libvips believes and others do not."""
    sound = chunk(b"tRNS", b"\0\xff")
    return data.replace(sound, sound[:-1] + bytes([sound[-1] ^ 1]))


def _gif(width: int, height: int) -> bytes:
    """A GIF of a screen of 64 × 64 pixels whose frame is of this size, without a transparent colour."""
    data = bytearray(solid((255, 0, 0)).gifsave_buffer().replace(b"\x21\xf9\x04\x05", b"\x21\xf9\x04\x04"))
    at = data.index(b"\x2c\0\0\0\0" + struct.pack("<HH", 64, 64))
    data[at + 5 : at + 9] = struct.pack("<HH", width, height)
    return bytes(data)


def _turned_webp() -> bytes:
    image = illustration().copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    data: bytes = image.webpsave_buffer(lossless=True, keep="all")
    return data


def _turned_jpeg() -> bytes:
    return _turned_with_profile(illustration().copy())


def _plain_png() -> bytes:
    return png(solid((255, 0, 0)))


def _p3_png() -> bytes:
    return _with_profile("p3", partial(png, keep="icc"))


SHOWN: dict[str, tuple[Callable[[], bytes], bool]] = {
    "plain png": (_plain_png, True),
    "png, sRGB by name": (lambda: with_chunk(_plain_png(), b"sRGB", b"\0"), True),
    "png, sRGB by numbers": (lambda: _srgb_as_numbers(_plain_png()), True),
    "png, sRGB by code points": (lambda: with_chunk(_plain_png(), b"cICP", bytes((1, 13, 0, 1))), True),
    "png, another gamma": (lambda: with_chunk(_plain_png(), b"gAMA", struct.pack(">I", 100_000)), False),
    "png, PQ": (lambda: with_chunk(_plain_png(), b"cICP", bytes((9, 16, 0, 1))), False),
    "png, profile": (_p3_png, True),
    "png, profile that is overruled": (
        lambda: with_chunk(_p3_png(), b"cICP", bytes((1, 13, 0, 1))),
        False,
    ),
    "png, transparency": (lambda: palette_png(transparent=True), True),
    "png, transparency by one decoder": (lambda: _with_bad_alpha(palette_png(transparent=True)), False),
    "jpg, turned": (_turned_jpeg, True),
    "webp": (lambda: illustration().webpsave_buffer(lossless=True), True),
    "webp, turned": (_turned_webp, False),
    "gif": (lambda: _gif(64, 64), True),
    "gif, frame of half its screen": (lambda: _gif(64, 32), False),
    "avif": (lambda: solid((255, 0, 0)).heifsave_buffer(compression="av1", lossless=True), False),
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_shown_by_more_than_the_pixels_is_told(name: str) -> None:
    """Turns, stated colour, broken transparency and free screen, which the hash leaves out, are noticed."""
    make, expected = SHOWN[name]
    data = make()
    assert is_shown_as_hashed(data, inspect_image(data)) is expected

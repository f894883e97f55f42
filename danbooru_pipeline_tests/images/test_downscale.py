"""512px images are exactly square, upright, sRGB, opaque and whole; or there is a reason for having none."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import pyvips
import simplejpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danbooru_pipeline.images import Background, Downscaled, downscale_image, inspect_image, optimize_image
from danbooru_pipeline.images.jpeg import segments_of
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline_tests.support import pictures
from danbooru_pipeline_tests.support.pictures import BLACK, BLUE, GREEN, RED, WHITE, illustration, jpeg, pixels_of, png
from danbooru_pipeline_tests.support.strategies import any_pixels

JPEG = jpeg(illustration(700, 500))
PROGRESSIVE = jpeg(illustration(700, 500), interlace=True)
PNG = png(illustration(700, 500))


def outcome(data: bytes, background: Background = "white") -> Downscaled | Reason:
    """Inspect and downscale, as a job does."""
    return downscale_image(data, inspect_image(data), background=background)


def shown(data: bytes, background: Background = "white") -> npt.NDArray[np.uint8]:
    """The pixels of the 512px image, after checking that it is the JPEG that every release promises."""
    result = outcome(data, background)
    assert isinstance(result, Downscaled), result
    check_promises(result.data)
    return pixels_of(result.data)


def check_promises(data: bytes) -> None:
    """Check for baseline, 512 × 512, three components, 4:4:4, no metadata."""
    segments = {s.marker: data[s.start : s.end] for s in segments_of(data)}
    assert 0xC0 in segments
    assert not {0xC1, 0xC2, 0xE1, 0xE2, 0xED, 0xEE, 0xFE} & set(segments)
    frame = segments[0xC0]
    assert frame[:6] == b"\x08\x02\x00\x02\x00\x03"
    assert [frame[7 + 3 * n] for n in range(3)] == [0x11, 0x11, 0x11]
    assert simplejpeg.decode_jpeg(data, strict=True).shape == (512, 512, 3)


def close(color: npt.NDArray[np.uint8], to: tuple[int, ...], *, within: int = 6) -> bool:
    """Whether a pixel has a colour within JPEG's error."""
    return bool(np.abs(color.astype(int) - to).max() <= within)


def test_small_pictures_are_not_enlarged() -> None:
    """A small picture keeps its size, centred on white."""
    pixels = shown(png(pictures.solid(RED, 100, 50)))
    assert close(pixels[256, 256], RED)
    assert close(pixels[235, 210], RED)
    assert close(pixels[276, 301], RED)
    for y, x in [(0, 0), (222, 256), (290, 256), (256, 196), (256, 316), (511, 511)]:
        assert close(pixels[y, x], WHITE)


SHAPES = [(1024, 512), (512, 1024), (2000, 100), (513, 512), (512, 512), (4096, 17), (4095, 1001), (16_385, 300)]


@pytest.mark.parametrize("encode", [jpeg, png])
@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_aspect_is_kept(width: int, height: int, encode: Callable[..., bytes]) -> None:
    """The longer side becomes 512, the shorter one keeps the aspect, and the padding is white and symmetric."""
    pixels = shown(encode(pictures.solid(BLUE, width, height)))
    scale = 512 / max(width, height)
    rows = int((np.abs(pixels[:, 256].astype(int) - BLUE).max(axis=1) < 40).sum())
    columns = int((np.abs(pixels[256].astype(int) - BLUE).max(axis=1) < 40).sum())
    assert abs(rows - height * scale) <= 1
    assert abs(columns - width * scale) <= 1
    assert close(pixels[256, 256], BLUE)


@pytest.mark.parametrize("encode", [jpeg, png])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 20_000), (20_000, 1)])
def test_extreme_shapes(width: int, height: int, encode: Callable[..., bytes]) -> None:
    """A single pixel and lines of 20,000 pixels have a 512px image."""
    assert shown(encode(pictures.solid(BLACK, width, height)))[255:257, 255:257].min() < 128


@pytest.mark.parametrize("encode", [jpeg, png, lambda image, **o: image.webpsave_buffer(lossless=True, **o)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright(encode: Callable[..., bytes], orientation: int) -> None:
    """Each EXIF orientation is applied, in every format that has one."""
    upright = pictures.corners()
    # How a picture must be stored so that applying the orientation restores it (EXIF 2.3, 4.6.4).
    stored = {
        1: lambda i: i,
        2: lambda i: i.fliphor(),
        3: lambda i: i.rot180(),
        4: lambda i: i.flipver(),
        5: lambda i: i.rot90().fliphor(),
        6: lambda i: i.rot270(),
        7: lambda i: i.rot270().fliphor(),
        8: lambda i: i.rot90(),
    }[orientation](upright).copy()
    stored.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    pixels = shown(encode(stored, keep="exif"))
    found = [pixels[y, x] for y, x in [(206, 166), (206, 346), (306, 166), (306, 346)]]
    assert all(close(pixel, color) for pixel, color in zip(found, [RED, GREEN, BLUE, WHITE], strict=True))


def grey16() -> bytes:
    """A uniform 16-bit grey picture."""
    return png(pictures.from_array(np.full((64, 64, 1), 0x8080, np.uint16)), bitdepth=16)


def rgba16() -> bytes:
    """A uniform 16-bit picture in half-transparent red."""
    pixels = np.zeros((64, 64, 4), np.uint16)
    pixels[..., 0], pixels[..., 3] = 65535, 32768
    return png(pictures.from_array(pixels), bitdepth=16)


@pytest.mark.parametrize(
    ("make", "color"),
    [
        (lambda: jpeg(pictures.solid((128,))), (128, 128, 128)),
        (lambda: png(pictures.solid((128,))), (128, 128, 128)),
        (lambda: png(pictures.solid((0, 128))), (127, 127, 127)),
        (lambda: png(pictures.solid((255, 0, 0, 128))), (255, 127, 127)),
        (lambda: png(pictures.solid((0, 0, 0, 0))), WHITE),
        (grey16, (128, 128, 128)),
        (rgba16, (255, 127, 127)),
        (lambda: pictures.solid(RED).webpsave_buffer(lossless=True), RED),
        (lambda: pictures.solid(RED).gifsave_buffer(), RED),
        (lambda: pictures.solid(RED).heifsave_buffer(compression="av1", Q=90, effort=0), RED),
        (lambda: png(pictures.solid(RED), interlace=True), RED),
        (lambda: pictures.apng(1), RED),
    ],
)
def test_kinds(make: Callable[[], bytes], color: tuple[int, ...]) -> None:
    """Grey, 16-bit and transparent pictures of all formats show their colour over white."""
    assert close(shown(make())[256, 256], color, within=8)


def test_palette() -> None:
    """A transparent palette entry becomes white, the other keeps its colour; without tRNS both keep theirs."""
    pixels = shown(pictures.palette_png(transparent=True))
    assert close(pixels[256, 246], WHITE)
    assert close(pixels[256, 266], BLUE)
    assert close(shown(pictures.palette_png(transparent=False))[256, 246], RED)


def test_wide_gamut_is_converted() -> None:
    """A picture in Display P3 is converted to sRGB, not shown with its raw values."""
    meant = (200, 90, 40)
    wide = pictures.solid(meant).icc_transform("p3", input_profile="srgb")
    data = png(wide, keep="icc")
    assert inspect_image(data).has_profile
    assert not close(wide.numpy()[0, 0], meant)
    assert close(shown(data)[256, 256], meant)


@pytest.mark.parametrize("keep", ["icc", "none"])
def test_cmyk(keep: str) -> None:
    """CMYK becomes sRGB, with its profile or, less exactly, without one."""
    meant = (180, 90, 60)
    data = jpeg(pictures.solid(meant).icc_transform("cmyk", input_profile="srgb"), keep=keep, Q=95)
    assert inspect_image(data).color_space == "cmyk"
    assert close(shown(data)[256, 256], meant, within=16 if keep == "icc" else 60)


def line_art(tone: int) -> bytes:
    """A thin cross of one grey tone on transparency."""
    pixels = np.zeros((400, 400, 4), np.uint8)
    pixels[198:202, :, 3] = pixels[:, 198:202, 3] = 255
    pixels[..., :3] = tone
    return png(pictures.from_array(pixels))


def test_black_line_art_stays_visible() -> None:
    """Black lines on transparency become black on white, not black on black."""
    pixels = shown(line_art(0))
    assert close(pixels[256, 256], BLACK, within=30)
    assert close(pixels[100, 100], WHITE)
    assert pixels.std() > 20


@pytest.mark.parametrize(("tone", "chosen"), [(0, "white"), (255, "black"), (240, "black"), (128, "white")])
def test_contrast_background(tone: int, chosen: str) -> None:
    """With ``contrast``, only pictures that would vanish on white get a black background."""
    result = outcome(line_art(tone), "contrast")
    assert isinstance(result, Downscaled)
    assert result.background == chosen
    assert pixels_of(result.data).std() > 10


@pytest.mark.parametrize("data", [png(pictures.solid((255, 255, 255, 0))), png(pictures.solid(WHITE)), JPEG])
def test_contrast_needs_something_to_show(data: bytes) -> None:
    """Fully transparent and opaque pictures get a white background."""
    result = outcome(data, "contrast")
    assert isinstance(result, Downscaled)
    assert result.background == "white"


def test_default_keeps_content_visible() -> None:
    """By default white lines get a black background and padding; with ``white`` they get white."""
    data = line_art(255)
    default = downscale_image(data, inspect_image(data))
    assert isinstance(default, Downscaled)
    assert default.background == "black"
    assert close(pixels_of(default.data)[0, 0], BLACK)
    assert close(shown(data, "white")[0, 0], WHITE)


@pytest.mark.parametrize(
    ("data", "flags"),
    [
        (png(pictures.solid(WHITE)), ("few_colors", "nearly_white")),
        (png(pictures.solid((4, 4, 4))), ("few_colors", "nearly_black")),
        (png(pictures.solid(RED)), ("few_colors",)),
        (png(pictures.solid((9, 9, 9, 0))), ("few_colors", "nearly_white", "empty_alpha")),
        (PNG, ()),
        (JPEG, ()),
        (png(pictures.corners()), ()),
    ],
)
def test_quality_flags(data: bytes, flags: tuple[str, ...]) -> None:
    """Pictures with hardly any content carry warnings; padding does not count."""
    result = outcome(data)
    assert isinstance(result, Downscaled)
    assert result.flags == flags


def test_ycck() -> None:
    """CMYK coded as YCCK looks the same as the same inks in plain CMYK."""
    ink = np.full((64, 64, 4), (20, 120, 160, 10), np.uint8)
    # Adobe's files store inverted inks, and the encoder writes values as given.
    ycck = simplejpeg.encode_jpeg(255 - ink, quality=95, colorspace="CMYK", colorsubsampling="444")
    assert simplejpeg.decode_jpeg_header(ycck)[2] == "YCCK"
    plain = jpeg(pictures.from_array(ink).copy(interpretation="cmyk"), keep="none", Q=95)
    assert close(shown(ycck)[256, 256], tuple(shown(plain)[256, 256].tolist()))


def test_same_bytes_every_time() -> None:
    """The same file gives the same 512px image, byte for byte."""
    assert outcome(JPEG) == outcome(JPEG)


GIF = illustration(300, 300).gifsave_buffer()
WEBP = illustration(300, 300).webpsave_buffer()
AVIF = illustration(300, 300).heifsave_buffer(compression="av1", effort=0)


@pytest.mark.parametrize(
    "data",
    [
        *(JPEG[: int(len(JPEG) * part)] for part in (0.3, 0.6, 0.95)),
        *(PROGRESSIVE[: int(len(PROGRESSIVE) * part)] for part in (0.5, 0.95)),
        JPEG[:-2],
        *(PNG[: int(len(PNG) * part)] for part in (0.3, 0.95)),
        PNG[:-12],
        GIF[: len(GIF) // 2],
        WEBP[: len(WEBP) // 2],
        AVIF[: len(AVIF) // 2],
        pictures.rot(JPEG, 0.5, length=200),
        pictures.rot(JPEG, 0.97),
        pictures.rot(PNG, 0.5),
        pictures.rot(GIF, 0.5),
        pictures.rot(WEBP, 0.5),
        pictures.rot(AVIF, 0.5),
    ],
)
def test_damaged(data: bytes) -> None:
    """A truncated or corrupt picture never gets a 512px image."""
    assert outcome(data) == Reason.DAMAGED


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.NOT_AN_IMAGE),
        (b"<!DOCTYPE html><p>Not found", Reason.NOT_AN_IMAGE),
        (b"PK\3\4 frames of an ugoira", Reason.NOT_AN_IMAGE),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Reason.NOT_AN_IMAGE),
        (b"garbage" * 100, Reason.NOT_AN_IMAGE),
        (b"\0" + JPEG, Reason.NOT_AN_IMAGE),
        (pictures.bmp_header(20_000, 20_000) + bytes(100), Reason.TOO_MANY_PIXELS),
        (pictures.animated(".gif"), Reason.ANIMATED),
        (pictures.animated(".webp"), Reason.ANIMATED),
        (pictures.apng(2), Reason.ANIMATED),
        (pictures.bomb_png(), Reason.TOO_MANY_PIXELS),
        (pictures.bomb_png(0, 10), Reason.UNDECODABLE),
        (pictures.bomb_png(2**31 - 1, 2**31 - 1), Reason.TOO_MANY_PIXELS),
    ],
)
def test_reasons(data: bytes, reason: Reason) -> None:
    """Every other file without a 512px image has its reason, without being decoded."""
    started = time.process_time()
    assert outcome(data) == reason
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("more", [b"\0" * 64, b"PK\3\4 an archive", JPEG])
@pytest.mark.parametrize("data", [JPEG, PNG])
def test_trailing_data_is_harmless(data: bytes, more: bytes) -> None:
    """Data after the end of a picture does not change its 512px image."""
    assert outcome(data + more) == outcome(data)


def test_running_out_of_memory_is_not_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the decoder runs out of memory, the picture is not blamed."""

    def fail(*_args: Any, **_options: Any) -> None:
        raise pyvips.Error("unable to call thumbnail_buffer", "out of memory --- size == 800MB")

    monkeypatch.setattr(pyvips.Image, "thumbnail_buffer", fail)
    with pytest.raises(MemoryError):
        outcome(PNG)


def test_a_decoded_jpeg_is_not_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optimiser's strict decode is reused for the 512px image, which has the same bytes."""
    facts = inspect_image(JPEG)
    expected, decoded = downscale_image(JPEG, facts), optimize_image(JPEG, facts).pixels
    assert decoded is not None
    monkeypatch.setattr(simplejpeg, "decode_jpeg", None)
    assert downscale_image(JPEG, facts, decoded=decoded) == expected


@pytest.mark.parametrize("side", [1300, 2100, 4200, 8300])
def test_a_large_jpeg_is_as_sharp_as_a_slow_filter_makes_it(side: int) -> None:
    """Decoding a large JPEG at a half, a quarter or an eighth of its size loses nothing visible."""
    data = jpeg(illustration(side, side // 4), Q=95)  # the longer side alone decides by how much it is shrunk
    made = shown(data).astype(np.float32)
    slow = pyvips.Image.new_from_buffer(data, "").cast("float").resize(512 / side, kernel="lanczos3").numpy()
    made = made[(512 - slow.shape[0]) // 2 :][: slow.shape[0]]
    assert 10 * np.log10(255**2 / np.mean((made - slow.clip(0, 255)) ** 2)) > 36  # quality 90 alone gives 38


def test_half_transparent_colours_blend_with_the_background() -> None:
    """Every degree of transparency blends with the background exactly, and the padding is the background."""
    alpha = np.tile(np.repeat(np.arange(0, 256, 8, dtype=np.uint8), 16), (256, 1))
    data = png(pictures.from_array(np.dstack([np.full_like(alpha, 40)] * 3 + [alpha])))
    expected = 255 - alpha / 255 * (255 - 40)
    made = shown(data)
    assert np.abs(made[128:384] - expected[..., None]).max() <= 3
    assert (made[:120] == 255).all()


@pytest.mark.parametrize("quality", [90, 100])
def test_noise_has_a_512px_image_too(quality: int) -> None:
    """Noise, the least compressible picture, fits the encoder's buffer at any quality."""
    noise = np.random.default_rng(2021).integers(0, 256, (512, 512, 3), np.uint8)
    data = png(pictures.from_array(noise))
    made = downscale_image(data, inspect_image(data), quality=quality)
    assert isinstance(made, Downscaled)
    assert len(made.data) > 250_000


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(
    any_pixels(300),
    st.sampled_from(["png", "jpg", "webp"]),
    st.one_of(st.none(), st.integers(1, 8)),
)
def test_any_picture_keeps_the_promises(pixels: npt.NDArray[Any], file_type: str, orientation: int | None) -> None:
    """For any picture the result is exactly the JPEG that every release promises."""
    image = pictures.from_array(pixels).copy()
    if orientation:
        image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    if file_type == "png":
        data = png(image, keep="exif", bitdepth=pixels.dtype.itemsize * 8)
    else:
        data = image.colourspace("srgb").write_to_buffer(f".{file_type}")
    shown(data)

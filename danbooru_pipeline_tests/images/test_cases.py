"""Files after public reports of bugs: legal ones are shown right and optimised, rot is refused, reasons are true."""

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image

from danbooru_pipeline.images import (
    Downscaled,
    Flag,
    ImageJob,
    ImagePool,
    Kept,
    downscale_image,
    inspect_image,
    optimize_image,
    run_image_job,
)
from danbooru_pipeline.images.jpeg import segments_of
from danbooru_pipeline.images.jpeg_decode import JpegFault, decode_jpeg
from danbooru_pipeline.images.png import carried_chunks, chunks_of
from danbooru_pipeline.io.md5 import md5_of_bytes
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline_tests.support import cases, pictures
from danbooru_pipeline_tests.support.mishaps import attempts, run_by_name
from danbooru_pipeline_tests.support.pictures import illustration, jpeg, pixels_of, png

FILES = Path(__file__).parent / "files"
SAMPLINGS = ["2x2,1x1,1x2", "4x2,1x1,1x1", "1x4,1x1,1x1", "2x1,2x1,2x1", "4x1,2x1,1x1", "3x1,1x1,1x1", "2x2,2x1,2x1"]
PLAIN = jpeg(illustration())


def shown(data: bytes) -> np.ndarray:
    """The 512px image, decoded."""
    made = downscale_image(data, inspect_image(data), quality=100)
    assert isinstance(made, Downscaled), made
    return pixels_of(made.data).astype(int)


def flags_of(data: bytes) -> tuple[str, ...]:
    """The flags of the 512px image."""
    made = downscale_image(data, inspect_image(data))
    assert isinstance(made, Downscaled), made
    return made.flags


# --- PNG: metadata by its meaning


@pytest.mark.parametrize("name", [b"ICC Profile", b"icc", b"Display P3", b"x"])
@pytest.mark.parametrize("grey", [False, True])
def test_noisy_iccp_p3(name: bytes, *, grey: bool) -> None:
    """A PNG with a profile of any name is optimised, colour that happens to be grey too, and the profile survives."""
    profile = cases.profile_of("p3")
    data = cases.profiled_png(cases.ramp() if grey else cases.drawing(), profile, name)
    result = optimize_image(data, inspect_image(data))
    assert (result.kept, result.tool) == (None, "oxipng -o2")
    image = pyvips.Image.new_from_buffer(result.data, "")
    assert image.get("icc-profile-data") == profile
    assert np.array_equal(image.numpy(), pyvips.Image.new_from_buffer(data, "").numpy())


def test_chunks_mean_the_same() -> None:
    """Compression of a text, and the name of a profile, mean nothing; another text or another profile does."""
    plain = png(illustration())
    short, packed = (
        cases.stating(plain, **{name: cases.text_chunk(b"Title", b"a" * 99, packed=name == "zTXt")})
        for name in ("tEXt", "zTXt")
    )
    other = cases.stating(plain, tEXt=cases.text_chunk(b"Title", b"b" * 99, packed=False))
    assert carried_chunks(short) == carried_chunks(packed) != carried_chunks(other)
    first, second = (cases.profiled_png(cases.drawing(), cases.profile_of(name)) for name in ("p3", "srgb"))
    assert carried_chunks(first) != carried_chunks(second)


def test_png_idot() -> None:
    """Apple's offsets never survive new compressed data, wherever they are, and however often."""
    once = cases.idot_png()
    apple = once[33:73]
    for data in (once, once[:33] + apple + once[33:], once[:33] + once[73:-12] + apple + once[-12:]):
        result = optimize_image(data, inspect_image(data))
        assert result.tool is not None
        assert b"iDOT" not in {chunk.name for chunk in chunks_of(result.data)}


# --- JPEG: all samplings, harmless oddities, rot


@pytest.mark.needs("cjpeg")
@pytest.mark.parametrize("options", [(), ("-progressive",), ("-restart", "4B")], ids=["", "progressive", "restart"])
@pytest.mark.parametrize("samplings", SAMPLINGS)
def test_jpg_samp(samplings: str, options: tuple[str, ...]) -> None:
    """A legal sampling is decoded and optimised; the same file is refused if its end is lost or rotten."""
    data = cases.sampled_jpeg(samplings, *options)
    pixels = decode_jpeg(data)
    assert not isinstance(pixels, JpegFault), pixels
    assert np.abs(pixels.astype(int) - cases.drawing()).mean() < 6
    assert optimize_image(data, inspect_image(data)).kept in {None, Kept.LARGER}
    assert shown(data).shape == (512, 512, 3)
    stuffed = data[-4:-2] == b"\xff\0"
    assert decode_jpeg(data[: -4 if stuffed else -3] + data[-2:]) is JpegFault.DAMAGED
    assert decode_jpeg(data[:-2] + b"\x12" * 40 + data[-2:]) is JpegFault.DAMAGED
    assert decode_jpeg(data[: len(data) * 2 // 3] + b"\xff\xd9") is JpegFault.DAMAGED


def test_jpg_cmyk_420() -> None:
    """Inks at half resolution are shown and optimised."""
    data = cases.cmyk_420()
    result = optimize_image(data, inspect_image(data))
    assert (result.kept, result.tool) == (None, "mozjpeg")
    assert shown(data).shape == (512, 512, 3)


@pytest.mark.needs("cjpeg")
def test_fractional_sampling_is_unusual(tmp_path: Path) -> None:
    """A sampling that no decoder implements is unusual, not damage."""
    source = tmp_path / "1.jpg"
    source.write_bytes(cases.fractional_jpeg())
    result = run_image_job(ImageJob(source=source, original=source, px512=tmp_path / "1.512.jpg"))
    assert result.facts is not None
    assert (result.facts.flags, result.kept) == ((Flag.UNUSUAL_JPEG,), Kept.UNUSUAL)
    assert result.px512_reason == Reason.UNDECODABLE


ODDITIES = {
    "jpg_samsung_sos_00_00_00": cases.samsung_sos(b"\0\0\0"),
    "jpg_samsung_sos_3f_00_00": cases.samsung_sos(b"\x3f\0\0"),
    "jfif_revision_3": cases.jfif_revision(3),
    "adobe_transform_9": cases.adobe_transform(9),
    "jpg_extraneous_zeros_before_eoi": cases.before_eoi(bytes(600)),
    "zeros_between_segments": PLAIN[:71] + bytes(64) + PLAIN[71:],
    "samsung_and_zeros": cases.before_eoi(bytes(64), cases.samsung_sos(b"\0\0\0")),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_harmless_oddity(name: str) -> None:
    """What a decoder merely warns of is shown and optimised; rot behind it is still refused."""
    data = ODDITIES[name]
    assert not isinstance(decode_jpeg(data), JpegFault)
    assert not isinstance(decode_jpeg(data, scale=2), JpegFault)
    result = optimize_image(data, inspect_image(data))
    assert (result.kept, result.tool) == (None, "mozjpeg")
    assert shown(data).shape == (512, 512, 3)
    middle = len(data) // 2
    assert decode_jpeg(data[:middle] + data[middle + 400 :]) is JpegFault.DAMAGED


RESTARTS = jpeg(illustration(), restart_interval=8)
ROT = {
    "bytes before EOI": cases.before_eoi(b"\x12\x34" * 40),
    "zeros and bytes before EOI": cases.before_eoi(b"\x12" * 40 + bytes(40)),
    "wrong restart": RESTARTS.replace(b"\xff\xd3", b"\xff\xd6", 1),
    "no restart": RESTARTS.replace(b"\xff\xd3", b"", 1),
    "short data": PLAIN[: len(PLAIN) * 9 // 10] + b"\xff\xd9",
}


@pytest.mark.parametrize("name", ROT)
def test_rot_is_refused(name: str) -> None:
    """Missing or wrong restart markers, short data and bytes that belong to nothing are rot."""
    assert decode_jpeg(ROT[name]) is JpegFault.DAMAGED
    assert downscale_image(ROT[name], inspect_image(ROT[name])) == Reason.DAMAGED


def test_jpg_2647scans_8000(tmp_path: Path) -> None:
    """A bomb of scans is refused by their number, in no time, and its facts are told."""
    source = tmp_path / "1.jpg"
    source.write_bytes(cases.scan_bomb(2647, 8000))
    started = time.process_time()
    result = run_image_job(ImageJob(source=source, original=source, px512=tmp_path / "1.512.jpg"))
    assert time.process_time() - started < 0.5
    assert result.facts is not None
    assert (result.facts.width, result.facts.flags) == (8000, (Flag.TOO_MANY_SCANS,))
    assert (result.px512_reason, result.kept) == (Reason.TOO_MANY_SCANS, Kept.UNUSUAL)


# --- AVIF: what the container says


def test_avif_thumb_differs() -> None:
    """The primary item is shown (colour bars), not the thumbnail that is embedded (magenta)."""
    data = (FILES / "avif_thumb_differs.avif").read_bytes()
    assert inspect_image(data).width == 2000
    inside = shown(data)[64:448]
    assert len(np.unique(inside.reshape(-1, 3) // 64, axis=0)) > 6


@pytest.mark.parametrize("full", [True, False], ids=["avif_mono_full", "avif_mono_limited"])
def test_avif_mono(*, full: bool) -> None:
    """A grey AVIF runs from black to white, whatever the range of its codes."""
    options = {"subsampling": "4:0:0", "range": "full" if full else "limited"}
    row = shown(cases.avif(cases.ramp(), **options))[256, :, 0]
    assert row[0] <= 3
    assert row[-1] >= 252
    assert np.abs(row - np.linspace(0, 255, 512)).max() <= 5


def test_avif_trailing_zip() -> None:
    """Data after the last box are trailing data; a file that ends inside a box, or before its data, is truncated."""
    data = cases.avif(cases.drawing())
    for tail in (b"PK\3\4" + bytes(200), b"\0\0\0\x10zzzz" + bytes(8), b"\0", bytes(20)):
        assert inspect_image(data + tail).flags == (Flag.TRAILING_DATA,)
        assert shown(data + tail).shape == (512, 512, 3)
    for end in (len(data) - 1, data.index(b"mdat") - 4, data.index(b"mdat") + 40):
        assert inspect_image(data[:end]).flags == (Flag.TRUNCATED,)


def test_avif_sequence_is_animated() -> None:
    """A sequence is animated; a sequence of one frame is still."""
    frames = [Image.fromarray(np.full((64, 64, 3), level, np.uint8)) for level in (0, 120, 250)]
    data = cases.avif(frames[0], save_all=True, append_images=frames[1:])
    assert inspect_image(data).pages == 3
    assert downscale_image(data, inspect_image(data)) == Reason.ANIMATED


def test_avif_irot() -> None:
    """The rotation of the container is applied once."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = cases.avif(cases.drawing(), exif=exif.tobytes())
    assert (inspect_image(data).width, inspect_image(data).height) == (152, 200)
    upright = shown(data)[156:356, 180:332]
    assert np.abs(upright - np.rot90(cases.drawing(), -1).astype(int)).mean() < 4


# --- colour without a profile


def flat(color: tuple[int, int, int]) -> np.ndarray:
    """A picture of one colour."""
    return np.full((64, 64, 3), color, np.uint8)


def as_p3(color: tuple[int, int, int]) -> tuple[int, ...]:
    """That colour of Display P3 in sRGB, by its profile."""
    data = cases.profiled_png(flat(color), cases.profile_of("p3"))
    return tuple(int(v) for v in shown(data)[256, 256])


COLORS = [(180, 100, 60), (60, 140, 90), (128, 128, 128), (200, 30, 120), (20, 30, 160)]


def encoded(pixels: np.ndarray) -> bytes:
    """A PNG without any statement about its colour."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def near(data: bytes, meant: tuple[int, ...], within: int = 2) -> bool:
    """Whether the middle of the 512px image has that colour."""
    return bool(np.abs(shown(data)[256, 256] - np.array(meant)).max() <= within)


@pytest.mark.parametrize("color", COLORS)
def test_png_cicp_p3_srgbtf(color: tuple[int, int, int]) -> None:
    """Display P3 that a PNG or an AVIF states by numbers becomes the sRGB that its profile would give."""
    assert near(cases.stating(encoded(flat(color)), cICP=bytes([12, 13, 0, 1])), as_p3(color))
    stated = cases.with_nclx(cases.avif(flat(color), quality=100, subsampling="4:4:4"), 12, 13)
    assert near(stated, as_p3(color), within=3)


PRIMARIES_P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


def test_png_precedence() -> None:
    """`cICP` goes before a profile, that before `sRGB`, that before `gAMA` and `cHRM`; `cHRM` alone is ignored."""
    color, plain = COLORS[0], encoded(flat(COLORS[0]))
    gamma, twice = struct.pack(">I", 45455), struct.pack(">I", 90909)
    brighter = tuple(round(255 * (1.055 * ((v / 255) ** 1.1) ** (1 / 2.4) - 0.055)) for v in color)
    profiled = cases.profiled_png(flat(color), cases.profile_of("p3"))
    assert near(cases.stating(plain, gAMA=gamma, cHRM=PRIMARIES_P3), as_p3(color))
    assert near(cases.stating(plain, gAMA=gamma), color)
    assert near(cases.stating(plain, gAMA=twice), brighter)
    assert near(cases.stating(plain, cHRM=PRIMARIES_P3), color)
    assert near(cases.stating(plain, gAMA=twice, sRGB=b"\0"), color)
    assert near(cases.stating(profiled, gAMA=twice, sRGB=b"\0"), as_p3(color))
    assert near(cases.stating(profiled, cICP=bytes([1, 13, 0, 1])), color)
    assert near(cases.stating(plain, cICP=bytes([12, 13, 9, 1])), color), "a matrix is not valid in PNG"
    assert near(cases.stating(plain, gAMA=gamma, cHRM=bytes(32)), color), "primaries that span nothing"
    assert near(cases.stating(encoded(flat((126, 126, 126))), cICP=bytes([1, 13, 0, 0])), (128, 128, 128))


def test_png_rotten_colour() -> None:
    """A chunk that states colour and fails its checksum is ignored, a profile too, and what comes next counts."""
    color, plain = COLORS[0], encoded(flat(COLORS[0]))
    twice = struct.pack(">I", 90909)
    brighter = tuple(int(v) for v in shown(cases.stating(plain, gAMA=twice))[256, 256])
    profiled = cases.profiled_png(flat(color), cases.profile_of("p3"))
    assert near(cases.rotten_chunk(cases.stating(plain, cICP=bytes([12, 13, 0, 1])), b"cICP"), color)
    assert near(cases.rotten_chunk(cases.stating(plain, gAMA=twice), b"gAMA"), color)
    assert near(cases.rotten_chunk(cases.stating(plain, gAMA=twice, cHRM=PRIMARIES_P3), b"cHRM"), brighter)
    assert near(cases.rotten_chunk(cases.stating(plain, gAMA=twice, sRGB=b"\0"), b"sRGB"), brighter)
    assert near(cases.rotten_chunk(profiled, b"iCCP"), color)
    assert near(cases.rotten_chunk(cases.stating(profiled, gAMA=twice), b"iCCP"), brighter)
    for content in (b"x\0\0no deflate", b"x\0\0" + zlib.compress(b"no profile" * 50), b"no end", b""):
        assert near(cases.stating(plain, iCCP=content), color)
        assert near(cases.stating(plain, iCCP=content, gAMA=twice), brighter)


@pytest.mark.parametrize("transfer", [16, 18], ids=["pq", "hlg"])
def test_avif_pq(transfer: int) -> None:
    """PQ and HLG are flagged and tone-mapped: order is kept and SDR's white stays bright."""
    for data in (
        cases.stating(encoded(cases.ramp()), cICP=bytes([9, transfer, 0, 1])),
        cases.with_nclx(cases.avif(cases.ramp()), 9, transfer),
    ):
        assert flags_of(data)[-1:] == ("hdr",)
        row = shown(data)[256, :, 1]
        assert (np.diff(row) >= -2).all()
        white = row[round(512 * (0.58 if transfer == 16 else 0.75))]
        assert 225 <= white <= 250
        assert row[-1] == 255
    profiled = cases.stating(cases.profiled_png(flat(COLORS[0]), cases.profile_of("p3")), cICP=bytes([9, 16, 0, 1]))
    assert "hdr" in flags_of(profiled)
    assert near(profiled, as_p3(COLORS[0])), "a profile beside PQ is its maker's own rendering"


# --- transparency and animation


def test_png_rotten_transparency(tmp_path: Path) -> None:
    """Transparency that fails its checksum is ignored, as browsers do; its bytes stay as they are."""
    drawn = np.repeat(np.array([[0, 1, 2]], np.uint8), 200, axis=0).repeat(100, axis=1)
    picture = Image.fromarray(drawn, "P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    held = io.BytesIO()
    picture.save(held, "PNG", transparency=bytes([0, 255, 128]), compress_level=0)
    sound = held.getvalue()
    rotten = cases.rotten_chunk(sound, b"tRNS")
    assert (inspect_image(sound).alpha, inspect_image(rotten).alpha, inspect_image(rotten).flags) == (True, False, ())
    assert np.abs(shown(rotten)[256, [150, 256, 360]] - [(255, 0, 0), (0, 255, 0), (0, 0, 255)]).max() <= 3
    for name, data in (("sound", sound), ("rotten", rotten)):
        (tmp_path / f"{name}.png").write_bytes(data)
    results = [
        run_image_job(ImageJob(source=tmp_path / f"{name}.png", original=tmp_path / f"{name}-new.png"))
        for name in ("sound", "rotten")
    ]
    assert [(result.optimized, result.kept) for result in results] == [(True, None), (False, "unusual")]
    assert results[1].pixel_hash == md5_of_bytes(rotten), "libvips gives up where no error may be passed over"


@pytest.mark.parametrize("place", [(64, 64, 0, 0), (20, 30, 10, 5)])
def test_lone_frame_is_shown(place: tuple[int, int, int, int]) -> None:
    """An APNG of one frame shows it, on its place, and not the default image that is no frame."""
    data = cases.apng_lone_frame(*place)
    assert inspect_image(data).pages == 1
    width, height, left, top = place
    pixels = shown(data)[224:288, 224:288]
    assert np.abs(pixels[top + height // 2, left + width // 2] - [0, 0, 255]).max() < 12
    assert not (np.abs(pixels - [255, 0, 0]).max(axis=2) < 60).any(), "nothing of the default image"


@pytest.mark.parametrize("kind", ["webp_lossy", "webp_lossless", "png", "avif"])
def test_webp_big_alpha_lossy(kind: str) -> None:
    """Colour under full transparency does not bleed into what is visible."""
    image = pictures.from_array(cases.hidden_colors())
    suffix = {
        "webp_lossy": ".webp[Q=90,exact,effort=0]",
        "webp_lossless": ".webp[lossless,exact,effort=0]",
        "png": ".png[compression=1]",
        "avif": ".avif[Q=90,effort=0,subsample_mode=off]",
    }[kind]
    data = image.write_to_buffer(suffix)
    assert inspect_image(data).alpha
    decoded = pyvips.Image.new_from_buffer(data, "").numpy().astype(float)
    alpha = decoded[..., 3:] / 255
    meant = (decoded[..., :3] * alpha + 255 * (1 - alpha)).mean(axis=(0, 1))
    assert np.abs(shown(data).mean(axis=(0, 1)) - meant).max() < 2


# --- reasons that say what a file is


@pytest.mark.parametrize(
    ("data", "flag"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heic"),
        (b"\xff\x0a" + bytes(30), "jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(30), "jxl"),
        (b"II*\0" + bytes(30), "tiff"),
        (b"MM\0*" + bytes(30), "tiff"),
        (b"8BPS\0\1" + bytes(30), "psd"),
    ],
)
def test_foreign_formats(data: bytes, flag: str) -> None:
    """A picture of a format that no release has is called what it is."""
    facts = inspect_image(data)
    assert (facts.file_type, facts.flags) == (None, (flag,))
    assert downscale_image(data, facts) == Reason.UNSUPPORTED_FORMAT


def test_sides_beyond_the_limit() -> None:
    """A side that a decoder refuses is too many pixels, not damage, and the facts have it."""
    at = next(segment.start for segment in segments_of(PLAIN) if segment.marker == 0xC0)
    tall = PLAIN[: at + 1] + struct.pack(">HH", 65535, 300) + PLAIN[at + 5 :]
    for data, height in ((tall, 65535), (pictures.bomb_png(2**31 - 1, 2**31 - 1), 2**31 - 1)):
        assert inspect_image(data).height == height
        assert downscale_image(data, inspect_image(data)) == Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize(
    ("mishap", "reason", "tried"), [("decoding", Reason.WORKER_CRASHED, 2), ("stalling", Reason.WORKER_TIMEOUT, 1)]
)
def test_worker_outcomes_keep_the_facts(tmp_path: Path, mishap: str, reason: Reason, tried: int) -> None:
    """If decoding kills two workers or stalls one, the result has what the header says."""
    source = tmp_path / f"{mishap}.jpg"
    source.write_bytes(PLAIN)
    with ImagePool(1, run=run_by_name, timeout_seconds=1.0 if mishap == "stalling" else 60.0) as pool:
        job = ImageJob(source=source, px512=tmp_path / "1.512.jpg")
        result = pool.submit(job).result(timeout=60)
    assert (result.px512_reason, result.unprocessed, len(attempts(job))) == (reason, True, tried)
    assert result.facts is not None
    assert (result.facts.width, result.facts.height, result.size) == (300, 200, len(PLAIN))

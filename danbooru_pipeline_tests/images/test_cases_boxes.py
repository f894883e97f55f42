"""Files after public reports of bugs: what a container says beside the pixels, in AVIF, GIF and JPEG."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from danbooru_pipeline.images import Downscaled, Flag, ImageJob, downscale_image, inspect_image, run_image_job
from danbooru_pipeline.images.av1 import read_av1_color
from danbooru_pipeline.images.avif import walk_avif, with_turned_alpha
from danbooru_pipeline.images.decode import shrink_image
from danbooru_pipeline.images.pixel_hash import decode_for_both, hash_pixels
from danbooru_pipeline.images.render import RenderSettings, render_image
from danbooru_pipeline.images.words import Quality
from danbooru_pipeline.io.md5 import md5_of_bytes
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline_tests.support import avif_boxes, cases
from danbooru_pipeline_tests.support.pictures import corners, illustration, jpeg, pixels_of

FILES = Path(__file__).parent / "files"


def shown(data: bytes) -> np.ndarray:
    """The 512px image on white, decoded."""
    made = downscale_image(data, inspect_image(data), quality=100, background="white")
    assert isinstance(made, Downscaled), made
    return pixels_of(made.data).astype(int)


def half_red(level: int) -> bytes:
    """An AVIF of one red at half opacity."""
    pixels = np.zeros((64, 96, 4), np.uint8)
    pixels[..., 0], pixels[..., 3] = level, 128
    return cases.avif(pixels)


def test_avif_premultiplied() -> None:
    """Colours that are multiplied by alpha already, as a reference says, are not multiplied again."""
    data = avif_boxes.with_reference(half_red(100), b"prem", source=1, target=2)
    assert walk_avif(data).premultiplied
    assert np.abs(shown(data)[256, 256] - shown(half_red(200))[256, 256]).max() <= 3
    for source in (2, 7):
        other = avif_boxes.with_reference(half_red(100), b"prem", source=source, target=1)
        assert not walk_avif(other).premultiplied


@pytest.mark.parametrize("hash_pixels", [True, False])
def test_avif_premultiplied_in_a_job(tmp_path: Path, *, hash_pixels: bool) -> None:
    """A job whose one decode also serves the pixel hash shows them the same."""
    (tmp_path / "1.avif").write_bytes(avif_boxes.with_reference(half_red(100), b"prem", source=1, target=2))
    job = ImageJob(source=tmp_path / "1.avif", px512=tmp_path / "1.jpg", hash_pixels=hash_pixels)
    assert run_image_job(job).px512_reason is None
    shown_by_job = pixels_of((tmp_path / "1.jpg").read_bytes()).astype(int)[256, 256]
    assert np.abs(shown_by_job - shown(half_red(200))[256, 256]).max() <= 3


@pytest.mark.parametrize("range_", ["full", "limited"])
def test_avif_mono_without_nclx(range_: str) -> None:
    """Where the container states no colour, the range of the coded picture counts: grey runs from black to white."""
    data = avif_boxes.without_nclx(cases.avif(cases.ramp(), subsampling="4:0:0", range=range_))
    row = shown(data)[256, :, 0]
    assert row[0] <= 3
    assert row[-1] >= 252


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("base_size", [0, 4, 8])
def test_avif_mono_iloc(version: int, base_size: int) -> None:
    """The coded picture is found by a table of items of any version, with or without a base."""
    data = avif_boxes.without_nclx(cases.avif(cases.ramp(), subsampling="4:0:0", range="limited"))
    data = avif_boxes.with_iloc(data, version, base_size)
    assert not walk_avif(data).full_range
    row = shown(data)[256, :, 0]
    assert row[0] <= 3
    assert row[-1] >= 252


def test_avif_mono_grid() -> None:
    """A grid is in the range of its tiles."""
    data = avif_boxes.without_nclx(cases.avif(cases.ramp(), subsampling="4:0:0", range="limited"))
    grid = avif_boxes.with_reference(data, b"dimg", source=7, target=1).replace(
        b"pitm\0\0\0\0\0\1", b"pitm\0\0\0\0\0\7"
    )
    assert (walk_avif(grid).monochrome, walk_avif(grid).full_range) == (True, False)


@pytest.mark.parametrize("hash_pixels", [True, False])
def test_avif_mono_profile(tmp_path: Path, *, hash_pixels: bool) -> None:
    """Grey in limited range is expanded before its profile is applied, which knows only full range."""
    profile = cases.profile_of("srgb")
    data = cases.avif(cases.ramp(), subsampling="4:0:0", range="limited", icc_profile=profile)
    assert inspect_image(data).has_profile
    (tmp_path / "1.avif").write_bytes(data)
    run_image_job(ImageJob(source=tmp_path / "1.avif", px512=tmp_path / "1.jpg", hash_pixels=hash_pixels))
    row = pixels_of((tmp_path / "1.jpg").read_bytes()).astype(int)[256, :, 0]
    assert row[0] <= 3
    assert row[-1] >= 252


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_coded_colour_is_found(subsampling: str) -> None:
    """The first header inside the coded picture says the same as the container."""
    data = cases.avif(cases.drawing(), subsampling=subsampling)
    bare = walk_avif(avif_boxes.without_nclx(data))
    assert (bare.nclx, bare.full_range) == (walk_avif(data).nclx, walk_avif(data).full_range)


@pytest.mark.parametrize(
    "data", [b"", b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x08\0\0", b"\x0a\x01\xff"]
)
def test_any_unit_has_an_answer(data: bytes) -> None:
    """Bytes that are no header of a picture, or end inside it, raise nothing."""
    assert read_av1_color(data) is None or read_av1_color(data)


def test_avif_clap_irot() -> None:
    """The container's crop is applied before its rotation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    crop = struct.pack(">8I", 100, 1, 80, 1, 0, 1, 0, 1)
    data = avif_boxes.with_property(cases.avif(cases.drawing(), exif=exif.tobytes()), b"clap", crop)
    inside = np.rot90(cases.drawing()[36:116, 50:150], -1)
    assert (inspect_image(data).width, inspect_image(data).height) == (80, 100)
    assert np.abs(shown(data)[206:306, 216:296] - inside.astype(int)).mean() < 6


def half_clear() -> np.ndarray:
    """A drawing whose upper part and left edge alone are opaque, so that every turn of its alpha is another."""
    alpha = np.zeros((152, 200), np.uint8)
    alpha[:40], alpha[:, :20] = 255, 255
    return np.dstack([cases.drawing(), alpha])


UNTURNED = avif_boxes.with_property(cases.avif(Image.fromarray(half_clear())), b"irot", b"\1")
TURNS: dict[str, tuple[list[tuple[bytes, bytes]], Callable[[np.ndarray], np.ndarray]]] = {
    "irot 1": ([(b"irot", b"\1")], np.rot90),
    "irot 2": ([(b"irot", b"\2")], lambda p: np.rot90(p, 2)),
    "irot 3": ([(b"irot", b"\3")], lambda p: np.rot90(p, 3)),
    "imir 0": ([(b"imir", b"\0")], lambda p: p[::-1]),
    "imir 1": ([(b"imir", b"\1")], lambda p: p[:, ::-1]),
    "clap": ([(b"clap", struct.pack(">4I4i", 100, 1, 80, 1, -20, 1, -30, 1))], lambda p: p[6:86, 30:130]),
    "irot 1, imir 0": ([(b"imir", b"\0"), (b"irot", b"\1")], lambda p: np.rot90(p)[::-1]),
}


@pytest.mark.parametrize("name", TURNS)
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_avif_alpha_not_turned(name: str, subsampling: str, tmp_path: Path) -> None:
    """Alpha without transforms of its own has those of its picture, as libavif and browsers have it (libavif #2831)."""
    data = cases.avif(Image.fromarray(half_clear()), quality=95, subsampling=subsampling)
    for turn in TURNS[name][0]:
        data = avif_boxes.with_property(data, *turn)
    meant = TURNS[name][1](half_clear())
    for found in (data, data + b"PK" * 20):
        pixels = shrink_image(found, inspect_image(found), size=512)[0].numpy().astype(int)
        assert pixels.shape == meant.shape
        assert np.abs(pixels[..., 3] - meant[..., 3]).max() <= 2
        assert np.abs(pixels - meant)[meant[..., 3] > 0].mean() < 3
    made = []
    for is_hashed in (True, False):
        (tmp_path / "1.avif").write_bytes(data)
        run_image_job(ImageJob(source=tmp_path / "1.avif", px512=tmp_path / "1.jpg", hash_pixels=is_hashed))
        made.append((tmp_path / "1.jpg").read_bytes())
    assert made[0] == made[1]


def test_avif_alpha_turned() -> None:
    """Alpha that has transforms is left as it is, and so is every file of another kind."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = cases.avif(Image.fromarray(half_clear()), exif=exif.tobytes())
    opaque = avif_boxes.with_property(cases.avif(cases.drawing()), b"irot", b"\1")
    upright = cases.avif(Image.fromarray(half_clear()))
    for data in (turned, opaque, upright, turned[:200], b"", b"\0\0\0\x20ftypavif"):
        assert with_turned_alpha(data) is data


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 420), st.integers(0, 255)), max_size=4))
def test_avif_alpha_of_any_bytes(changes: list[tuple[int, int]]) -> None:
    """Whatever the boxes say, the answer is a file of the same length or with one box more."""
    data = bytearray(UNTURNED)
    for at, byte in changes:
        data[at] = byte
    assert len(with_turned_alpha(bytes(data))) == len(data) or b"free" in with_turned_alpha(bytes(data))


def test_avif_hdr_profile() -> None:
    """PQ beside a profile, which is its maker's own rendering and goes first, is still said to be HDR."""
    plain = cases.avif(cases.drawing(), icc_profile=cases.profile_of("srgb"))
    data = cases.with_nclx(plain, 9, 16)
    facts = inspect_image(data)
    made = downscale_image(data, facts)
    assert isinstance(made, Downscaled)
    assert (facts.has_profile, made.flags) == (True, (Quality.HDR,))


def test_avif_property_unknown() -> None:
    """An AVIF that needs what the decoder does not know is no damaged one; one whose properties make no sense is."""
    data = cases.avif(cases.drawing())
    for name, body, reason in (
        (b"abcd", b"", Reason.UNDECODABLE),
        (b"iscl", struct.pack(">I4H", 0, 1, 2, 1, 2), Reason.UNDECODABLE),
        (b"clap", struct.pack(">8I", 0, 1, 0, 1, 0, 1, 0, 1), Reason.DAMAGED),
    ):
        other = avif_boxes.with_property(data, name, body)
        assert downscale_image(other, inspect_image(other)) == reason
        assert render_image(other, inspect_image(other), RenderSettings()) == reason.value


def test_avif_name_not_text() -> None:
    """An error that quotes a name which is no text is an error of that file, and of none after it in the process."""
    data = avif_boxes.with_property(cases.avif(cases.drawing()), b"ir\x83t", b"\0")
    facts = inspect_image(data)
    assert (facts.file_type, facts.width, facts.color_space) == ("avif", 200, None)
    assert isinstance(downscale_image(data, facts), Reason)
    assert render_image(data, facts, RenderSettings()) in set(Reason)
    assert hash_pixels(data, facts) == md5_of_bytes(data)
    assert decode_for_both(data, facts) is None
    with pytest.raises(pyvips.Error, match="unable to call"):
        pyvips.Image.new_from_buffer(b"\x89PNG\r\n\x1a\n", "")


def test_avif_identity() -> None:
    """RGB that is coded as it is keeps its colours."""
    image = pyvips.Image.new_from_array(cases.drawing()).copy(interpretation="srgb")
    data = image.heifsave_buffer(compression="av1", lossless=True)
    assert np.abs(shown(data)[180:332, 156:356] - cases.drawing()).max() <= 6


def test_avif_grid_hidden() -> None:
    """The hidden tiles of a grid are none of its frames."""
    data = (FILES / "avif_grid_hidden.avif").read_bytes()
    assert (inspect_image(data).pages, inspect_image(data).width) == (1, 1024)
    assert shown(data)[64:448].std() > 20


def test_gif_frame_larger() -> None:
    """A frame that is larger than the screen of a GIF is shown on a screen of its size."""
    data = (FILES / "gif_frame_larger.gif").read_bytes()
    assert (inspect_image(data).width, inspect_image(data).height) in {(50, 40), (100, 80)}
    assert np.abs(shown(data)[256, 256] - (0, 0, 255)).max() <= 4


def test_gif_offset_transp() -> None:
    """Around a frame that starts further in, and where its transparent colour is, the background shows."""
    data = (FILES / "gif_offset_transp.gif").read_bytes()
    assert inspect_image(data).alpha
    pixels = shown(data)
    assert np.abs(pixels[256, 256] - (255, 0, 0)).max() <= 4
    assert np.abs(pixels[256 - 35, 256 - 45] - 255).max() <= 4


@pytest.mark.parametrize("hash_pixels", [True, False])
def test_gif_offset(tmp_path: Path, *, hash_pixels: bool) -> None:
    """Around a frame that starts further in, the background shows also without a transparent colour."""
    data = bytearray((FILES / "gif_offset_transp.gif").read_bytes())
    data[data.index(b"!\xf9\4") + 3] &= 0xFE
    assert inspect_image(bytes(data)).alpha is False
    (tmp_path / "1.gif").write_bytes(data)
    run_image_job(ImageJob(source=tmp_path / "1.gif", px512=tmp_path / "1.jpg", hash_pixels=hash_pixels))
    pixels = pixels_of((tmp_path / "1.jpg").read_bytes()).astype(int)
    assert np.abs(pixels[256, 256] - (255, 0, 0)).max() <= 4
    assert np.abs(pixels[256 - 35, 256 - 45] - 255).max() <= 4


def grey_profile(gamma: float) -> bytes:
    """An ICC profile of grey with one exponent."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(79)
    tags, body, at = b"", b"", 128 + 4 + 12 * 3
    for name, content in ((b"desc", text), (b"wtpt", white), (b"kTRC", curve)):
        tags += name + struct.pack(">II", at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = at + len(body)
    head = struct.pack(
        ">I4sI4s4s4s12x4s28x3i48x", size, b"\0" * 4, 0x02100000, b"mntr", b"GRAY", b"XYZ ", b"acsp", 63190, 65536, 54061
    )
    return head.ljust(128, b"\0")[:128] + struct.pack(">I", 3) + tags + body


def test_jpg_gray_icc_gamma1() -> None:
    """A grey profile of linear light is applied: the middle becomes as bright as half of the light."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((64, 64), 128, np.uint8)).save(buffer, "JPEG", quality=95, icc_profile=grey_profile(1.0))
    assert inspect_image(buffer.getvalue()).has_profile
    assert np.abs(shown(buffer.getvalue())[256, 256] - 188).max() <= 2


@pytest.mark.parametrize("behind", [True, False], ids=["gain map behind", "gain map elsewhere"])
def test_jpg_gain_map(*, behind: bool) -> None:
    """A JPEG that says it has a gain map shows its base picture, wherever the map is and whatever points to it."""
    xmp = (
        b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/"
        b"22-rdf-syntax-ns#'><rdf:Description xmlns:hdrgm='http://ns.adobe.com/hdr-gain-map/1.0/' hdrgm:Version='1.0'/>"
        b"</rdf:RDF></x:xmpmeta>"
    )
    base = jpeg(illustration())
    stated = base[:2] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + base[2:]
    data = stated + (jpeg(corners()) if behind else b"")
    facts = inspect_image(data)
    assert (facts.file_type, facts.color_space, facts.flags) == ("jpg", "srgb", (Flag.TRAILING_DATA,) if behind else ())
    assert np.array_equal(shown(data), shown(base))

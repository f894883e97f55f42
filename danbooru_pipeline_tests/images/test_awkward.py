"""Awkward files that boorus have: each is rendered in the right colours, or has a reason; bombs stay small."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
import pyvips

from danbooru_pipeline.images import Downscaled, Flag, downscale_image, inspect_image, optimize_image
from danbooru_pipeline.images.jpeg import segments_of
from danbooru_pipeline.images.png import chunks_of
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline_tests.support import pictures
from danbooru_pipeline_tests.support.cases import apng_lone_frame, sampled_jpeg
from danbooru_pipeline_tests.support.pictures import illustration, jpeg, pixels_of, png, solid

MEANT = (180, 100, 60)
#: Gamma, and the D50 coordinates of red, green and blue.
SPACES = {
    "adobe": (
        2.19921875,
        (0.60974, 0.31111, 0.01947, 0.20528, 0.62567, 0.06087, 0.14919, 0.06322, 0.74457),
    ),
    "prophoto": (
        1.8,
        (0.79767, 0.28804, 0.0, 0.13519, 0.71187, 0.0, 0.03135, 0.00009, 0.82521),
    ),
}


def icc_profile(gamma: float, colorants: tuple[float, ...]) -> bytes:
    """A version 2 matrix profile with three colorants and one curve."""

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))

    name = b"test\0"
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(79),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
        **{name: xyz(colorants[3 * n : 3 * n + 3]) for n, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, 128 + 4 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = bytearray(128)
    head[8:12] = b"\x02\x10\0\0"
    head[12:24] = b"mntrRGB XYZ "
    head[36:40] = b"acsp"
    head[68:80] = struct.pack(">3i", 63190, 65536, 54061)
    head[0:4] = struct.pack(">I", 128 + len(table) + len(body))
    return bytes(head) + table + body


def middle(data: bytes) -> tuple[int, ...]:
    """The centre pixel of the 512px image."""
    made = downscale_image(data, inspect_image(data))
    assert isinstance(made, Downscaled), made
    return tuple(int(v) for v in pixels_of(made.data)[256, 256])


def near(color: tuple[int, ...], meant: tuple[int, ...], within: int = 6) -> bool:
    """Whether two colours are equal within JPEG's error."""
    return max(abs(a - b) for a, b in zip(color, meant, strict=True)) <= within


def with_profile(image: Any, profile: bytes) -> Any:
    """The image with a profile attached and its pixel values unchanged."""
    image = image.copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return image


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("encode", [jpeg, png])
def test_wide_spaces(tmp_path: Path, space: str, encode: Any) -> None:
    """Adobe RGB and ProPhoto are converted to sRGB, not shown with their raw values."""
    path = tmp_path / "profile.icc"
    path.write_bytes(icc_profile(*SPACES[space]))
    stored = solid(MEANT).icc_transform(str(path), input_profile="srgb")
    assert not near(tuple(stored(0, 0)), MEANT)
    data = encode(stored, keep="icc")
    assert inspect_image(data).has_profile
    assert near(middle(data), MEANT)


@pytest.mark.parametrize("profile", [b"rubbish" * 40, bytes(128), icc_profile(*SPACES["adobe"])[:200]])
def test_broken_profile(profile: bytes) -> None:
    """An invalid profile is ignored, and the picture is shown with its raw values."""
    for data in (jpeg(with_profile(solid(MEANT), profile), keep="icc"), _png_with_profile(profile)):
        assert near(middle(data), MEANT)


def _png_with_profile(profile: bytes) -> bytes:
    return pictures.with_chunk(png(solid(MEANT)), b"iCCP", b"x\0\0" + zlib.compress(profile))


def test_grey_with_colour_profile() -> None:
    """A grey picture with a colour profile stays grey, at its stored brightness."""
    data = jpeg(with_profile(solid((128,)), icc_profile(*SPACES["adobe"])), keep="icc")
    assert near(middle(data), (128, 128, 128))


def test_twelve_bits_are_not_damage() -> None:
    """A JPEG that none of our decoders reads is undecodable, not damaged."""
    data = jpeg(illustration())
    at = data.index(b"\xff\xc0") + 4
    data = data[:at] + b"\x0c" + data[at + 1 :]
    assert downscale_image(data, inspect_image(data)) == Reason.UNDECODABLE


@pytest.mark.needs("jpegtran")
def test_arithmetic_jpeg(tmp_path: Path) -> None:
    """An arithmetic-coded JPEG is flagged, and has a 512px image."""
    source, target = tmp_path / "in.jpg", tmp_path / "out.jpg"
    source.write_bytes(jpeg(solid(MEANT)))
    subprocess.run(["jpegtran", "-arithmetic", "-outfile", target, source], check=True)
    data = target.read_bytes()
    assert Flag.UNUSUAL_JPEG in inspect_image(data).flags
    assert near(middle(data), MEANT)


@pytest.mark.needs("cjpeg")
@pytest.mark.parametrize("options", [(), ("-progressive",), ("-restart", "2")])
def test_rotten_arithmetic_jpeg(options: tuple[str, ...]) -> None:
    """What the decoder complains of is damage in arithmetic coding, too, which shows less of it than Huffman coding."""
    data = sampled_jpeg("2x2,1x1,1x1", "-arithmetic", *options)
    assert isinstance(downscale_image(data, inspect_image(data)), Downscaled)
    half = len(data) // 2
    rotten = [data[:-2] + b"\x12" * 40 + data[-2:], *([data[:half] + data[half + 300 :]] if options else [])]
    assert {downscale_image(some, inspect_image(some)) for some in rotten} == {Reason.DAMAGED}


def scans_of(data: bytes, count: int) -> bytes:
    """The first scans of a JPEG, with an end of their own."""
    ends = [s.start - 4 for s in segments_of(data) if s.marker == 0xDA]
    return data[: ends[count]] + b"\xff\xd9"


@pytest.mark.needs("jpegtran")
def test_jpeg_without_a_scan(tmp_path: Path) -> None:
    """A component that no scan has is damage, even in a file that is whole otherwise; a refinement may be left out."""
    (tmp_path / "script").write_text("0;1;2;\n")
    (tmp_path / "in.jpg").write_bytes(jpeg(illustration()))
    command = ["jpegtran", "-scans", str(tmp_path / "script"), str(tmp_path / "in.jpg")]
    sequential = subprocess.run(command, capture_output=True, check=True).stdout
    progressive = jpeg(illustration(), interlace=True)
    (tmp_path / "script").write_text("0: 0-0, 0, 0;\n0: 1-63, 0, 0;\n1,2: 0-0, 0, 0;\n")
    separate = subprocess.run(command, capture_output=True, check=True).stdout
    for broken in (scans_of(sequential, 1), scans_of(sequential, 2), scans_of(separate, 2)):
        facts = inspect_image(broken)
        assert facts.flags == (Flag.CORRUPT,)
        assert downscale_image(broken, facts) == Reason.DAMAGED
    for whole in (sequential, separate, progressive, scans_of(progressive, 5)):
        assert inspect_image(whole).flags == ()


def test_png_with_content_in_its_end() -> None:
    """What is hidden in the chunk that ends a PNG is trailing data, which no optimiser may drop."""
    data = png(illustration())[:-12] + pictures.chunk(b"IEND", b"PK hidden")
    facts = inspect_image(data)
    assert facts.flags == (Flag.TRAILING_DATA,)
    assert optimize_image(data, facts).data == data
    assert isinstance(downscale_image(data, facts), Downscaled)


@pytest.mark.parametrize("name", [b"fcTL", b"fdAT"])
def test_a_frame_that_fails_its_checksum(name: bytes) -> None:
    """The frame of an APNG is corrupt like a picture is; in a PNG that is no APNG such a chunk means nothing."""
    data = apng_lone_frame(20, 20, 4, 4)
    at = next(chunk.end for chunk in chunks_of(data) if chunk.name == name)
    rotten = data[: at - 4] + b"rot!" + data[at:]
    facts = inspect_image(rotten)
    assert facts.flags == (Flag.CORRUPT, Flag.APNG)
    assert downscale_image(rotten, facts) == Reason.DAMAGED
    plain = rotten.replace(b"acTL", b"teXt")
    assert inspect_image(plain).flags == ()
    assert isinstance(downscale_image(plain, inspect_image(plain)), Downscaled)


def test_jpeg_with_a_late_height() -> None:
    """A JPEG that states its height after its first scan is a kind that no decoder here knows, and no damage."""
    data = jpeg(illustration())
    at = data.index(b"\xff\xc0") + 5
    late = data[:at] + bytes(2) + data[at + 2 : -2] + b"\xff\xdc\0\4" + data[at : at + 2] + data[-2:]
    facts = inspect_image(late)
    assert (facts.width, facts.height, facts.flags) == (300, 200, (Flag.UNUSUAL_JPEG,))
    assert downscale_image(late, facts) == Reason.UNDECODABLE
    again = data[:-2] + b"\xff\xdc\0\4" + data[at : at + 2] + data[-2:]
    assert inspect_image(again) == inspect_image(data)


def test_jpeg_with_a_marker_that_means_nothing() -> None:
    """TEM, which decoders skip, is no end of a JPEG."""
    data = jpeg(illustration())
    marked = data[:2] + b"\xff\x01" + data[2:]
    assert inspect_image(marked) == inspect_image(data)
    assert downscale_image(marked, inspect_image(marked)) == downscale_image(data, inspect_image(data))


BOMBS = {
    "zTXt": "pictures.with_chunk(P, b'zTXt', b'x' + bytes(2) + zlib.compress(bytes(400_000_000), 1))",
    "iCCP": "pictures.with_chunk(P, b'iCCP', b'x' + bytes(2) + zlib.compress(bytes(400_000_000), 1))",
    "30000": "pictures.bomb_png()",
    "1 bit": "pictures.raw_png(struct.pack('>IIBBBBB', 100_000, 100_000, 1, 0, 0, 0, 0), bytes(10**7))",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_stay_small(tmp_path: Path, bomb: str) -> None:
    """A bomb costs its worker less than 400 MB, whatever its outcome."""
    path = tmp_path / "bomb.png"
    make = (
        "import struct, sys, zlib; from danbooru_pipeline_tests.support import pictures; "
        "P = pictures.png(pictures.illustration()); open(sys.argv[1], 'wb').write(" + BOMBS[bomb] + ")"
    )
    subprocess.run([sys.executable, "-c", make, path], check=True)
    work = (
        "import re, sys; from pathlib import Path; from danbooru_pipeline.images import ImageJob, run_image_job; "
        "p = Path(sys.argv[1]); r = run_image_job(ImageJob(source=p, original=p, px512=p.with_suffix('.jpg'))); "
        # Not ru_maxrss, which a process inherits from its parent.
        "peak = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text()); "
        "print(int(peak[1]) // 1024, r.px512_reason)"
    )
    done = subprocess.run([sys.executable, "-c", work, path], check=True, capture_output=True, text=True)
    assert int(done.stdout.split()[0]) < 400, done.stdout

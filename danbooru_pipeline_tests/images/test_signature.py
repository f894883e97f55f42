"""File types are recognised by their magic bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.images import sniff_type
from danbooru_pipeline.images.signature import sniff_other_picture
from danbooru_pipeline.layout import EXTENSIONS
from danbooru_pipeline_tests.support.pictures import bmp, illustration, jpeg, png

SAMPLES = {
    "mp4": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
    "avif": b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiafMA1B",
    "webm": b"\x1aE\xdf\xa3\x9fB\x86\x81\1",
    "swf": b"CWS\x0a\0\0\0\0",
    "zip": b"PK\3\4\x14\0\0\0",
    "rar": b"Rar!\x1a\x07\1\0",
    "pdf": b"%PDF-1.4\n",
    "avi": b"RIFF\0\0\0\0AVI LIST",
    "webp": b"RIFF\0\0\0\0WEBPVP8 ",
    "wmv": b"0&\xb2u\x8ef\xcf\x11\xa6\xd9",
    "mpg": b"\0\0\1\xba\x44",
    "mp3": b"ID3\3\0\0\0",
    "gif": b"GIF89a\1\0\1\0",
    "html": b"\xef\xbb\xbf\n <!DOCTYPE html><html>",
}


@pytest.mark.parametrize(("file_type", "data"), SAMPLES.items(), ids=SAMPLES)
def test_known_first_bytes(file_type: str, data: bytes) -> None:
    """Each type of a release is recognised by its magic bytes."""
    assert sniff_type(data) == file_type


def test_encoded_pictures() -> None:
    """JPG, PNG and BMP as encoders write them are recognised."""
    image = illustration(16, 16)
    assert [sniff_type(jpeg(image)), sniff_type(png(image)), sniff_type(bmp())] == ["jpg", "png", "bmp"]


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"BM but not a bitmap at all", b"plain text", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"]
)
def test_unknown(data: bytes) -> None:
    """Unknown types are None, including HEIC and texts that start like a BMP."""
    assert sniff_type(data) is None


@pytest.mark.parametrize("brand", [b"mif1", b"heif", b"miaf", b"1pic", b"avci", b"vvic", b"tmap"])
def test_other_stills_in_the_container_of_films(brand: bytes) -> None:
    """A still picture is no film, whatever it is coded with; only the brands of AVIF make it one of a release."""
    data = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0miafheic"
    assert (sniff_type(data), sniff_other_picture(data)) == (None, "heic")
    assert sniff_type(data.replace(b"miafheic", b"miafavif")) == "avif"


def test_audio_without_tags() -> None:
    """An MP3 without tags, which starts with its first frame, is recognised."""
    assert sniff_type(b"\xff\xfb\x90\x64") == "mp3"


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """For any bytes the answer is None or an extension of a release."""
    assert sniff_type(data) in EXTENSIONS | {None}

"""JPG originals as JPEG XL: exactly the same bytes can be restored, or the JPG is kept."""

import hashlib
from pathlib import Path

import pytest
import pyvips
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.images import Flag, ImageJob, ImageResult, run_image_job
from danbooru_pipeline.images.archive import archive_jpeg, restore_jpeg
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline_tests.support import pictures
from danbooru_pipeline_tests.support.pictures import illustration, jpeg, png

JPEG = jpeg(illustration())


def run(folder: Path, data: bytes, name: str = "1.jpg") -> ImageResult:
    """Run a full job on some bytes, with JPEG XL enabled."""
    source = folder / name
    source.write_bytes(data)
    return run_image_job(ImageJob(source=source, original=source, archive=folder / "1.jxl", px512=folder / "512.jpg"))


@given(seed=st.integers(0, 2**31 - 1), quality=st.integers(1, 100), progressive=st.booleans(), grey=st.booleans())
def test_any_archived_jpeg_can_be_restored(seed: int, quality: int, *, progressive: bool, grey: bool) -> None:
    """Any kind of JPEG that is archived is restored byte for byte."""
    noise = pyvips.Image.gaussnoise(70, 50, mean=128, sigma=60, seed=seed).cast("uchar")
    image = noise if grey else noise.bandjoin([noise.rot180(), noise.invert()])
    data = image.jpegsave_buffer(Q=quality, interlace=progressive)
    archived = archive_jpeg(data)
    assert archived is None or (len(archived) < len(data) and restore_jpeg(archived) == data)


@pytest.mark.parametrize("data", [b"", b"garbage", png(illustration()), JPEG[: len(JPEG) // 2]])
def test_bytes_that_are_not_a_whole_jpeg_are_refused(data: bytes) -> None:
    """They are neither archived nor restored."""
    assert archive_jpeg(data) is None
    with pytest.raises(ValueError, match="no JPEG"):
        restore_jpeg(data)


def test_jpg_is_replaced(tmp_path: Path) -> None:
    """The JPEG XL replaces the JPG; facts and 512px image are those of the JPG."""
    result = run(tmp_path, JPEG)
    archived = (tmp_path / "1.jxl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.jxl", "512.jpg"]
    assert restore_jpeg(archived) == JPEG
    assert (result.stored_ext, result.optimized_by, result.optimized) == ("jxl", "jpeg-xl", True)
    assert (result.size, result.sha256) == (len(archived), hashlib.sha256(archived).hexdigest())
    assert result.saved_bytes == len(JPEG) - len(archived)
    assert result.facts is not None
    assert (result.facts.file_type, result.facts.flags, result.px512_reason) == ("jpg", (), None)


def test_px512_is_made_from_the_restored_jpeg(tmp_path: Path) -> None:
    """A 512px image made later has the same bytes as one made from the JPG, and the archive stays."""
    first = run(tmp_path, JPEG)
    job = ImageJob(source=tmp_path / "1.jxl", px512=tmp_path / "again.jpg")
    again = run_image_job(job)
    assert (tmp_path / "again.jpg").read_bytes() == (tmp_path / "512.jpg").read_bytes()
    assert (again.restored_md5, again.restored_size) == (hashlib.md5(JPEG).hexdigest(), len(JPEG))
    assert (again.size, again.sha256, again.stored_ext) == (first.size, first.sha256, "jxl")
    assert again.facts == first.facts


def test_rotten_archive_is_damaged(tmp_path: Path) -> None:
    """It cannot be restored, so there is no 512px image; the file stays for the scrub to find."""
    run(tmp_path, JPEG)
    path = tmp_path / "1.jxl"
    path.write_bytes(path.read_bytes()[:2000])
    result = run_image_job(ImageJob(source=path, px512=tmp_path / "again.jpg"))
    assert (result.px512_reason, result.restored_md5, result.size) == (Reason.DAMAGED, None, 2000)


@pytest.mark.parametrize(
    ("data", "name", "tool"),
    [
        (jpeg(illustration().colourspace("cmyk")), "1.jpg", "mozjpeg"),
        (JPEG, "1.png", "mozjpeg"),
        (png(illustration()), "1.png", "oxipng -o2"),
        (JPEG + b"more", "1.jpg", None),
        (pictures.rot(JPEG, 0.5, length=200), "1.jpg", None),
    ],
)
def test_others_stay_under_their_name(tmp_path: Path, data: bytes, name: str, tool: str | None) -> None:
    """Files that JPEG XL refuses, or that are not named as JPG, are processed as usual."""
    result = run(tmp_path, data, name)
    assert (tmp_path / name).exists()
    assert not (tmp_path / "1.jxl").exists()
    assert (result.optimized_by, result.stored_ext) == (tool, None)
    assert result.facts is not None
    assert (Flag.WRONG_EXTENSION in result.facts.flags) == (data == JPEG)

"""A job reads its source once, and writes only what is new, to new inodes."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from danbooru_pipeline.images import Flag, ImageJob, ImageResult, ImageSettings, Kept, optimize, run_image_job
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline_tests.support import pictures
from danbooru_pipeline_tests.support.pictures import illustration, jpeg, png


def run(tmp_path: Path, data: bytes, name: str = "1.jpg") -> tuple[ImageJob, ImageResult]:
    """Run a full job on some bytes."""
    source = tmp_path / name
    source.write_bytes(data)
    job = ImageJob(source=source, original=source, px512=tmp_path / "512px" / "1.jpg")
    return job, run_image_job(job)


@pytest.mark.parametrize("data", [jpeg(illustration()), png(illustration())])
def test_everything(tmp_path: Path, data: bytes) -> None:
    """The original is optimised in place, the 512px image is made, and the result describes both files."""
    job, result = run(tmp_path, data)
    original, px512 = job.source.read_bytes(), (tmp_path / "512px" / "1.jpg").read_bytes()
    assert (result.optimized, result.saved_bytes) == (True, len(data) - len(original))
    assert (result.size, result.sha256) == (len(original), hashlib.sha256(original).hexdigest())
    assert (result.px512_size, result.px512_sha256) == (len(px512), hashlib.sha256(px512).hexdigest())
    assert (result.px512_reason, result.kept, result.background) == (None, None, "white")
    assert result.cpu_seconds > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.jpg", "512px"]


def test_not_through_a_hard_link(tmp_path: Path) -> None:
    """A release that hard-links the original keeps its bytes."""
    data = jpeg(illustration())
    (tmp_path / "1.jpg").write_bytes(data)
    os.link(tmp_path / "1.jpg", tmp_path / "released.jpg")
    _, result = run_image_job_in_place(tmp_path / "1.jpg")
    assert result.optimized
    assert (tmp_path / "released.jpg").read_bytes() == data
    assert (tmp_path / "1.jpg").stat().st_ino != (tmp_path / "released.jpg").stat().st_ino


def run_image_job_in_place(path: Path) -> tuple[ImageJob, ImageResult]:
    """Run a job that only optimises, in place."""
    job = ImageJob(source=path, original=path)
    return job, run_image_job(job)


def test_nothing_to_gain_nothing_written(tmp_path: Path) -> None:
    """A file that cannot be made smaller is not written."""
    data = png(illustration())
    job, _ = run(tmp_path, data)
    before = job.source.stat()
    result = run_image_job(job)
    assert (result.optimized, result.kept, result.saved_bytes) == (False, Kept.LARGER, 0)
    assert (job.source.stat().st_ino, job.source.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_original_left_alone(tmp_path: Path) -> None:
    """Without a path for it, the original is not optimised and no 512px image is made."""
    data = jpeg(illustration())
    source = tmp_path / "1.jpg"
    source.write_bytes(data)
    result = run_image_job(ImageJob(source=source))
    assert (result.optimized, result.kept, result.px512_reason, result.px512_size) == (False, None, None, None)
    assert source.read_bytes() == data


def test_rot_found_by_the_strict_decode_is_reported(tmp_path: Path) -> None:
    """Bit rot that only the strict decode finds becomes a flag, a reason and a kept original."""
    data = pictures.rot(jpeg(illustration()), 0.5, length=200)
    job, result = run(tmp_path, data)
    assert result.facts is not None
    assert (result.facts.flags, result.kept, result.px512_reason) == ((Flag.CORRUPT,), Kept.CORRUPT, Reason.DAMAGED)
    assert job.source.read_bytes() == data
    assert not (tmp_path / "512px").exists()


@pytest.mark.parametrize(("name", "wrong"), [("1.png", True), ("1.jpg", False), ("1.jpeg", False), ("1.mp4", True)])
def test_wrong_extension(tmp_path: Path, name: str, *, wrong: bool) -> None:
    """A file with the wrong extension is flagged, and processed as what it is."""
    _, result = run(tmp_path, jpeg(illustration()), name)
    assert result.facts is not None
    assert (result.facts.file_type, Flag.WRONG_EXTENSION in result.facts.flags) == ("jpg", wrong)
    assert (result.optimized_by, result.px512_reason) == ("mozjpeg", None)


@pytest.mark.parametrize("data", [b"", b"PK\3\4 archive", b"<html>"])
def test_not_a_picture(tmp_path: Path, data: bytes) -> None:
    """Videos, archives and empty files get their checksum and a reason."""
    _, result = run(tmp_path, data, "1.zip")
    assert (result.size, result.px512_reason) == (len(data), Reason.NOT_AN_IMAGE)


def test_missing_source(tmp_path: Path) -> None:
    """A missing source is an error, not an outcome of the picture."""
    with pytest.raises(FileNotFoundError):
        run_image_job(ImageJob(source=tmp_path / "none.jpg"))


def test_settings_fingerprint() -> None:
    """The fingerprint changes exactly when a setting that affects 512px images changes."""
    settings = ImageSettings()
    assert settings.fingerprint() == ImageSettings().fingerprint()
    others = [
        replace(settings, px512_quality=91),
        replace(settings, px512_size=256),
        replace(settings, max_pixels=1),
        replace(settings, background="white"),
    ]
    assert len({settings.fingerprint(), *(other.fingerprint() for other in others)}) == 5
    assert replace(settings, png_level=1).fingerprint() == settings.fingerprint(), "512px images stay as they are"
    assert settings.as_dict()["px512_quality"] == 90
    assert settings.background == "contrast"


def test_settings_are_followed(tmp_path: Path) -> None:
    """The settings' size and pixel limit are applied."""
    source = tmp_path / "1.png"
    source.write_bytes(png(illustration()))
    job = ImageJob(source=source, original=source, px512=tmp_path / "o.jpg", settings=ImageSettings(px512_size=64))
    run_image_job(job)
    assert pictures.pixels_of((tmp_path / "o.jpg").read_bytes()).shape == (64, 64, 3)
    result = run_image_job(replace(job, settings=ImageSettings(max_pixels=100)))
    assert (result.px512_reason, result.kept) == (Reason.TOO_MANY_PIXELS, Kept.TOO_MANY_PIXELS)


def test_a_deep_picture_that_is_not_optimised_has_everything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 16-bit picture whose pixels take too much memory for the optimiser still gets its 512px image and its hash."""
    deep = png(illustration().cast("ushort").copy(interpretation="rgb16"), bitdepth=16)
    monkeypatch.setattr(optimize, "MAX_DEEP_BYTES", 300 * 200 * 6 - 1)
    _, result = run(tmp_path, deep, "1.png")
    assert (result.kept, result.px512_reason, result.optimized) == (Kept.TOO_MANY_PIXELS, None, False)
    assert result.pixel_hash is not None

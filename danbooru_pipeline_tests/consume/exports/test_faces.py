"""Boxes of a detector: exact places, in any form of output; what is no detector is one line."""

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from danbooru_pipeline.consume import Selection, apply_export, plan_export
from danbooru_pipeline.consume.exports import faces
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.images.boxes import Box, candidates, suppress
from danbooru_pipeline.images.detect import Detector, DetectorSettings
from danbooru_pipeline.images.detect_job import DetectJob, DetectResult, crop_area, run_detect_job
from danbooru_pipeline_tests.support.tiny_detector import Kind, tiny_detector

Run = Callable[..., Result]


def look(source: Path, detector: DetectorSettings, **more: Any) -> DetectResult:
    """What a job finds in a file."""
    result = run_detect_job(DetectJob(source=source, detector=detector, **more), lambda _: None)
    assert isinstance(result, DetectResult)
    return result


def red_spot(path: Path, *, orientation: int = 1, size: tuple[int, int] = (256, 128)) -> Path:
    """A black picture with a red square of 32 pixels at 64, 32; a cell, once it is shrunk to a quarter and padded."""
    picture = Image.new("RGB", size)
    picture.paste((255, 0, 0), (64, 32, 96, 64))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif)
    return path


@pytest.mark.parametrize("kind", ["yolov5", "yolov8", "corners"])
def test_boxes_are_in_pixels_of_the_picture(kind: Kind, tmp_path: Path) -> None:
    """Whatever its form, an output is turned back to the picture before it was shrunk and padded, and is named."""
    boxes = kind if kind == "yolov5" else "auto"  # with a grid of 64 cells it looks like corners
    settings = DetectorSettings(model=tiny_detector(tmp_path / "m.onnx", kind), boxes=boxes)
    result = look(red_spot(tmp_path / "a.png"), settings)
    assert (result.width, result.height, result.left_out) == (256, 128, None)
    (box,) = result.boxes
    assert (box.left, box.top, box.width, box.height) == pytest.approx((48, 16, 64, 64), abs=0.01)
    assert box.score == pytest.approx(1, abs=0.05)
    assert (box.class_id, box.class_name) == (0, "face")


def test_boxes_follow_the_orientation(model: Path, tmp_path: Path) -> None:
    """A picture that its EXIF turns has its boxes, and crops, where people see them; no box leaves the picture."""
    source = red_spot(tmp_path / "a.png", orientation=6)
    result = look(source, DetectorSettings(model=model), crops=f"{tmp_path}/{{}}.jpg")
    assert (result.width, result.height) == (128, 256)
    (box,) = result.boxes
    assert (box.left, box.top, box.width, box.height) == pytest.approx((48, 48, 64, 64), abs=0.01)
    with Image.open(tmp_path / "0.jpg") as crop:
        assert crop.size == (96, 96)
        red, green, _ = crop.getpixel((48, 48))  # type: ignore[misc]
        assert red > 200
        assert green < 50


@pytest.mark.parametrize("channels_last", [False, True])
def test_inputs_of_any_order_and_size(tmp_path: Path, *, channels_last: bool) -> None:
    """Channels last, and sides that the model leaves open, which `--input-size` then decides."""
    path = tiny_detector(tmp_path / "m.onnx", size="side", channels_last=channels_last)
    (box,) = look(red_spot(tmp_path / "a.png"), DetectorSettings(model=path, input_size=64)).boxes
    assert (box.left, box.top) == pytest.approx((48, 16), abs=0.01)
    with pytest.raises(SettingsError, match="failed"):
        Detector(DetectorSettings(model=path, input_size=72))  # its grid is made for 64


def test_small_and_broken_pictures(model: Path, tmp_path: Path) -> None:
    """A tiny picture is enlarged to be looked at; what cannot be decoded is left out with a reason."""
    small = tmp_path / "s.png"
    Image.new("RGB", (2, 3), "red").save(small)
    result = look(small, DetectorSettings(model=model))
    assert result.boxes
    assert all(0 <= box.left < box.left + box.width <= 2.001 for box in result.boxes)
    (tmp_path / "b.png").write_bytes(small.read_bytes()[:40])
    assert look(tmp_path / "b.png", DetectorSettings(model=model)).left_out is not None


ROWS = arrays.arrays(
    np.float32,
    st.tuples(st.just(1), st.integers(0, 20), st.just(6)),
    elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([float("nan"), float("inf")]),
)


@given(ROWS)
def test_no_output_breaks_it(raw: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    """NaN, infinities and boxes inside out give finite rows, sorted by score, that do not overlap too much."""
    for boxes in ("yolov5", "corners"):
        rows = candidates(raw, boxes, min_score=0.1)
        assert np.isfinite(rows).all()
        assert (np.diff(rows[:, 4]) <= 0).all()
        kept = suppress(rows[(rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])], most_overlap=0.5)
        assert len(kept) <= len(rows)


def test_overlapping_boxes_are_one() -> None:
    """Of boxes of a class the best stays; another class, and what touches it a little, stay too."""
    rows = np.array(
        [[0, 0, 10, 10, 0.9, 0], [1, 1, 11, 11, 0.8, 0], [1, 1, 11, 11, 0.7, 1], [9, 9, 19, 19, 0.6, 0]], np.float32
    )
    assert suppress(rows, most_overlap=0.5)[:, 4].tolist() == pytest.approx([0.9, 0.7, 0.6])


@given(*[st.floats(0, 100)] * 4, st.floats(0.1, 100))
def test_crops_are_inside_and_never_empty(left: float, top: float, width: float, height: float, scale: float) -> None:
    """Whatever the box and the scale, a crop has a pixel and lies in the picture."""
    box = Box(left=left, top=top, width=width, height=height, score=1, class_id=0)
    area = crop_area(box, scale, width=80, height=60)
    assert 0 <= area[0] < area[2] <= 80
    assert 0 <= area[1] < area[3] <= 60


def test_what_is_no_detector_is_one_line(odd: Path, tmp_path: Path, run: Run, model: Path) -> None:
    """No model, no file, a text, a model of something else, an output of another form, bad shares: exit code 2."""
    (tmp_path / "text.onnx").write_text("not a model")
    cases: list[tuple[Any, ...]] = [
        (),
        ("--model", tmp_path / "none.onnx"),
        ("--model", tmp_path / "text.onnx"),
        ("--model", tmp_path),
        ("--model", model, "--boxes", "corners"),
        ("--model", model, "--min-box-score", "7"),
        ("--model", model, "--most-overlap", "nan"),
        ("--model", model, "--scale", "0"),
        ("--model", model, "--input-size", "1"),
        ("--model", model, "--workers", "-1"),
    ]
    for more in cases:
        done = run("export", "faces", odd, tmp_path / "x", *more)
        assert (done.exit_code, done.output.count("\n")) == (2, 1), (more, done.output)
    assert [path.name for path in tmp_path.iterdir()] == ["text.onnx"]


def test_without_onnxruntime_it_says_how_to_get_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named where it is missing."""
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(SettingsError, match=r"pip install danbooru-pipeline\[faces\]"):
        Detector(DetectorSettings(model=model))


def as_jpeg(picture: Path) -> bytes:
    """A picture as a JPEG."""
    buffer = io.BytesIO()
    Image.open(picture).convert("RGB").save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.fixture
def red(odd: Path, tmp_path: Path) -> Path:
    """A copy of the release in which image 2 has a red cell, the others are black, and image 1002 is missing."""
    copy = tmp_path / "red"
    subprocess.run(["cp", "-r", odd, copy], check=True)
    subprocess.run(["chmod", "-R", "u+w", copy], check=True)
    Image.new("RGB", (40, 40)).save(tmp_path / "black.png")
    for name in ("0001/1", "0003/2003"):
        (copy / f"512px/{name}.jpg").write_bytes(as_jpeg(tmp_path / "black.png"))
    (copy / "512px/0002/2.jpg").write_bytes(as_jpeg(red_spot(tmp_path / "spot.png")))
    (copy / "512px/0002/1002.jpg").unlink()
    return copy


def test_export_has_boxes_and_crops(red: Path, tmp_path: Path, run: Run, model: Path) -> None:
    """Every image that was looked at has a row, every box too; crops are an ImageFolder; the model is named."""
    more = ("--model", model, "--crops", "--tree", "512px", "--min-box-score", "0.9", "--workers", 1)
    done = run("export", "faces", red, tmp_path / "f", *more)
    assert done.exit_code == 1, done.output  # a file is missing
    pictures = pq.read_table(tmp_path / "f/pictures.parquet")
    boxes = pq.read_table(tmp_path / "f/boxes.parquet")
    assert dict(zip(pictures["id"].to_pylist(), pictures["boxes"].to_pylist(), strict=True)) == {1: 0, 2: 1, 2003: 0}
    (row,) = boxes.to_pylist()
    assert (row["id"], row["path"], row["box"], row["class_name"]) == (2, "512px/0002/2.jpg", 0, "face")
    assert (row["left"], row["top"], row["width"]) == pytest.approx((48, 16, 64), abs=1)
    assert boxes.schema.metadata[b"model"] == b"tiny.onnx"
    with Image.open(tmp_path / "f" / row["crop"]) as crop:
        assert crop.size == (96, 96)
    said = json.loads((tmp_path / "f/crops/metadata.jsonl").read_text())
    assert said["file_name"] == "2_0.jpg"
    assert "tiny.onnx" in (tmp_path / "f/README.md").read_text()
    assert (tmp_path / "f/left_out.csv").read_text().splitlines() == ["id,reason", "1002,missing_file"]
    assert not list((tmp_path / "f").rglob(".*"))


def test_killed_export_goes_on_with_the_same_model_only(red: Path, tmp_path: Path, model: Path) -> None:
    """What was found is kept if the model is the same file; another one at the same path looks at everything again."""
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(model.read_bytes())
    options = faces.Options(detector=DetectorSettings(model=mine), workers=1)
    for change, kept in ((False, 1), (True, 0)):
        plan = plan_export("faces", red, tmp_path / f"x{change}", selection=Selection(), options=options)
        plan.part.mkdir()
        (plan.part / ".request").write_text(plan.fingerprint)
        work = faces.WORK
        head = json.dumps({"model": faces.digest_of(mine)}, separators=(",", ":"))
        row = {"id": 1, "path": "kept", "image_width": 1, "image_height": 1, "boxes": []}
        (plan.part / work).write_text(f"{head}\n{json.dumps(row)}\n{{")
        if change:
            tiny_detector(mine, "yolov5")
        apply_export(plan)
        paths = pq.read_table(plan.target / "pictures.parquet")["path"].to_pylist()
        assert paths.count("kept") == kept
        assert len(paths) == len(set(paths)) == 3

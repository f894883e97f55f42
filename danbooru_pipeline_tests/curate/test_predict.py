"""Predictions by an ONNX model: the picture arrives as the convention says, and what does not fit is refused."""

from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from danbooru_pipeline.consume import open_release
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.predict import write_predictions
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.images.tagger import Tagger, TaggerSettings

Curated = tuple[Path, CurationFolder, set[tuple[int, str]]]


def tiny_tagger(folder: Path, *, scale: float) -> Path:
    """A model whose output is the mean of each channel, times a factor."""
    constants = {"axes": np.array([1, 2]), "scale": np.array(scale, np.float32)}
    nodes = [
        helper.make_node("ReduceMean", ["picture", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["p"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 16, 16, 3])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.mark.parametrize(
    ("convention", "scale", "listed", "expected"),
    [
        ("wd", 1 / 255, "tag_id,name,category\n1,blue,0\n2,green,0\n3,red,0\n", [0, 0, 1]),
        ("deepdanbooru", 1.0, "red\ngreen\nblue\n", [1, 0, 0]),
    ],
)
def test_conventions(tmp_path: Path, convention: str, scale: float, listed: str, expected: list[int]) -> None:
    """A red picture is red by either convention."""
    (tmp_path / "tags").write_text(listed)
    model = tiny_tagger(tmp_path, scale=scale)
    settings = TaggerSettings(model=model, tags=tmp_path / "tags", convention=convention)  # type: ignore[arg-type]
    found = Tagger(settings).probabilities(Image.new("RGB", (20, 20), (255, 0, 0)))
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_predictions_of_a_release(curated: Curated, tmp_path: Path) -> None:
    """Every picture is looked at, and rows ascend by post."""
    (tmp_path / "tags").write_text("red\ngreen\nblue\n")
    model = tiny_tagger(tmp_path, scale=1.0)
    tagger = Tagger(TaggerSettings(model=model, tags=tmp_path / "tags", convention="deepdanbooru"))
    looked, unread = write_predictions(open_release(curated[0]), tagger, tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    assert (looked, unread) == (240, 0)
    assert table["id"].to_pylist() == sorted(table["id"].to_pylist())
    assert set(table["tag"].to_pylist()) == {"red", "green", "blue"}


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    """A list of another length, an empty one, and a file that is no model each give one line."""
    model = tiny_tagger(tmp_path, scale=1.0)
    tags = tmp_path / "tags"
    tags.write_text("one\ntwo\n")
    with pytest.raises(SettingsError, match=r"3 values, but .* has 2 tags"):
        Tagger(TaggerSettings(model=model, tags=tags))
    tags.write_text("\n")
    with pytest.raises(SettingsError, match="has no tags"):
        Tagger(TaggerSettings(model=model, tags=tags))
    tags.write_text("one\n")
    with pytest.raises(SettingsError, match="cannot be opened"):
        Tagger(TaggerSettings(model=tags, tags=tags))

"""A detector small enough to be made in a test: it finds the red cells of a grid, exactly."""

from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Side of a cell; a box is twice as large.
CELL: Final = 8
Kind = Literal["yolov5", "yolov8", "corners"]


def tiny_detector(path: Path, kind: Kind = "yolov8", *, size: int | str = 64, channels_last: bool = False) -> Path:
    """Write a model: the score of a cell is how much redder than green it is, its class is always 0.

    A grid of detectors is made for `size` = 64; with a name instead, the model says that it takes any size.
    """
    cells = 64 // CELL
    rows = cells * cells
    middle = np.arange(cells, dtype=np.float32) * CELL + CELL / 2
    x, y = np.meshgrid(middle, middle)
    size_of_box = np.full(rows, 2 * CELL, np.float32)
    boxes = np.stack([x.ravel(), y.ravel(), size_of_box, size_of_box])[None]
    if kind == "corners":
        boxes = np.stack([x.ravel() - CELL, y.ravel() - CELL, x.ravel() + CELL, y.ravel() + CELL])[None]
    constants = {
        "red": np.array([1, -1, 0], np.float32).reshape(1, 3, 1, 1),
        "shape": np.array([1, 1, rows]),
        "boxes": boxes,
        "one": np.ones((1, 1, rows), np.float32),
        "zero": np.zeros((1, 1, rows), np.float32),
    }
    parts = {"yolov8": ["boxes", "score"], "yolov5": ["boxes", "one", "score"], "corners": ["boxes", "score", "zero"]}
    nodes = [
        helper.make_node("Conv", ["planes", "red"], ["redness"]),
        helper.make_node("AveragePool", ["redness"], ["cells"], kernel_shape=[CELL] * 2, strides=[CELL] * 2),
        helper.make_node("Reshape", ["cells", "shape"], ["score"]),
        helper.make_node("Concat", parts[kind], ["table"], axis=1),
        helper.make_node("Transpose", ["table"], ["found"], perm=[0, 1, 2] if kind == "yolov8" else [0, 2, 1]),
    ]
    first = helper.make_node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2] if channels_last else [0, 1, 2, 3])
    shape: list[Any] = [1, size, size, 3] if channels_last else [1, 3, size, size]
    graph = helper.make_graph(
        [first, *nodes],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"names": "{0: 'face', 1: 'hand'}"})
    onnx.save(model, path)
    return path

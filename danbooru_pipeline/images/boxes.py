"""The output of a detector of the YOLO family as boxes: which form it has, and what stays without doubles."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
#: What an output has for each box. ``yolov5``: N × (x, y, w, h, objectness, a score per class), x and y of its middle.
#: ``yolov8``: the same without objectness and transposed, (4 + classes) × N. ``corners``: N × (left, top, right,
#: bottom, score, class), with nothing left to suppress. ``auto`` tells them apart by their shape.
BoxFormat = Literal["auto", "yolov5", "yolov8", "corners"]
#: The most boxes that ``auto`` takes for ``corners``; grids of detectors have thousands.
_MOST_CORNERS: Final = 1000
#: Boxes that are compared with each other: those with the highest scores.
_MOST_CANDIDATES: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box in pixels of the upright picture, from its upper left corner, and inside of the picture.

    Attributes:
        class_name: from the metadata of the model, if it says.
    """

    left: float
    top: float
    width: float
    height: float
    score: float
    class_id: int
    class_name: str | None = None


def format_of(shape: tuple[int, ...], wanted: BoxFormat) -> BoxFormat | None:
    """The format of an output of this shape; `wanted` if it can be that, None if it is unknown."""
    rows, columns = shape[1:] if len(shape) == 3 and shape[0] == 1 else (0, 0)
    fits = {"yolov8": rows >= 5, "corners": columns == 6, "yolov5": columns >= 6}
    if wanted != "auto":
        return wanted if fits[wanted] else None
    if fits["yolov8"] and columns > rows:
        return "yolov8"
    if fits["corners"] and rows <= _MOST_CORNERS:
        return "corners"
    return "yolov5" if fits["yolov5"] else None


def candidates(raw: Floats, boxes: BoxFormat, *, min_score: float) -> Floats:
    """Rows of left, top, right, bottom, score and class with at least a score, the highest first; no NaN survives."""
    table = raw[0].T if boxes == "yolov8" else raw[0]
    with np.errstate(all="ignore"):  # a model may give infinities; they are dropped below
        rows = table if boxes == "corners" else _corners_of(table, has_objectness=boxes == "yolov5")
        rows = rows[np.isfinite(rows).all(1) & (rows[:, 4] >= min_score)]
    rows = rows[np.argsort(-rows[:, 4], kind="stable")][:_MOST_CANDIDATES]
    return rows.astype(np.float32)


def _corners_of(table: Floats, *, has_objectness: bool) -> Floats:
    """Rows of a middle, a size and scores as rows of corners, the best score and its class."""
    scores = table[:, 5:] * table[:, 4:5] if has_objectness else table[:, 4:]
    best = scores.argmax(1) if len(scores) else np.zeros(0, np.int64)
    half = table[:, 2:4] / 2
    corners = (table[:, :2] - half, table[:, :2] + half)
    return np.column_stack([*corners, scores[np.arange(len(scores)), best], best.astype(np.float32)])


def suppress(rows: Floats, *, most_overlap: float) -> Floats:
    """Non-maximum suppression: without the rows that a better one of their class overlaps too much."""
    kept: list[int] = []
    areas = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])
    left = np.arange(len(rows))
    while len(left):
        first, rest = left[0], left[1:]
        kept.append(int(first))
        width = np.minimum(rows[first, 2], rows[rest, 2]) - np.maximum(rows[first, 0], rows[rest, 0])
        height = np.minimum(rows[first, 3], rows[rest, 3]) - np.maximum(rows[first, 1], rows[rest, 1])
        shared = width.clip(0) * height.clip(0)
        overlap = shared / np.maximum(areas[first] + areas[rest] - shared, 1e-9)
        left = rest[(overlap <= most_overlap) | (rows[rest, 5] != rows[first, 5])]
    return rows[kept]

"""Boxes that a detector of the user's finds in a picture: an ONNX file of the YOLO family, run by onnxruntime.

onnxruntime is an extra (``pip install danbooru-pipeline[faces]``) and is imported here alone, when a model is opened.
The model has one input, 1 × 3 × H × W or 1 × H × W × 3, of RGB values from 0 to 1; `Detector` scales a picture to fit
it and centres it on grey. What its output means is a `BoxFormat`.
"""

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.images.boxes import Box, BoxFormat, Floats, candidates, format_of, suppress

_GREY: Final = 114
_TYPES: Final[dict[str, Any]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSettings:
    """How a model is asked.

    Attributes:
        model: the ONNX file; None is refused when it is opened.
        boxes: what its output means.
        min_box_score: boxes with a lower score are dropped.
        most_overlap: of two boxes of a class whose intersection over union is larger, the one with the lower score is.
        input_size: side of its input, for a model that takes any.
    """

    model: Path | None = None
    boxes: BoxFormat = "auto"
    min_box_score: float = 0.3
    most_overlap: float = 0.5
    input_size: int = 640

    def __post_init__(self) -> None:
        for flag, value in (("--min-box-score", self.min_box_score), ("--most-overlap", self.most_overlap)):
            if not 0 <= value <= 1:
                raise SettingsError(f"{flag} {value} is not a share; give a number from 0 to 1")
        if not 32 <= self.input_size <= 4096:
            raise SettingsError(f"--input-size {self.input_size} is no side of a model's input; give 32 to 4096")


@dataclass(frozen=True, slots=True)
class _Input:
    name: str
    width: int
    height: int
    channels_last: bool
    dtype: Any


class Detector:
    """A model that is open."""

    def __init__(self, settings: DetectorSettings, *, threads: int = 1) -> None:
        """Open the model, and run it once on a grey picture.

        Raises:
            SettingsError: it cannot be read, or is not a detector that this module understands.
        """
        self._settings = settings
        self._session = open_session(settings.model, threads=threads, purpose="export faces needs a detector")
        self._input = _input_of(self._session, settings)
        self._names = _class_names(self._session)
        raw = self._run(Image.new("RGB", (self._input.width, self._input.height), (_GREY,) * 3))
        found = format_of(raw.shape, settings.boxes)
        if found is None:
            known = "a known output" if settings.boxes == "auto" else settings.boxes
            shape = " × ".join(map(str, raw.shape))
            raise SettingsError(
                f"--model {settings.model} gives {shape}, not {known}; see --boxes in docs/consumers.md"
            )
        self._format: BoxFormat = found

    def longest_side(self, width: int, height: int) -> int:
        """The longer side of a picture of this size when it is scaled to fit the model's input."""
        scale = min(self._input.width / width, self._input.height / height)
        return max(1, round(max(width, height) * scale))

    def find(self, picture: Image.Image, *, width: int, height: int) -> tuple[Box, ...]:
        """The boxes in a picture, the highest score first.

        Args:
            picture: scaled to fit the model's input.
            width: of the picture before that.
            height: likewise.
        """
        canvas = Image.new("RGB", (self._input.width, self._input.height), (_GREY,) * 3)
        place = ((canvas.width - picture.width) // 2, (canvas.height - picture.height) // 2)
        canvas.paste(picture, place)
        rows = candidates(self._run(canvas), self._format, min_score=self._settings.min_box_score)
        rows[:, :4] -= np.array([*place, *place], np.float32)
        rows[:, :4] *= np.array([width / picture.width, height / picture.height] * 2, np.float32)
        rows[:, :4] = rows[:, :4].clip(0, np.array([width, height] * 2, np.float32))
        rows = rows[(rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])]
        kept = rows if self._format == "corners" else suppress(rows, most_overlap=self._settings.most_overlap)
        return tuple(self._box(row) for row in kept.tolist())

    def _box(self, row: list[float]) -> Box:
        left, top, right, bottom, score, class_id = row
        name = self._names.get(int(class_id))
        size = {"width": right - left, "height": bottom - top}
        return Box(left=left, top=top, **size, score=score, class_id=int(class_id), class_name=name)

    def _run(self, picture: Image.Image) -> Floats:
        values = (np.asarray(picture, np.float32) / 255).astype(self._input.dtype)
        if not self._input.channels_last:
            values = values.transpose(2, 0, 1)
        try:
            output = self._session.run(None, {self._input.name: np.ascontiguousarray(values[None])})[0]
        except Exception as error:  # onnxruntime's own classes have no common base but this
            said = str(error).partition("\n")[0]
            raise SettingsError(
                f"{self._settings.model} failed ({said}); see its input in docs/consumers.md"
            ) from error
        return np.asarray(output, np.float32)


def open_session(model: Path | None, *, threads: int, purpose: str) -> Any:
    """An ONNX file, opened by onnxruntime.

    Raises:
        SettingsError: there is no file, it is not a model, or onnxruntime is not installed.
    """
    if model is None:
        raise SettingsError(f"{purpose}; give --model FILE.onnx")
    if not model.is_file():
        raise SettingsError(f"--model {model} is not a file; give an ONNX file")
    try:
        import onnxruntime  # noqa: PLC0415 - an extra, and 0.2 s
    except ImportError as error:
        raise SettingsError(
            f"{purpose}, and onnxruntime to run it, which is not installed; run pip install danbooru-pipeline[faces]"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 4  # what is wrong is raised, too
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes have no common base but this
        said = str(error).partition("\n")[0]
        raise SettingsError(f"--model {model} cannot be opened ({said}); give an ONNX file") from error


def _input_of(session: Any, settings: DetectorSettings) -> _Input:
    inputs = session.get_inputs()
    said = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
    shape = inputs[0].shape if len(inputs) == 1 else []
    channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
    if (
        len(shape) != 4
        or inputs[0].type not in _TYPES
        or not (channels_last or shape[1] in (3, None) or shape[1] == "3")
    ):
        raise SettingsError(
            f"--model {settings.model} takes {said or 'nothing'}; give one with a single input of floats, "
            "1 × 3 × height × width or 1 × height × width × 3"
        )
    sides = shape[1:3] if channels_last else shape[2:4]
    height, width = (side if isinstance(side, int) and side > 0 else settings.input_size for side in sides)
    return _Input(inputs[0].name, width, height, channels_last, _TYPES[inputs[0].type])


def _class_names(session: Any) -> dict[int, str]:
    """Names that a model of ultralytics carries, as the text of a dictionary."""
    try:
        names = ast.literal_eval(session.get_modelmeta().custom_metadata_map.get("names", "{}"))
        return {int(key): str(name) for key, name in names.items()}
    except (ValueError, SyntaxError, AttributeError, TypeError, MemoryError, RecursionError):
        return {}

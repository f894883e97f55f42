"""Tags that a model of the user's sees in a picture: an ONNX file and its list of tags, run by onnxruntime (an extra).

A convention says how a picture is handed over. `wd`: the channels blue, green, red from 0 to 255, padded with white;
tags are the column `name` of a CSV. `deepdanbooru`: red, green, blue from 0 to 1, padded with white; a tag a line. Both
want height × width × 3, and give a probability by tag. The side comes from the model.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from PIL import Image

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.images.boxes import Floats
from danbooru_pipeline.images.detect import open_session

Convention = Literal["wd", "deepdanbooru"]
_USUAL_SIDE: Final = {"wd": 448, "deepdanbooru": 512}
_WHITE: Final = (255, 255, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggerSettings:
    """Which model, and how it is asked."""

    model: Path
    tags: Path
    convention: Convention = "wd"


class Tagger:
    """A model that is open.

    Attributes:
        names: of the tags, in the order of its output.
    """

    def __init__(self, settings: TaggerSettings, *, threads: int = 1) -> None:
        """Open the model, and run it once on a white picture.

        Raises:
            SettingsError: it cannot be read, or does not fit its list of tags or the convention.
        """
        self._settings = settings
        self.names = read_tags(settings.tags)
        self._session: Any = open_session(settings.model, threads=threads, purpose="curate predict needs a tagger")
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or shape[3] != 3 or inputs[0].type != "tensor(float)":
            raise SettingsError(f"--model {settings.model} takes no pictures of height × width × 3; give another one")
        self._input = inputs[0].name
        self._side = shape[1] if isinstance(shape[1], int) else _USUAL_SIDE[settings.convention]
        found = self.probabilities(Image.new("RGB", (8, 8), _WHITE))
        if found.shape != (len(self.names),):
            raise SettingsError(
                f"--model {settings.model} gives {found.size} values, but {settings.tags} has {len(self.names)} tags; "
                "give the list that belongs to it"
            )

    def probabilities(self, picture: Image.Image) -> Floats:
        """The probability of each tag."""
        side = max(picture.size)
        square = Image.new("RGB", (side, side), _WHITE)
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        values = np.asarray(square.resize((self._side, self._side), Image.Resampling.BICUBIC), np.float32)
        values = values[:, :, ::-1] if self._settings.convention == "wd" else values / np.float32(255)
        try:
            output = self._session.run(None, {self._input: np.ascontiguousarray(values[None])})[0]
        except Exception as error:  # onnxruntime's own classes have no common base but this
            said = str(error).partition("\n")[0]
            raise SettingsError(f"{self._settings.model} failed ({said}); see docs/curate.md for its input") from error
        return np.asarray(output, np.float32).ravel()


def read_tags(path: Path) -> tuple[str, ...]:
    """The tags of a list: the column `name` of a CSV, or a tag a line.

    Raises:
        SettingsError: it cannot be read, or is empty.
    """
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            first = lines.readline()
            lines.seek(0)
            is_table = "name" in first.strip().split(",")
            names = [row["name"] for row in csv.DictReader(lines)] if is_table else [line.strip() for line in lines]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"--tags {path} cannot be read ({error}); give the model's list of tags") from error
    found = tuple(name for name in names if name)
    if not found:
        raise SettingsError(f"--tags {path} has no tags; give the model's list of tags")
    return found

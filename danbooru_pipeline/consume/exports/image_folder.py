"""A folder of images with captions, as trainers and Hugging Face read it: where files go, and the tables beside them.

No folder is called by a bucket: trainers read a name that begins with a number as "so many repeats of each image", so
``0999`` would be 999 of them and ``0000`` none.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from danbooru_pipeline.errors import SettingsError

_NAME: Final = re.compile(r"[^\W\d_](?:[\w .-]*\w)?")
#: Types that trainers read.
PICTURES: Final = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "gif", "avif", "jxl"})
#: Metadata of trainers of the kohya family; its keys are names of images without their extension.
KOHYA_JSON: Final = "meta_cap.json"
METADATA: Final = "metadata.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderOptions:
    """Where images go.

    Attributes:
        flat: directly into the target, instead of into ``REPEATS_NAME/``.
        repeats: how often a trainer shows each image in an epoch.
        folder_name: the NAME.
        kohya_json: whether ``meta_cap.json`` is written.
    """

    flat: bool = False
    repeats: int = 1
    folder_name: str = "danbooru"
    kohya_json: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.folder_name):
            raise SettingsError(
                f"--folder-name {self.folder_name!r} is not a name; begin with a letter, and use letters, digits, "
                "spaces, '.', '_' and '-'"
            )
        if self.repeats < 1:
            raise SettingsError(f"--repeats {self.repeats} would show no image; give 1 or more")

    @property
    def prefix(self) -> str:
        """What is in front of the name of an image."""
        return "" if self.flat else f"{self.repeats}_{self.folder_name}/"


def write_row(rows: IO[bytes], file_name: str, text: str, **facts: Any) -> None:
    """Add an image to ``metadata.jsonl``, which makes the folder an ImageFolder with captions."""
    rows.write(msgspec.json.encode({"file_name": file_name, "text": text, **facts}) + b"\n")


def write_kohya_json(target: Path) -> None:
    """Write ``meta_cap.json`` from ``metadata.jsonl``."""
    with (target / METADATA).open("rb") as rows, (target / KOHYA_JSON).open("wb") as file:
        comma = b"{"
        for line in rows:
            row = msgspec.json.decode(line)
            stem = row["file_name"].rpartition("/")[2].rpartition(".")[0]
            file.write(b'%s\n%s:{"tags":%s}' % (comma, *map(msgspec.json.encode, (stem, row["text"]))))
            comma = b","
        file.write(b"\n}\n" if comma == b"," else b"{}\n")


def resume_rows(path: Path) -> Iterator[bytes]:
    """The whole lines of a table whose writer may have been killed; what follows the last of them is cut off."""
    if not path.exists():
        return
    end = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            yield line
    os.truncate(path, end)

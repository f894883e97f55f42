"""What names a post in an export: file names, and values of rows. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from danbooru_pipeline.layout import STORED_EXTENSIONS

#: What lies beside an image under its name: captions, rows, latents.
_BESIDE: Final = frozenset({"txt", "json", "caption", "npz", "npy", "safetensors", "cls", "tags"})
#: ``ID.EXT``, ``ID_NUMBER.EXT`` of a crop.
_NAME: Final = re.compile(r"0*([1-9][0-9]{0,18})(?:_[0-9]+)?\.([A-Za-z0-9]+)")
_STEM: Final = re.compile(r"([0-9a-f]{32})\.([A-Za-z0-9]+)")
#: Keys of a row that say which post it is about: its id, or a path of its file.
_IDS: Final = ("id", "post_id")
_PATHS: Final = ("file_name", "path", "image", "filepath", "crop")


@dataclass(frozen=True, slots=True)
class Gone:
    """Posts that are gone.

    Attributes:
        ids: of them.
        md5s: under which an export has files of these posts and of no other ones.
    """

    ids: frozenset[int]
    md5s: frozenset[str] = frozenset()

    def of_name(self, path: str) -> bool:
        """Whether a file, by its name, is one of these posts'."""
        name = path.rpartition("/")[2]
        if match := _NAME.fullmatch(name):
            return int(match[1]) in self.ids and match[2].lower() in STORED_EXTENSIONS | _BESIDE
        match = _STEM.fullmatch(name)
        return match is not None and match[1] in self.md5s

    def of_row(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is about one of these posts."""
        return any(_number(row.get(key)) in self.ids for key in _IDS) or any(
            isinstance(path := row.get(key), str) and self.of_name(path) for key in _PATHS
        )


def _number(value: object) -> int | None:
    """An id that is a number or its digits."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return int(value) if str(value).isascii() and str(value).isdigit() and len(str(value)) < 20 else None

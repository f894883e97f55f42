"""What names a post in an export: file names, and values of rows. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from danbooru_pipeline.layout import STORED_EXTENSIONS

#: What lies beside an image under its name: captions, rows, latents.
_BESIDE: Final = frozenset({"txt", "json", "caption", "npz", "npy", "safetensors", "cls", "tags"})
#: ``ID.EXT``, ``ID_NUMBER.EXT`` of a crop.
_NAME: Final = re.compile(r"0*([1-9][0-9]{0,18})(?:_[0-9]+)?\.([A-Za-z0-9]+)")
_NUMBER: Final = re.compile(rb"[1-9][0-9]*")
_STEM: Final = re.compile(r"([0-9a-f]{32})\.([A-Za-z0-9]+)")
#: Keys of a row that say which post it is about: its id, or a path of its file.
_IDS: Final = ("id", "post_id")
_PATHS: Final = ("file_name", "path", "image", "filepath", "crop")

ROW_KEYS: Final = (*_IDS, *_PATHS)


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
        name = _last_part(path)
        if match := _NAME.fullmatch(name):
            return int(match[1]) in self.ids and match[2].lower() in STORED_EXTENSIONS | _BESIDE
        match = _STEM.fullmatch(name)
        return match is not None and match[1] in self.md5s

    def of_row(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is about one of these posts."""
        return any(_number(row.get(key)) in self.ids for key in _IDS) or any(
            isinstance(path := row.get(key), str) and self.of_name(path) for key in _PATHS
        )

    def may_be_named(self, data: bytes) -> bool:
        """Whether a text has the id of one of them as a number, or its MD5; only then it is worth to be parsed."""
        if b"\\u003" in data or not _texts(self.ids).isdisjoint(_NUMBER.findall(data)):  # a digit may be escaped
            return True
        return bool(self.md5s) and any(md5.encode() in data for md5 in self.md5s)


def _last_part(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]  # trainers on Windows write its paths


def post_of_name(path: str) -> int | None:
    """The post whose file a name is, gone or not."""
    match = _NAME.fullmatch(_last_part(path))
    return int(match[1]) if match and match[2].lower() in STORED_EXTENSIONS | _BESIDE else None


def is_row(row: Mapping[str, Any]) -> bool:
    """Whether a row says which post it is about."""
    return any(row.get(key) is not None for key in ROW_KEYS)


@lru_cache(maxsize=4)
def _texts(ids: frozenset[int]) -> frozenset[bytes]:
    return frozenset(str(id_).encode() for id_ in ids)


def _number(value: object) -> int | None:
    """An id that is a number or its digits; a column that lacks some values makes fractions of whole numbers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return int(value) if str(value).isascii() and str(value).isdigit() and len(str(value)) < 20 else None

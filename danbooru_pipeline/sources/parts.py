"""Parts of a read that takes hours: each says by its name which ids it covers, so a killed read goes on after the last.

An unfinished read older than a week starts anew: its rows would be from another time than the rest.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from danbooru_pipeline.io.atomic import part_path, remove_part, remove_parts
from danbooru_pipeline.layout import PART_SUFFIX

RESUME_SECONDS: Final = 7 * 24 * 3600
_NAME = re.compile(r"(\d{19})-(\d{19})(?P<suffix>\.[a-z]+)")


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts in one folder.

    Attributes:
        folder: holds them.
        suffix: of their names.
    """

    folder: Path
    suffix: str

    def resume(self) -> int:
        """The id after which to go on; throws away what is too old, and what a killed write left."""
        drop_if_old(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_parts(self.folder)
        names = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return max((int(name[2]) for name in names if name and name["suffix"] == self.suffix), default=0)

    def path(self, start: int, end: int) -> Path:
        """The part that covers the ids above `start` up to `end`."""
        return self.folder / f"{start:019d}-{end:019d}{self.suffix}"

    def paths(self) -> list[Path]:
        """All parts by their ids."""
        return sorted(self.folder.glob(f"{'[0-9]' * 19}-{'[0-9]' * 19}{self.suffix}"))


def drop_if_old(folder: Path) -> None:
    """Throw an unfinished read away when it is a week old."""
    if folder.is_dir() and time.time() - folder.stat().st_mtime > RESUME_SECONDS:
        discard_parts(folder)


def discard_parts(folder: Path) -> None:
    """Throw a whole read away at once.

    Removed one by one, the parts that a kill left over would be resumed by the next read as if nothing else had come.
    """
    if folder.is_dir():
        folder.rename(part_path(folder))
    for left in folder.parent.glob(f".{folder.name}.*{PART_SUFFIX}"):
        remove_part(left)


def share_of(cursor: int, newest: int | None) -> str:
    """How far a read is, for people; nothing when it is not known how far it goes."""
    return f" of {newest:,}, about {min(100, 100 * cursor // newest)} %" if newest else ""

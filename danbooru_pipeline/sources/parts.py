"""Parts of a read that takes hours. The name of each says which ids it covers, so an interrupted read resumes.

An unfinished read older than a week starts over, since its rows would be from another time than the rest.
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
        folder: of the parts.
        suffix: of their names, with its dot.
    """

    folder: Path
    suffix: str

    def resume(self) -> int:
        """The id after which to resume. Removes parts that are too old, and files that a killed write left."""
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
    """Remove an unfinished read that is older than a week."""
    if folder.is_dir() and time.time() - folder.stat().st_mtime > RESUME_SECONDS:
        discard_parts(folder)


def discard_parts(folder: Path) -> None:
    """Remove an unfinished read as a whole.

    If its parts were removed one by one, a crash in between would leave some, and the next read would resume from them
    as if they were everything read so far.
    """
    if folder.is_dir():
        folder.rename(part_path(folder))
    for left in folder.parent.glob(f".{folder.name}.*{PART_SUFFIX}"):
        remove_part(left)


def share_of(cursor: int, newest: int | None) -> str:
    """How far a read is, for people; empty when its end is not known."""
    return f" of {newest:,}, about {min(100, 100 * cursor // newest)} %" if newest else ""

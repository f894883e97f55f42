"""Parts of a read that takes hours. The name of each says which ids it covers, so an interrupted read resumes.

An unfinished read older than a week starts over, since its rows would be from another time than the rest. One of
another source starts over too: another address, account, filter or version of this code may give other rows.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from danbooru_pipeline.io.atomic import part_path, remove_part, remove_parts, write_atomic
from danbooru_pipeline.layout import PART_SUFFIX
from danbooru_pipeline.progress import Say

RESUME_SECONDS: Final = 7 * 24 * 3600
STATE: Final = "state.json"
_NAME = re.compile(r"(\d{19})-(\d{19})(?P<suffix>\.[a-z]+)")


@dataclass(frozen=True, slots=True)
class ReadState:
    """What the parts themselves do not say.

    Attributes:
        source: what identifies the source that they came from.
        beyond: id after which a part ends -> posts in a row before it that were created after the cutoff.
        later: the same id -> all posts before it that were created after the cutoff.
    """

    source: Mapping[str, str] = field(default_factory=dict)
    beyond: Mapping[int, int] = field(default_factory=dict)
    later: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts in one folder.

    Attributes:
        folder: of the parts.
        suffix: of their names, with its dot.
    """

    folder: Path
    suffix: str

    def resume(self, source: Mapping[str, str], progress: Say) -> int:
        """The id after which to resume. Removes parts that are too old, and files that a killed write left.

        Args:
            source: what identifies the source; parts of another one are removed.
            progress: told about that.
        """
        drop_if_old(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_parts(self.folder)
        before = self.state.source
        if before != dict(source):
            if any(self.folder.iterdir()):
                told = _difference(before, source)
                progress(f"{self.folder.name}: what was read before is of another source ({told}); it begins anew")
                discard_parts(self.folder)
                self.folder.mkdir(parents=True)
            self.keep(ReadState(source=source))
        names = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return max((int(name[2]) for name in names if name and name["suffix"] == self.suffix), default=0)

    @property
    def state(self) -> ReadState:
        """What was kept; nothing if it cannot be read."""
        try:
            return msgspec.json.decode(self.folder.joinpath(STATE).read_bytes(), type=ReadState)
        except (OSError, ValueError):
            return ReadState()

    def keep(self, state: ReadState) -> None:
        """Keep the state. It is written before the part that it speaks of."""
        write_atomic(self.folder / STATE, msgspec.json.encode(state))

    def path(self, start: int, end: int) -> Path:
        """The part that covers the ids above `start` up to `end`."""
        return self.folder / f"{start:019d}-{end:019d}{self.suffix}"

    def paths(self) -> list[Path]:
        """All parts by their ids."""
        return sorted(self.folder.glob(f"{'[0-9]' * 19}-{'[0-9]' * 19}{self.suffix}"))


def _difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name} {before.get(name, 'unknown')} -> {now.get(name, 'unknown')}" for name in names)


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

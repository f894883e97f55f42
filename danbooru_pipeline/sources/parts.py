"""Parts of a read that takes hours. The name of each says which ids it covers, so an interrupted read resumes.

An unfinished read older than a week starts over, since its rows would be from another time than the rest. One of
another source starts over too: another address, account, filter or version of this code may give other rows.
"""

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.io.atomic import part_path, remove_part, remove_parts, write_atomic
from danbooru_pipeline.io.damage import set_aside
from danbooru_pipeline.io.sha256 import sha256_of
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
        rejected: the same id -> all records before it that cannot be stored.
        parts: name -> what the part must be.
        first_beyond: the lowest id of a post that was created after the cutoff, as far as was read.
        finished: whether the read came to its end.
        began: when the first of its pages was asked for.
    """

    source: Mapping[str, str] = field(default_factory=dict)
    beyond: Mapping[int, int] = field(default_factory=dict)
    later: Mapping[int, int] = field(default_factory=dict)
    rejected: Mapping[int, int] = field(default_factory=dict)
    first_beyond: int | None = None
    parts: Mapping[str, "PartSum"] = field(default_factory=dict)
    finished: bool = False
    began: datetime | None = None


@dataclass(frozen=True, slots=True)
class PartSum:
    """What a part must be: JSON lines do not show that some are missing."""

    sha256: str
    rows: int


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
        return self._last_good(progress)

    def _last_good(self, progress: Say) -> int:
        """The id up to which the parts are whole and without a gap; those behind a damaged one are removed."""
        state, cursor = self.state, 0
        paths = self.paths()
        for number, path in enumerate(paths):
            name = _NAME.fullmatch(path.name)
            known = state.parts.get(path.name)
            whole = known is not None and known.sha256 == sha256_of(path)
            if name is None or int(name[1]) != cursor or not whole:
                progress(f"{self.folder.name}: {path.name} is not what was read; it is read again from id {cursor:,}")
                if not whole:
                    set_aside(path, "its bytes are not those that were read")
                for later in paths[number:]:
                    later.unlink(missing_ok=True)
                self.keep(replace(state, finished=False))
                return cursor
            cursor = int(name[2])
        lost = [name for name in state.parts if name not in {path.name for path in paths} and _start(name) >= cursor]
        if state.finished and lost:
            self.keep(replace(state, finished=False))
        return cursor

    def add(self, start: int, end: int, *, data: bytes, rows: int) -> None:
        """Keep a part; `ReadState` says what it must be, and is written first."""
        path, state = self.path(start, end), self.state
        known = {**state.parts, path.name: PartSum(hashlib.sha256(data).hexdigest(), rows)}
        self.keep(replace(state, parts=known))
        write_atomic(path, data)

    def require_rows(self, table: str, rows: int) -> None:
        """Refuse a table that has other rows than the pages of its parts gave.

        Raises:
            SourceUnusable: they do not add up.
        """
        parts = self.state.parts
        given = sum(parts[path.name].rows for path in self.paths() if path.name in parts)
        if rows != given:
            raise SourceUnusable(
                f"{table} has {rows:,} rows, but its pages gave {given:,}; another process may be writing to "
                f"{self.folder}: end it, then run again"
            )

    def began(self, now: datetime) -> datetime:
        """When the read began, which is now unless it resumes: its rows may be as old as that."""
        before = self.state.began
        began = now if before is None else min(before, now)
        if began != before:
            self.keep(replace(self.state, began=began))
        return began

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


def _start(name: str) -> int:
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else 0


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

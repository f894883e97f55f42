"""When the release of a year may start: the year is over, its metadata has stabilised, and the source has all of it.

It decides and remembers, and starts nothing. The sensor in `defs/` asks it at each tick.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from danbooru_pipeline.errors import SourceError
from danbooru_pipeline.release_paths import release_name
from danbooru_pipeline.sources.bulk import BulkSource
from danbooru_pipeline.sources.last_id import find_last_id
from danbooru_pipeline.sources.source import Source
from danbooru_pipeline.years import cutoff, finished_years

#: The final id must be the same this many looks in a row, since it still moves while a mirror is being filled.
LOOKS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the source says about a year.

    Attributes:
        final_id: the last post up to the cutoff; None if there is none. For a source of whole tables, a number that
            changes when the table does.
        covers: whether a post after the cutoff exists, which proves that none before it is missing at the end.
        unit: what `final_id` is, for people.
    """

    final_id: int | None
    covers: bool
    unit: str = "final id"

    def __str__(self) -> str:
        return f"{self.unit} {self.final_id:,}" if self.final_id is not None else "no post"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered from one look to the next.

    Attributes:
        year, final_id: of the last look.
        looks: how many times in a row the source gave `final_id`.
        requested: the year that was started last. A clock that was ahead may have made it one that is not over.
    """

    year: int | None = None
    final_id: int | None = None
    looks: int = 0
    requested: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether to start a release now. `why` is for people, `memory` for the next look."""

    year: int | None
    begin: bool
    why: str
    memory: Memory


def read_memory(text: str | None) -> Memory:
    """What `write_memory` wrote. Anything else is an empty memory, so a damaged cursor does not stop the sensor."""
    try:
        return msgspec.json.decode(text or "{}", type=Memory)
    except msgspec.MsgspecError:
        return Memory()


def write_memory(memory: Memory) -> str:
    """The memory as text."""
    return msgspec.json.encode(memory).decode()


def decide(
    memory: Memory,
    *,
    now: datetime,
    first_year: int,
    settling_days: float,
    look: Callable[[int], Look],
    held: str | None = None,
    wrong_clock: Callable[[], str | None] = lambda: None,
) -> Decision:
    """Decide about the newest year that is over.

    Args:
        memory: from the last decision.
        now: an aware datetime.
        first_year: the first year that has a release.
        settling_days: how long to wait after the end of the year.
        look: asks the source about a year; called only when nothing else prevents a start.
        held: what holds up every build, for people; None if nothing does.
        wrong_clock: says what is wrong with the clock; called only when nothing else prevents a start.
    """
    years = finished_years(first_year, now=now)
    if not years:
        return _wait(None, f"{first_year}, the first release year, is not over", memory)
    year = years[-1]
    name = release_name(year)
    if memory.requested == year:
        return _wait(year, f"{name} was started already; the next one can start when {year + 1} is over", memory)
    if held is not None:
        return _wait(year, f"{name} cannot start: {held}", memory)
    settled = datetime(year + 1, 1, 1, tzinfo=UTC) + timedelta(days=settling_days)
    if now < settled:
        why = f"waits until {settled:%Y-%m-%d %H:%M} UTC for recent metadata to stabilise (DANBOORU_SETTLING_DAYS)"
        return _wait(year, f"{name} {why}", memory)
    try:
        seen = look(year)
    except SourceError as error:
        return _wait(year, f"{name} cannot start: {error}", replace(memory, looks=0))
    return _judge(memory, year, seen, wrong_clock)


def _judge(memory: Memory, year: int, seen: Look, wrong_clock: Callable[[], str | None]) -> Decision:
    name = release_name(year)
    if seen.final_id is None:
        why = f"{name} cannot start: the source has no post up to {cutoff(year):%Y-%m-%d}; check DANBOORU_API_URL"
        return _wait(year, why, replace(memory, looks=0))
    if not seen.covers:
        why = (
            f"{name} cannot start: the source ends with {seen} and has no post after "
            f"{cutoff(year):%Y-%m-%d}, so posts of {year} may be missing; wait for it to catch up, or set "
            "DANBOORU_POSTS_SOURCE to another one"
        )
        return _wait(year, why, replace(memory, year=year, final_id=seen.final_id, looks=0))
    same = (memory.year, memory.final_id) == (year, seen.final_id)
    memory = replace(memory, year=year, final_id=seen.final_id, looks=memory.looks + 1 if same else 1)
    if memory.looks < LOOKS:
        why = f"{name}: {seen} seen {memory.looks} of {LOOKS} times in a row"
        return _wait(year, why, memory)
    if (wrong := wrong_clock()) is not None:
        return _wait(year, f"{name} cannot start: {wrong}", replace(memory, looks=0))
    why = f"{name} starts: {seen} seen {LOOKS} times in a row"
    return Decision(year=year, begin=True, why=why, memory=replace(memory, requested=year))


def _wait(year: int | None, why: str, memory: Memory) -> Decision:
    return Decision(year=year, begin=False, why=why, memory=memory)


def look_at(source: Source | BulkSource, year: int) -> Look:
    """Ask a source how far it reaches into or beyond a year.

    Raises:
        SourceError: the source cannot be used.
    """
    if isinstance(source, BulkSource):
        return _look_at_table(source, year)
    last = find_last_id(source, cutoff(year))
    return Look(final_id=last.id, covers=last.covers)


def _look_at_table(source: BulkSource, year: int) -> Look:
    """The same for a source of whole tables: the number of rows, or when the table was written, stands for the id."""
    table = source.open_table("posts", year)
    if table is None:
        return Look(final_id=None, covers=False)
    covers = table.modified is None or table.modified.astimezone(UTC) > cutoff(year)
    if table.rows is not None:
        return Look(final_id=table.rows, covers=covers, unit="rows of all years:")
    written = int(table.modified.timestamp()) if table.modified else 0
    return Look(final_id=written, covers=covers, unit="table written at (Unix time)")

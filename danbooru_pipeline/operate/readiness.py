"""When a year's release may be begun: the year is over, its metadata had time to settle, the source has it all.

Decides and remembers; starts nothing. The sensor in `defs/` asks this module at each of its ticks.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from danbooru_pipeline.errors import SourceError, SourceUnusable
from danbooru_pipeline.layout import release_name
from danbooru_pipeline.posts import RejectedRow, parse_api_record
from danbooru_pipeline.sources.bulk import BulkSource
from danbooru_pipeline.sources.source import Source
from danbooru_pipeline.years import cutoff, finished_years

#: The final id must be the same this many looks in a row: a mirror that is still being filled moves it.
LOOKS: Final = 3
#: Above every id that a booru will have; the search for the final id is bounded by it.
ID_LIMIT: Final = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the source says about a year.

    Attributes:
        final_id: the last post up to the cutoff; None without any. Of whole tables, what stands for it.
        covers: whether there is a post after the cutoff, so that none before it can be missing at the end.
        unit: what `final_id` is.
    """

    final_id: int | None
    covers: bool
    unit: str = "final id"

    def __str__(self) -> str:
        return f"{self.unit} {self.final_id:,}" if self.final_id is not None else "no post"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is kept between two looks.

    Attributes:
        looks: how often in a row the source gave `final_id`.
        requested: the newest year that was begun.
    """

    year: int | None = None
    final_id: int | None = None
    looks: int = 0
    requested: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether to begin a release now. `why` is for people, `memory` for the next look."""

    year: int | None
    begin: bool
    why: str
    memory: Memory


def read_memory(text: str | None) -> Memory:
    """What `write_memory` wrote; an empty memory from anything else, since a sensor that stops at it helps nobody."""
    try:
        return msgspec.json.decode(text or "{}", type=Memory)
    except msgspec.MsgspecError:
        return Memory()


def write_memory(memory: Memory) -> str:
    """The memory as text."""
    return msgspec.json.encode(memory).decode()


def decide(
    memory: Memory, *, now: datetime, first_year: int, settling_days: float, look: Callable[[int], Look]
) -> Decision:
    """Decide about the newest year that is over.

    Args:
        memory: of the last decision.
        now: an aware datetime.
        first_year: the first year that has a release.
        settling_days: how long to wait after the year.
        look: asks the source about a year; called only when everything else allows to begin.
    """
    years = finished_years(first_year, now=now)
    if not years:
        return _wait(None, f"{first_year}, the first release year, is not over", memory)
    year = years[-1]
    name = release_name(year)
    if memory.requested is not None and memory.requested >= year:
        return _wait(year, f"{name} was begun already; the next one can be when {year + 1} is over", memory)
    settled = datetime(year + 1, 1, 1, tzinfo=UTC) + timedelta(days=settling_days)
    if now < settled:
        why = f"{name} waits until {settled:%Y-%m-%d %H:%M} UTC for recent metadata to settle (DANBOORU_SETTLING_DAYS)"
        return _wait(year, why, memory)
    try:
        seen = look(year)
    except SourceError as error:
        return _wait(year, f"{name} cannot be begun: {error}", replace(memory, looks=0))
    return _judge(memory, year, seen)


def _judge(memory: Memory, year: int, seen: Look) -> Decision:
    name = release_name(year)
    if seen.final_id is None:
        why = f"{name} cannot be begun: the source has no post up to {cutoff(year):%Y-%m-%d}; check DANBOORU_API_URL"
        return _wait(year, why, replace(memory, looks=0))
    if not seen.covers:
        why = (
            f"{name} cannot be begun: the source ends with {seen} and has no post after "
            f"{cutoff(year):%Y-%m-%d}, so posts of {year} may be missing; wait for it to catch up, or set "
            "DANBOORU_POSTS_SOURCE to another one"
        )
        return _wait(year, why, replace(memory, year=year, final_id=seen.final_id, looks=0))
    same = (memory.year, memory.final_id) == (year, seen.final_id)
    memory = replace(memory, year=year, final_id=seen.final_id, looks=memory.looks + 1 if same else 1)
    if memory.looks < LOOKS:
        why = f"{name}: {seen} seen {memory.looks} of {LOOKS} times in a row"
        return _wait(year, why, memory)
    why = f"{name} begins: {seen} seen {LOOKS} times in a row"
    return Decision(year=year, begin=True, why=why, memory=replace(memory, requested=year))


def _wait(year: int | None, why: str, memory: Memory) -> Decision:
    return Decision(year=year, begin=False, why=why, memory=memory)


def look_at(source: Source | BulkSource, year: int) -> Look:
    """Find a year's final id by bisection: some forty pages, whatever the size of the source.

    Raises:
        SourceError: the source cannot be used.
    """
    if isinstance(source, BulkSource):
        return _look_at_table(source, year)
    limit = cutoff(year)
    low, high = 0, 1  # the first post above `low` belongs to the year or an earlier one, that above `high` does not
    first = _first_after(source, 0)
    if first is None or first[1] > limit:
        return Look(final_id=None, covers=first is not None)
    low = first[0]
    while (after := _first_after(source, high)) is not None and after[1] <= limit:
        low = max(low, after[0])
        high *= 2
        if high > ID_LIMIT:
            raise SourceUnusable(f"{source.name} has ids above {ID_LIMIT}; check DANBOORU_API_URL")
    covers = after is not None
    while low < high:
        middle = (low + high) // 2
        after = _first_after(source, middle)
        if after is not None and after[1] <= limit:
            low = after[0]
        else:
            covers = covers or after is not None
            high = middle
    return Look(final_id=low, covers=covers)


def _look_at_table(source: BulkSource, year: int) -> Look:
    """The same of a source of whole tables; their number of rows, or when they were written, stands for the id."""
    table = source.open_table("posts", year)
    if table is None:
        return Look(final_id=None, covers=False)
    covers = table.modified is None or table.modified.astimezone(UTC) > cutoff(year)
    if table.rows is not None:
        return Look(final_id=table.rows, covers=covers, unit="rows of all years:")
    written = int(table.modified.timestamp()) if table.modified else 0
    return Look(final_id=written, covers=covers, unit="table written at (Unix time)")


def _first_after(source: Source, cursor: int) -> tuple[int, datetime] | None:
    """Id and creation time of the first post above an id that has both; None when nothing follows."""
    while True:
        page = source.posts_after(cursor)
        for record in page.records:
            row = parse_api_record(record)
            if not isinstance(row, RejectedRow) and row["id"] > cursor:
                return row["id"], row["created_at"]
        if page.last_id is None:
            return None
        cursor = page.last_id

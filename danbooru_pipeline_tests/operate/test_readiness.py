"""When the release of a year is begun."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.errors import SourceUnreachable
from danbooru_pipeline.operate.readiness import (
    LOOKS,
    Decision,
    Look,
    Memory,
    decide,
    look_at,
    read_memory,
    write_memory,
)
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources.bulk import BulkTable
from danbooru_pipeline.years import cutoff
from danbooru_pipeline_tests.support.web import Ranged, serving

SETTLED = datetime(2022, 1, 22, tzinfo=UTC)
WHOLE = Look(final_id=5_020_995, covers=True)


def ask(memory: Memory, now: datetime = SETTLED, look: Look = WHOLE) -> Decision:
    """One tick of the sensor, which a restarted daemon would make with the text it finds."""
    memory = read_memory(write_memory(memory))
    return decide(memory, now=now, first_year=2021, settling_days=21, look=lambda _year: look)


def test_third_equal_look_begins_once() -> None:
    """Three equal answers begin the release, and no later tick begins it again."""
    memory, begun = Memory(), []
    for _ in range(6):
        decision = ask(memory)
        memory = decision.memory
        begun.append(decision.begin)
    assert begun == [False, False, True, False, False, False]


def test_next_year_begins_too() -> None:
    """A year later the next release is begun, after its own three looks."""
    decision = ask(Memory(year=2021, final_id=5_020_995, looks=LOOKS, requested=2021), SETTLED + timedelta(days=365))
    assert (decision.year, decision.begin) == (2022, False)


@pytest.mark.parametrize(
    ("now", "look", "why"),
    [
        (SETTLED - timedelta(seconds=1), WHOLE, "2022-01-22"),
        (datetime(2021, 12, 31, 23, 59, tzinfo=UTC), WHOLE, "is not over"),
        (SETTLED, Look(final_id=None, covers=False), "has no post up to"),
        (SETTLED, Look(final_id=7, covers=False), "wait for it to catch up"),
    ],
)
def test_waiting_has_a_readable_reason(now: datetime, look: Look, why: str) -> None:
    """What is missing is said, and nothing is begun."""
    decision = ask(Memory(year=2021, final_id=7, looks=LOOKS), now, look)
    assert not decision.begin
    assert why in decision.why


def test_source_that_is_down_is_no_crash() -> None:
    """A source that gives no answer is a reason to wait, and the looks begin anew."""

    def look(_year: int) -> Look:
        raise SourceUnreachable("no answer; check it")

    memory = Memory(year=2021, final_id=5_020_995, looks=2)
    decision = decide(memory, now=SETTLED, first_year=2021, settling_days=21, look=look)
    assert "no answer" in decision.why
    assert decision.memory.looks == 0


def test_what_holds_up_every_build_holds_up_this_one() -> None:
    """The source is not asked, what was seen is remembered, and the release begins once the hindrance is gone."""
    memory = Memory(year=2021, final_id=5_020_995, looks=LOOKS - 1)

    def look(_year: int) -> Look:
        raise AssertionError

    decision = decide(memory, now=SETTLED, first_year=2021, settling_days=21, look=look, held="mend this")
    assert (decision.begin, decision.why) == (False, "danbooru2021 cannot start: mend this")
    assert ask(decision.memory).begin


def test_wrong_clock_starts_nothing_and_uses_up_nothing() -> None:
    """It is asked about only when nothing else prevents a start, and once it is set the release begins."""
    asked: list[datetime] = []

    def tick(memory: Memory, *, wrong: str | None) -> Decision:
        def wrong_clock() -> str | None:
            asked.append(SETTLED)
            return wrong

        return decide(
            memory, now=SETTLED, first_year=2021, settling_days=21, look=lambda _year: WHOLE, wrong_clock=wrong_clock
        )

    memory = Memory()
    for number in range(2 * LOOKS):
        decision = tick(memory, wrong="the clock is off; set it")
        memory = decision.memory
        assert not decision.begin
        assert len(asked) == (number + 1) // LOOKS
    assert decision.why == "danbooru2021 cannot start: the clock is off; set it"
    assert memory.requested is None
    begun = []
    for _ in range(LOOKS):
        decision = tick(memory, wrong=None)
        memory = decision.memory
        begun.append(decision.begin)
    assert begun == [False, False, True]


def test_year_that_a_clock_ahead_started_holds_up_no_other() -> None:
    """What is remembered of a year that is not over is no start of this one, which begins and is remembered."""
    memory = Memory(year=2035, final_id=5_020_995, looks=LOOKS, requested=2035)
    begun = []
    for _ in range(2 * LOOKS):
        decision = ask(memory)
        memory = decision.memory
        begun.append(decision.begin)
    assert begun == [False, False, True, False, False, False]
    assert "danbooru2021 was started already" in decision.why
    assert memory.requested == 2021


def test_garbage_is_an_empty_memory() -> None:
    """A cursor that somebody edited badly does not stop the sensor."""
    assert read_memory("{nonsense") == read_memory(None) == Memory()


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=40))
def test_a_year_never_begins_twice(answers: list[tuple[int, bool]]) -> None:
    """Whatever the source says and in which order, a year begins at most once, and on a source that covers it."""
    memory, begun = Memory(), 0
    for final_id, covers in answers:
        decision = ask(memory, look=Look(final_id=final_id, covers=covers))
        memory = decision.memory
        begun += decision.begin
        assert covers or not decision.begin
    assert begun <= 1


def test_final_id_is_found_in_a_source(context: RunContext, booru: BooruProcess) -> None:
    """The last post up to the cutoff is found by bisection, in a source that goes on after it and one that does not."""
    booru.set_year(2022)
    for year in (2021, 2022):
        ids = [p["id"] for p in booru.truth(2022) if datetime.fromisoformat(p["created_at"]) <= cutoff(year)]
        look = look_at(context.source, year)
        assert look.final_id == max(ids)
        assert look.covers
    assert not look_at(context.source, 2030).covers


@dataclass
class OneTable:
    """A source of whole tables with posts of which only the facts are asked."""

    rows: int | None
    modified: datetime | None
    name: str = "dump"

    def probe(self) -> None:
        """It is there."""

    def open_table(self, table: str, year: int) -> BulkTable | None:
        """The facts."""
        assert table == "posts"
        return BulkTable(blocks=(), rows=self.rows, modified=self.modified) if year < 2030 else None

    def earlier_files(self, year: int) -> Iterator[tuple[str, Iterator[bytes]]]:
        """None."""
        assert year
        return iter(())


def test_whole_tables_begin_a_release_when_they_were_written_after_the_year() -> None:
    """A table from before New Year does not cover the year; one from after it does, and is the same at every look."""
    before, after = datetime(2021, 12, 30, tzinfo=UTC), datetime(2022, 1, 9, tzinfo=UTC)
    assert not look_at(OneTable(5, before), 2021).covers
    rows, written = look_at(OneTable(5, after), 2021), look_at(OneTable(None, after), 2021)
    assert (rows.covers, str(rows)) == (True, "rows of all years: 5")
    assert (written.covers, written.final_id) == (True, int(after.timestamp()))
    assert look_at(OneTable(None, None), 2021).covers
    assert look_at(OneTable(5, after), 2030) == Look(final_id=None, covers=False)


class SlowDump(Ranged):
    """A folder on the web that takes its time for each answer, and counts them."""

    def __init__(self, *args: Any, asked: list[str], seconds: float, **more: Any) -> None:
        self.asked, self.seconds = asked, seconds
        super().__init__(*args, **more)

    def parse_request(self) -> bool:
        """Note the request, and wait."""
        known = super().parse_request()
        self.asked.append(self.path)
        time.sleep(self.seconds)
        return known


def look_at_dump(folder: Path, *, delay: float, within: float) -> tuple[Look, list[str]]:
    """A look at a dump below the address of a server with such a delay, and what it was asked for."""
    asked: list[str] = []
    with serving(partial(SlowDump, directory=str(folder), asked=asked, seconds=delay)) as address:
        settings = Settings(root=folder / "root", posts_source="dump", dump=address, retry_seconds=0.1)
        with RunContext(settings) as context:
            return look_at(context.source_within(within), 2021), asked


@pytest.mark.parametrize("names", [["posts.json"], [f"posts{k:012d}.json" for k in range(300)]], ids=["file", "shards"])
def test_a_look_at_a_dump_is_one_at_its_first_file(tmp_path: Path, names: list[str]) -> None:
    """However many shards a dump over HTTP has, the look asks for the first, whose time it takes."""
    for name in names:
        (tmp_path / name).write_bytes(b"{}\n")
    look, asked = look_at_dump(tmp_path, delay=0.0, within=20)
    assert (look.covers, look.final_id) == (True, int((tmp_path / names[0]).stat().st_mtime))
    assert len(asked) <= 3


def test_a_look_ends_in_time(tmp_path: Path) -> None:
    """All questions of a look together have so many seconds; what has not answered then has not answered."""
    began = time.monotonic()
    with pytest.raises(SourceUnreachable, match=r"has not said within 0\.5 seconds what it has of posts; check"):
        look_at_dump(tmp_path, delay=0.2, within=0.5)
    assert time.monotonic() - began < 5

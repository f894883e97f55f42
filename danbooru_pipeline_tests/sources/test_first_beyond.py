"""Where the next year begins, in a source whose ids and times do not run together."""

import shutil
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import UNSET, UnsetType

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.report import load_posts_report
from danbooru_pipeline.sources import bring_posts, sweep_posts
from danbooru_pipeline.sources.files import DumpSource
from danbooru_pipeline.sources.source import Page
from danbooru_pipeline.sources.sweep import last_sweep_before
from danbooru_pipeline_tests.support.dumps import line_of_2021, write_files
from danbooru_pipeline_tests.support.sites import Paged, Record, record_of

NOW = datetime(2022, 1, 20, tzinfo=UTC)
LATER, AHEAD = "2022-01-05T00:00:00Z", "2030-01-05T00:00:00Z"
#: Creation times that are not of the year -> where the next year begins, if not above all posts of this one.
CASES: list[tuple[dict[int, str], int | UnsetType]] = [
    ({}, UNSET),
    ({39: LATER, 40: LATER}, UNSET),
    ({33: LATER, 35: LATER}, 33),
    ({3: AHEAD, 35: LATER}, 35),
    ({3: AHEAD}, UNSET),
]


def records_of(times: dict[int, str]) -> list[Record]:
    """Posts of 2021, some of another time."""
    return [record_of(i, **({"created_at": times[i]} if i in times else {})) for i in range(1, 41)]


@pytest.mark.parametrize(("times", "first"), CASES)
@pytest.mark.parametrize("name", ["sweep", "dump"])
def test_the_next_year_begins_before_its_first_post(
    layout: Layout, name: str, times: dict[int, str], first: int | UnsetType
) -> None:
    """The lowest id after the cutoff is noted if a post of the year has a higher one; times ahead are no times."""
    if name == "sweep":
        report = sweep_posts(Paged(records_of(times), size=10), layout, 2021, now=NOW, progress=lambda _line: None)
    else:
        lines = [line_of_2021(i, **({"created_at": times[i]} if i in times else {})) for i in range(40, 0, -1)]
        folder = write_files(layout.root / "dump", {"posts.json": b"".join(lines)})
        source = DumpSource(str(folder), user_agent="tests")
        report = bring_posts(source, layout, 2021, now=NOW, progress=lambda _line: None)
    assert report.first_beyond == first
    assert (b"first_beyond" in layout.posts_report(2021).read_bytes()) == (first is not UNSET)
    before = last_sweep_before(layout, 2022)
    assert before is not None
    assert before.all_up_to == (report.max_id if isinstance(first, UnsetType) else first - 1)
    assert load_posts_report(layout, 2021).sweep == report


class Breaking(Paged):
    """A source that fails once a sweep has read so far."""

    up_to = 0

    def posts_after(self, last_id: int) -> Page:
        """The next page, or the failure."""
        if last_id >= self.up_to > 0:
            raise InterruptedError
        return super().posts_after(last_id)


@pytest.mark.parametrize("up_to", [30, 34, 36, 38])
def test_a_resumed_sweep_knows_it_too(layout: Layout, monkeypatch: Any, up_to: int) -> None:
    """A sweep that was cut off before or after that post says the same as one in one go."""
    monkeypatch.setattr("danbooru_pipeline.sources.sweep.PAGES_PER_PART", 1)
    times = {33: LATER, 35: LATER}
    source = Breaking(records_of(times), size=2)
    source.up_to = up_to
    with pytest.raises(InterruptedError):
        sweep_posts(source, layout, 2021, now=NOW, progress=lambda _line: None)
    source.up_to = 0
    report = sweep_posts(source, layout, 2021, now=NOW, progress=lambda _line: None)
    assert report.first_beyond == 33
    shutil.rmtree(layout.metadata(2021))
    again = sweep_posts(source, layout, 2021, now=NOW, progress=lambda _line: None)
    assert (again.first_beyond, again.sha256) == (report.first_beyond, report.sha256)

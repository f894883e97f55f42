"""How far releases are, in lines for people."""

from pathlib import Path

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.status import known_years, status_lines, year_status
from danbooru_pipeline.release import flip_current
from danbooru_pipeline_tests.support.buckets import BringPosts
from danbooru_pipeline_tests.support.yard import Yard, next_year


def lines(layout: Layout) -> list[str]:
    """The status of every year that is there."""
    return status_lines(layout, [year_status(layout, year) for year in known_years(layout)])


def test_empty_root_says_how_to_begin(tmp_path: Path) -> None:
    """Nothing built is not an error; the line names the command, and so does one for a year without posts."""
    layout = Layout(tmp_path)
    assert lines(layout) == [f"nothing is built in {tmp_path} yet; run danbooru-pipeline build YEAR"]
    layout.metadata(2021).mkdir(parents=True)
    assert lines(layout) == ["2021: no posts yet; run danbooru-pipeline build 2021"]


def test_unreleased_year_shows_what_is_left(yard: Yard) -> None:
    """Posts are counted by status and reason, and buckets that are not finished are named as work."""
    yard.save()
    found = lines(yard.layout)
    assert found[0].startswith("2021: 17 posts: missing 1, ok 13")
    assert "retry_exhausted 1" in found[1]
    assert any("have work left; run danbooru-pipeline build 2021" in line for line in found)
    assert found[-1] == "  not released"


def test_posts_without_their_report_have_a_status(context: RunContext, bring_posts: BringPosts) -> None:
    """A sweep that was killed between its posts and its report leaves out the last id, and fails nothing."""
    bring_posts(2021)
    assert "posts up to id 41: todo 40" in lines(context.layout)[0]
    context.layout.posts_report(2021).unlink()
    assert lines(context.layout)[0].startswith("2021: 40 posts: todo 40")


def test_released_years_name_their_version(yard: Yard) -> None:
    """A release has its version and folder; the year before the newest counts by its manifest, and is not current."""
    yard.release()
    flip_current(yard.layout)
    assert lines(yard.layout)[-1] == f"  released as 2021.0 in {yard.layout.release(2021)}, current"
    next_year(yard).release()
    flip_current(yard.layout)
    closed = year_status(yard.layout, 2021)
    assert closed.complete
    assert sum(closed.originals.values()) == closed.posts == 17
    assert not closed.is_current
    assert year_status(yard.layout, 2022).is_current

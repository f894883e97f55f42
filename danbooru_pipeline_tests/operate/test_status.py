"""How far releases are, in lines for people."""

import json
from pathlib import Path

from click.testing import CliRunner

from danbooru_pipeline.cli.main import main
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.status import known_years, status_lines, year_status
from danbooru_pipeline.posts.takedowns import Takedowns, TakenDown, held_by_takedown, write_takedowns
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
    assert (closed.version, closed.buckets_with_work) == ("2021.0", 0)
    assert sum(closed.originals.values()) == closed.posts == 17
    assert not closed.is_current
    assert year_status(yard.layout, 2022).is_current


def test_unfinished_takedown_comes_first(yard: Yard) -> None:
    """It holds up every build, so nobody is told to build; the command exits with 1, and says it in JSON, too."""
    yard.release()
    yard.layout.metadata(2022).mkdir(parents=True)
    write_takedowns(yard.layout, Takedowns(posts={777: TakenDown()}, unfinished=True))
    said = lines(yard.layout)
    assert said[0] == held_by_takedown(yard.layout)
    assert said[0].endswith("run danbooru-pipeline takedown --resume")
    assert not any("danbooru-pipeline build" in line for line in said)
    assert "2022: no posts yet" in said
    env = {"DANBOORU_ROOT": str(yard.layout.root)}
    shown = CliRunner().invoke(main, ["status"], env=env)
    assert (shown.exit_code, shown.output.splitlines()[0]) == (1, said[0])
    told = CliRunner().invoke(main, ["status", "--json", "2021"], env=env)
    assert (told.exit_code, json.loads(told.output)["held"]) == (1, said[0])
    write_takedowns(yard.layout, Takedowns(posts={777: TakenDown()}))
    assert held_by_takedown(yard.layout) is None
    assert CliRunner().invoke(main, ["status"], env=env).exit_code == 0


def test_unfinished_takedown_of_an_empty_root_is_told(tmp_path: Path) -> None:
    """Also where nothing is built yet."""
    layout = Layout(tmp_path)
    write_takedowns(layout, Takedowns(posts={}, unfinished=True))
    assert lines(layout) == [held_by_takedown(layout), f"nothing is built in {tmp_path} yet"]

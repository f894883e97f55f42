"""Times of releases keep the order in which they were made, wherever the clock is: back, ahead, or set in between."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from danbooru_pipeline.release import (
    Release,
    apply_snapshot,
    apply_takedown,
    plan_snapshot,
    plan_takedown,
    read_release,
    verify_release,
)
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release.documents.values import document_values
from danbooru_pipeline.release.release_json import CONTENT, instant_text
from danbooru_pipeline.release.templating import render
from danbooru_pipeline.release.tree.grace import end_grace
from danbooru_pipeline_tests.support.damage import linked_copy, resum
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, Yard, next_year

SECOND, DAY, WEEK = timedelta(seconds=1), timedelta(days=1), timedelta(days=7)


@pytest.fixture
def yard(released: Yard, tmp_path: Path) -> Yard:
    """One release, of NOW."""
    return released.copied(tmp_path / "root")


def again(yard: Yard, now: datetime, *, maker: str = "somebody") -> Release:
    """Make the release of a yard again, by another publisher, at some time."""
    yard.manifest()
    options = DocumentOptions(maker=maker)
    plan = plan_snapshot(yard.layout, yard.year, image_settings=IMAGE_SETTINGS, options=options)
    return apply_snapshot(plan, created_at=now, threads=1, keep_replaced=True)


def take_down(yard: Yard, now: datetime) -> Release:
    """Take a post down."""
    (made,) = apply_takedown(plan_takedown(yard.layout, [1002]), created_at=now, threads=1)
    return made


@pytest.mark.parametrize("make", [again, take_down])
def test_clock_behind_gives_the_next_second_and_a_line(
    yard: Yard, make: Callable[[Yard, datetime], Release], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a build nor a takedown is blocked: its time is a second after that of what it replaces."""
    made = make(yard, NOW - 400 * DAY)
    assert made.created_at == instant_text(NOW + SECOND)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "danbooru_pipeline"]
    assert f"the clock says {instant_text(NOW - 400 * DAY)}, but a release that danbooru2021 2021.1 names" in line
    assert line.endswith("check the clock")
    assert verify_release(yard.layout.release(2021), full=True).ok


def test_clock_that_is_right_is_taken(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    """A time that is not before that of the replaced version stays as it is, also the same one; nothing is said."""
    assert again(yard, NOW).created_at == instant_text(NOW)
    assert again(yard, NOW + DAY, maker="x").created_at == instant_text(NOW + DAY)
    assert not caplog.records


def test_one_release_with_a_clock_ahead_blocks_nothing(yard: Yard) -> None:
    """After a release of ten years ahead, a takedown comes a second after it, and what it makes verifies."""
    ahead = NOW + 3650 * DAY
    assert again(yard, ahead).created_at == instant_text(ahead)
    assert take_down(yard, NOW + DAY).created_at == instant_text(ahead + SECOND)
    assert verify_release(yard.layout.release(2021), full=True).ok


def test_next_year_is_not_before_the_year_that_it_names(yard: Yard) -> None:
    """The time of `previous` counts as that of a version that is replaced."""
    again(yard, NOW + 30 * DAY)
    later = next_year(yard)
    later.post(30_007, rating="g")
    assert again(later, NOW).created_at == instant_text(NOW + 30 * DAY + SECOND)
    assert verify_release(yard.layout.release(2022), full=True).ok


def test_feed_is_as_new_as_its_newest_entry(yard: Yard) -> None:
    """Also where an earlier version of this program left times that run backwards in the history."""
    release = again(yard, NOW + DAY)
    options, folder = DocumentOptions(maker="somebody"), yard.layout.release(2021)
    assert f"<updated>{release.created_at}</updated>\n  <author>" in (folder / "feed.atom").read_text()
    newest = instant_text(NOW + 700 * DAY)
    odd = replace(release, history=[replace(release.history[0], created_at=newest)])
    feed = render("feed.atom", **document_values(folder, odd, options, labels=[], threads=1))
    assert f"<updated>{newest}</updated>\n  <author>" in feed.decode()


@pytest.mark.parametrize("is_old", [False, True])
def test_verify_names_times_that_run_backwards(yard: Yard, tmp_path: Path, *, is_old: bool) -> None:
    """A release that is of before the version that it replaces is named, unless an earlier version may have made it."""
    again(yard, NOW + DAY)
    folder = linked_copy(yard.layout.release(2021), tmp_path / "copy")
    if is_old:
        (folder / CONTENT).unlink()
    resum(folder, lambda about: about.update(created_at=instant_text(NOW - DAY)))
    said = f"created_at is {instant_text(NOW - DAY)}, and danbooru2021 2021.0 before it is of {instant_text(NOW)}"
    assert any(said in line for line in verify_release(folder).lines()) == (not is_old)


@pytest.mark.parametrize(
    ("ahead", "now", "ended"),
    [
        (3650 * DAY, DAY, True),
        (8 * DAY, DAY, False),
        (8 * DAY, 15 * DAY, True),
        (9 * DAY, DAY, True),
    ],
)
def test_clock_ahead_keeps_no_version_for_years(yard: Yard, ahead: timedelta, now: timedelta, *, ended: bool) -> None:
    """A replaced version stays at most twice its time, if its successor's time has not come yet."""
    again(yard, NOW + ahead)
    assert end_grace(yard.layout, now=NOW + now, grace=WEEK) == (["danbooru2021.0"] if ended else [])


def test_clock_set_back_ends_no_grace_period_early(yard: Yard) -> None:
    """A replaced version has its whole time after the release that replaced it, though the clock was a year behind."""
    again(yard, NOW - 365 * DAY)
    assert read_release(yard.layout.superseded("2021.0")).version == "2021.0"
    assert end_grace(yard.layout, now=NOW + WEEK, grace=WEEK) == []
    assert end_grace(yard.layout, now=NOW + WEEK + SECOND, grace=WEEK) == ["danbooru2021.0"]

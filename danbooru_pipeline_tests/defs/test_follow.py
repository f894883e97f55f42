"""Following as an asset: started by hand or by a schedule that is off, and what it missed on the sweep's asset."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.build import build_defs
from danbooru_pipeline.defs.follow import nightly_follow
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.follow.state import FollowState, write_state
from danbooru_pipeline_tests.support.followed import JANUARY, SUMMER
from danbooru_pipeline_tests.support.runs import numbers_of, run_job, run_year


def test_schedule_is_off_and_every_night() -> None:
    """Nothing follows a site unless its operator says so."""
    assert nightly_follow.default_status is dg.DefaultScheduleStatus.STOPPED
    assert nightly_follow.cron_schedule == "15 4 * * *"
    schedule = build_defs().resolve_schedule_def("nightly_follow")
    assert schedule.job.name == "follow_site"


def test_run_counts_and_the_sweep_says_what_was_missed(
    settings: Settings, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """The asset has the numbers of its run; that of the posts says in January what following did not see."""
    clock = [JANUARY[2021]]
    with RunContext(settings, now=lambda: clock[0]) as context:
        assert run_year(context, instance, ["posts"], 2021).success
        clock[0] = SUMMER
        booru.set_clock(SUMMER)
        result = run_job(context, instance, "follow_site")
        assert result.success
        numbers = numbers_of(result)
        assert numbers["files"].value > 3
        assert numbers["left"].value == 0
        clock[0] = JANUARY[2022]
        booru.set_year(2022)
        swept = run_year(context, instance, ["posts"], 2022)
    missed: Any = swept.asset_materializations_for_node("posts")[0].metadata
    assert missed["following_saw"].value >= numbers["files"].value
    assert missed["following_missed_posts"].value == 2  # of November, and of New Year's Eve
    assert missed["following_missed_files"].value == 0


def test_error_of_ours_is_one_line(settings: Settings, instance: dg.DagsterInstance) -> None:
    """The state of another site fails the run with the line that says what to do."""
    with RunContext(settings, now=lambda: datetime(2022, 9, 1, tzinfo=UTC)) as context:
        now = context.now()
        write_state(context.layout, FollowState(site="https://a.example", start_id=0, last_id=0, changes_until=now))
        result = run_job(context, instance, "follow_site")
    assert not result.success
    (failure,) = (event.step_failure_data for event in result.all_node_events if event.is_step_failure)
    assert failure.user_failure_data is not None
    assert "https://a.example" in (failure.user_failure_data.description or "")

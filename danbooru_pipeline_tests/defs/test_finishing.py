"""A release that few files hold up is published by itself: they are tried once more, then it is made without them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.finishing import Tried, finish_newest_release
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.layout import bucket_of
from danbooru_pipeline.settings import Settings
from danbooru_pipeline_tests.support.runs import METADATA, RELEASE, run_buckets, run_year

IMAGES = ["original_images", "images_512px"]
JANUARY = datetime(2022, 1, 25, tzinfo=UTC)


class Ticks:
    """The sensor, tick by tick, as the daemon would call it."""

    def __init__(self, context: RunContext, instance: dg.DagsterInstance) -> None:
        self.context, self.instance = context, instance
        self.cursor: str | None = None

    def tick(self) -> str:
        """Evaluate it. Returns the reason that the UI shows."""
        sensor = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"run_context": self.context}
        )
        result: Any = finish_newest_release(sensor)
        if isinstance(result, dg.SkipReason):
            return str(result.skip_message)
        self.cursor = result.cursor
        return str(result.skip_reason)

    def launched(self) -> list[tuple[list[str], int]]:
        """Assets and number of partitions of each backfill that is not over, which then are."""
        found = []
        backfills: Any = self.instance.get_backfills()
        for backfill in backfills:
            data = backfill.asset_backfill_data
            keys = {each.partition_key for each in data.target_subset.iterate_asset_partitions()}
            found.append(([key.to_user_string() for key in backfill.asset_selection or ()], len(keys)))
            self.instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS))
        return found


def build_with_a_stuck_file(context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance) -> int:
    """Every bucket with posts, but for one file. Returns the id of its post."""
    run_year(context, instance, METADATA, 2021)
    post = next(p for p in booru.truth(2021) if p.get("md5") and p["file_ext"] == "jpg")
    booru.set_fault(post["md5"], "error")
    for asset in IMAGES:
        run_buckets(context, instance, asset, 2021, "0000", "0049")
    return int(post["id"])


def test_stuck_file_is_tried_again_and_then_done_without(
    settings: Settings, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """The unfinished buckets are launched once, then the release, with the post named; neither is launched twice."""
    with RunContext(settings, now=lambda: JANUARY) as context:
        ticks = Ticks(context, instance)
        assert "no release has begun" in ticks.tick()
        post = build_with_a_stuck_file(context, booru, instance)
        assert "the unfinished buckets again" in ticks.tick()
        assert "at work" in ticks.tick()
        assert ticks.launched() == [(IMAGES, 1000)]  # the one that failed, and those without posts, which are missing
        run_buckets(context, instance, "original_images", 2021, bucket_of(post), bucket_of(post))
        assert f"1 post is pending (retry_exhausted 1): {post};" in ticks.tick()
        assert ticks.launched()[0] == (RELEASE, 1)
        assert "was launched with these posts pending" in ticks.tick()
        assert run_year(context, instance, RELEASE, 2021).success
        assert "is published" in ticks.tick()


@pytest.mark.parametrize(("most", "why"), [(0, "DANBOORU_PUBLISH_PENDING, which is 0"), (20, "no run has worked on")])
def test_release_waits_for_the_operator(
    settings: Settings, booru: BooruProcess, instance: dg.DagsterInstance, most: int, why: str
) -> None:
    """With more pending posts than the setting allows, or buckets that nobody tried, nothing is launched."""
    with RunContext(settings.replace(publish_pending=most), now=lambda: JANUARY) as context:
        if most:
            run_year(context, instance, METADATA, 2021)
        else:
            build_with_a_stuck_file(context, booru, instance)
        assert why in Ticks(context, instance).tick()
    assert not instance.get_backfills()


def test_buckets_whose_run_failed_as_a_whole_are_launched_again(
    settings: Settings, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """A full disk stops a run before most of its buckets: they are launched until there is room, ever more rarely."""
    clock = [JANUARY]
    with RunContext(settings, now=lambda: clock[0]) as context:
        run_year(context, instance, METADATA, 2021)
        assert booru.requests()
    full = settings.replace(min_free_bytes=2**60)
    with RunContext(full, now=lambda: clock[0]) as context:
        ticks = Ticks(context, instance)
        assert "no run has worked on" in ticks.tick()
        assert not run_buckets(context, instance, "original_images", 2021, "0000", "0049").success
        assert "the unfinished buckets again" in ticks.tick()
        assert ticks.launched()[0][0] == IMAGES
        clock[0] += timedelta(minutes=59)
        assert "no run has worked on" in ticks.tick()
        clock[0] += timedelta(minutes=1)
        assert "the unfinished buckets again" in ticks.tick()


def test_launches_become_rarer() -> None:
    """An hour after the first one, then two, four and so on, and once a day in the end."""
    waits = [Tried(launches=number, launched_at=0).next_launch() / 3600 for number in range(8)]
    assert waits == [0, 1, 2, 4, 8, 16, 24, 24]

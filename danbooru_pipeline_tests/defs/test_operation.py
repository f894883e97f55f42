"""Sensors, checks and staleness on an ephemeral Dagster instance."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from dagster._core.utils import make_new_run_id

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.build import build_defs
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.defs.sensors import BEGAN_TAG, tell_of_releases, yearly_release, yearly_release_on_a_date
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.errors import SourceStale
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.posts.drift import Columns
from danbooru_pipeline.posts.report import SweepReport, read_report
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import sweep_posts
from danbooru_pipeline_tests.support.dumps import lines_of_2021, write_files
from danbooru_pipeline_tests.support.raw_server import Answer, RawServer, always, make_answer
from danbooru_pipeline_tests.support.runs import METADATA, RELEASE, run, run_buckets, run_year
from danbooru_pipeline_tests.support.sites import Paged, record_of

JANUARY = datetime(2022, 1, 25, tzinfo=UTC)
MANIFEST_CHECKS = {
    "every_post_has_its_row",
    "every_sfw_row_has_its_512px_image",
    "missing_files_below_threshold",
    "composition_is_stable",
}


@pytest.fixture
def in_january(settings: Settings) -> Iterator[RunContext]:
    """A context whose clock stands at 25 January 2022."""
    with RunContext(settings, now=lambda: JANUARY) as context:
        yield context


def tick(context: RunContext, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    """One tick of the yearly sensor."""
    sensor = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"run_context": context})
    result = yearly_release(sensor)
    assert isinstance(result, dg.SensorResult)
    return result


def test_sensor_begins_a_release_once(
    in_january: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """The third equal look requests one run with a run key and the year; later ticks say that it was begun."""
    cursor: str | None = None
    requests: list[dg.RunRequest] = []
    reasons = []
    for _ in range(4):
        result = tick(in_january, instance, cursor)
        cursor = result.cursor
        requests += result.run_requests or []
        reasons.append(str(result.skip_reason))
    assert [(r.run_key, r.partition_key) for r in requests] == [("danbooru2021", "2021")]
    assert "seen 1 of 3" in reasons[0]
    assert "started already" in reasons[3]


@pytest.mark.parametrize("source", ["api", "dump"])
def test_sensor_begins_nothing_by_a_wrong_clock(
    settings: Settings, booru: BooruProcess, instance: dg.DagsterInstance, tmp_path: Path, source: str
) -> None:
    """The tick that would begin a release says what is wrong; once the clock is right, the release begins."""
    write_files(tmp_path, {"dump/posts.json": lines_of_2021([1, 2])})
    chosen = settings.replace(posts_source=source, dump=str(tmp_path / "dump"))
    booru.set_date(datetime.now(UTC) - timedelta(days=22))
    cursor: str | None = None
    years, reasons = [], []
    for _ in range(2):
        with RunContext(chosen, now=lambda: JANUARY) as context:
            for _ in range(3):
                result = tick(context, instance, cursor)
                cursor = result.cursor
                years += [request.partition_key for request in result.run_requests or []]
                reasons.append(str(result.skip_reason))
        booru.set_date(datetime.now(UTC))
    assert "danbooru2021 cannot start: the clock of this machine is 19008" in reasons[2]
    assert "preferably by NTP" in reasons[2]
    assert years == ["2021"]


def test_sensor_begins_although_nobody_knows_the_time(
    settings: Settings, instance: dg.DagsterInstance, serve: Callable[[Answer], RawServer], tmp_path: Path
) -> None:
    """A site that blocks us holds up no release of a copy."""
    write_files(tmp_path, {"dump/posts.json": lines_of_2021([1, 2])})
    site = serve(always(make_answer(b"<html>", status=403, headers={"cf-mitigated": "challenge"})))
    chosen = settings.replace(posts_source="dump", dump=str(tmp_path / "dump"), api_url=site.url)
    cursor: str | None = None
    with RunContext(chosen, now=lambda: JANUARY) as context:
        for _ in range(3):
            result = tick(context, instance, cursor)
            cursor = result.cursor
    assert [request.partition_key for request in result.run_requests or []] == ["2021"]
    assert len(site.requests) == 1


def test_lost_cursor_begins_nothing_twice(in_january: RunContext, booru: BooruProcess, tmp_path: Path) -> None:
    """A sensor whose cursor was reset, and the schedule, see the run that began the release, and leave it at that."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.add_run(dg.DagsterRun(job_name="begin_release", run_id=make_new_run_id(), tags={BEGAN_TAG: "2021"}))
        cursor = None
        for _ in range(3):
            result = tick(in_january, instance, cursor)
            cursor = result.cursor
            assert not result.run_requests
        assert "already" in str(result.skip_reason)
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=JANUARY, resources={"run_context": in_january}
        )
        scheduled: Any = yearly_release_on_a_date(context)
        assert isinstance(scheduled, dg.SkipReason)


def test_metadata_is_checked_with_numbers(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """Posts that reach the end of their year pass; columns that are new this year are shown and keep nothing back."""
    for year in (2021, 2022):
        booru.set_year(year)
        result = run_year(context, instance, METADATA, year)
        assert result.success
    found = {each.check_name: each for each in result.get_asset_check_evaluations()}
    fresh = found["posts_reach_the_end_of_the_year"]
    assert fresh.passed
    assert "there are posts after the cutoff" in str(fresh.description)
    assert fresh.metadata["last_id"].value == read_report(context.layout, 2022).max_id  # type: ignore[union-attr]
    assert "| last id |" in str(fresh.metadata["source"].value)
    assert found["side_tables_reach_the_end_of_the_year"].passed
    assert found["columns_are_those_of_last_year"].metadata.keys() >= {"new", "lost", "retyped", "columns"}


def test_stale_source_holds_up_what_follows(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """A site that ends eleven months before the release fails the check that blocks: no buckets are made of it."""
    log = RunLog()
    tags = {"dagster/partition": "2022"}  # the site is of January 2022
    result = run(context, instance, ["posts", "posts_by_bucket"], tags, log=log)
    assert not result.success
    (check,) = [each for each in result.get_asset_check_evaluations() if each.blocking and not each.passed]
    assert check.check_name == "posts_reach_the_end_of_the_year"
    assert "stale" in str(check.description)
    assert "DANBOORU_API_URL" in str(check.description)
    assert isinstance(log.stopped_by, SourceStale)
    assert not context.layout.posts_by_bucket(2022).exists()


@pytest.mark.parametrize("accepted", ["", "posts: the site became smaller"])
def test_lost_posts_hold_up_what_follows(context: RunContext, instance: dg.DagsterInstance, accepted: str) -> None:
    """Posts of last year that are gone fail the check that blocks, unless the operator accepts it with a reason."""
    for year, most in ((2021, 40), (2022, 10)):
        records = [record_of(i) for i in range(1, most + 1)] + [record_of(50)]
        sweep_posts(Paged(records), context.layout, year, now=JANUARY, progress=lambda _line: None)
    chosen = {"accept_incomplete": {"posts": accepted.partition(": ")[2]}} if accepted else {}
    log = RunLog()
    with RunContext(context.settings.replace(**chosen)) as run_context:
        job = build_defs(resources={"run_context": run_context, "run_log": log}).resolve_implicit_global_asset_job_def()
        check = dg.AssetCheckKey(dg.AssetKey("posts"), "posts_of_last_year_are_there")
        subset = job.get_subset(asset_selection=set(), asset_check_selection={check})
        result = subset.execute_in_process(instance=instance, tags={"dagster/partition": "2022"}, raise_on_error=False)
    (found,) = result.get_asset_check_evaluations()
    assert (found.passed, found.blocking) == (bool(accepted), True)
    assert (log.stopped_by is None) == bool(accepted)
    assert "30 of the 41 posts of 2021" in str(found.metadata["gaps"].value)
    assert ("DANBOORU_ACCEPT_INCOMPLETE" in str(found.description)) == (not accepted)
    assert not accepted or "the site became smaller" in str(found.metadata["gaps"].value)


def checked_posts(
    context: RunContext, instance: dg.DagsterInstance, name: str, *, accepted: bool
) -> dg.AssetCheckEvaluation:
    """A check of the posts of 2021 that blocks what follows, unless its gap is accepted."""
    log = RunLog()
    with RunContext(context.settings.replace(accept_incomplete={"posts": "known"} if accepted else {})) as run_context:
        job = build_defs(resources={"run_context": run_context, "run_log": log}).resolve_implicit_global_asset_job_def()
        check = dg.AssetCheckKey(dg.AssetKey("posts"), name)
        subset = job.get_subset(asset_selection=set(), asset_check_selection={check})
        result = subset.execute_in_process(instance=instance, tags={"dagster/partition": "2021"}, raise_on_error=False)
    (found,) = result.get_asset_check_evaluations()
    assert (found.passed, found.blocking) == (accepted, True)
    assert (log.stopped_by is None) == accepted
    return found


@pytest.mark.parametrize("accepted", [False, True])
def test_posts_that_no_page_gave_hold_up_what_follows(
    context: RunContext, instance: dg.DagsterInstance, *, accepted: bool
) -> None:
    """The site counts more posts than its pages gave: the check that blocks says how many, unless that is accepted."""
    source = Paged([record_of(i) for i in range(1, 41)], lost=3)
    sweep_posts(source, context.layout, 2021, now=JANUARY, progress=lambda _line: None)
    found = checked_posts(context, instance, "posts_are_as_many_as_the_source_counts", accepted=accepted)
    assert "counts 43 posts" in str(found.metadata["gaps"].value)


@pytest.mark.parametrize("accepted", [False, True])
def test_posts_that_a_second_read_lost_hold_up_what_follows(
    context: RunContext, instance: dg.DagsterInstance, *, accepted: bool
) -> None:
    """The same year is read again and lacks posts that it had: the check that blocks says so, unless it is accepted."""
    for most in (40, 10):
        source = Paged([record_of(i) for i in range(1, most + 1)])
        sweep_posts(source, context.layout, 2021, now=JANUARY, progress=lambda _line: None)
    found = checked_posts(context, instance, "posts_of_last_year_are_there", accepted=accepted)
    assert "30 of the 40 posts that 2021 had before" in str(found.metadata["gaps"].value)


@pytest.mark.parametrize("accepted", [False, True])
def test_rows_that_cannot_be_understood_hold_up_what_follows(
    context: RunContext, instance: dg.DagsterInstance, *, accepted: bool
) -> None:
    """No post would get a file: the check that blocks names the column and a value, unless that is accepted."""
    records = [record_of(i, is_banned="") for i in range(1, 41)]
    sweep_posts(Paged(records), context.layout, 2021, now=JANUARY, progress=lambda _line: None)
    found = checked_posts(context, instance, "rows_of_posts_are_understood", accepted=accepted)
    assert 'is_banned: 40, such as "" in post 1' in str(found.metadata["gaps"].value)


def test_drift_of_columns_is_told(context: RunContext, instance: dg.DagsterInstance) -> None:
    """A column that came, one that went and one of another type are named beside how often they were."""
    for year, columns in (
        (2021, Columns(filled=("id", "score", "rating"), new={"media_asset": 5})),
        (2022, Columns(filled=("id", "rating"), new={"media_asset": 7, "sound": 2}, retyped={"rating": 3})),
    ):
        report = SweepReport(
            name="api", taken_at=JANUARY, rows=9, rejected=0, max_id=9, max_created_at=JANUARY, beyond=1, sha256="x",
            requests=1, drifted=7, columns=columns,
        )  # fmt: skip
        write_atomic(context.layout.posts_report(year), msgspec.json.encode({"source": report}))
    job = build_defs(resources={"run_context": context}).resolve_implicit_global_asset_job_def()
    check = dg.AssetCheckKey(dg.AssetKey("posts"), "columns_are_those_of_last_year")
    subset = job.get_subset(asset_selection=set(), asset_check_selection={check})
    result = subset.execute_in_process(instance=instance, tags={"dagster/partition": "2022"})
    (found,) = result.get_asset_check_evaluations()
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    table = str(found.metadata["columns"].value)
    assert [line for line in table.splitlines() if line.startswith(("| s", "| r"))] == [
        "| sound | new | 2 |", "| score | lost | |", "| rating | another type | 3 |"
    ]  # fmt: skip


def test_whole_release_passes_its_checks(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """Every check of the release runs with it and carries numbers; those that block pass; the release is announced."""
    run_year(context, instance, METADATA, 2021)
    run_buckets(context, instance, "original_images", 2021, "0000", "0049")
    run_buckets(context, instance, "images_512px", 2021, "0000", "0049")
    result = run_year(context, instance, RELEASE, 2021)
    assert result.success
    found = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert found.keys() >= MANIFEST_CHECKS | {"release_verifies"}
    assert all(each.passed for each in found.values() if each.severity is dg.AssetCheckSeverity.ERROR)
    assert found["every_sfw_row_has_its_512px_image"].metadata["sfw_rows"].value
    sensor = dg.build_sensor_context(instance=instance, resources={"run_context": context})
    told: Any = tell_of_releases(sensor)
    assert "no notification channel" in str(told.skip_reason)


def test_lost_512px_image_fails_the_check_that_blocks(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """A 512px image that goes after the manifest was made fails the check which the snapshot waits for."""
    run_year(context, instance, METADATA, 2021)
    run_buckets(context, instance, "original_images", 2021, "0000", "0049")
    run_buckets(context, instance, "images_512px", 2021, "0000", "0049")
    assert run_year(context, instance, ["release_manifest"], 2021).success
    next(context.layout.store.glob("512px/*/*.jpg")).unlink()
    with dg.DagsterInstance.ephemeral() as other:
        job = build_defs(resources={"run_context": context}).resolve_implicit_global_asset_job_def()
        check = dg.AssetCheckKey(dg.AssetKey("release_manifest"), "every_sfw_row_has_its_512px_image")
        subset = job.get_subset(asset_selection=set(), asset_check_selection={check})
        result = subset.execute_in_process(instance=other, tags={"dagster/partition": "2021"}, raise_on_error=False)
    assert [each.passed for each in result.get_asset_check_evaluations()] == [False]


def stale(instance: dg.DagsterInstance, context: RunContext, year: int) -> set[StaleStatus]:
    """What the UI shows of some originals of a year."""
    graph = build_defs(resources={"run_context": context}).resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    return {resolver.get_status(dg.AssetKey("original_images"), f"{n:04d}|{year}") for n in range(3)}


def test_new_posts_make_their_year_stale_alone(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """An export with other rows makes that year's buckets stale and no other year's; unchanged rows make none stale."""
    for year in (2021, 2022):
        booru.set_year(year)
        run_year(context, instance, ["posts", "posts_by_bucket"], year)
        run_buckets(context, instance, "original_images", year, "0000", "0002")
    run_year(context, instance, ["posts", "posts_by_bucket"], 2022)
    assert stale(instance, context, 2021) == stale(instance, context, 2022) == {StaleStatus.FRESH}
    booru.set_year(2023)  # what was changed since is part of an export now
    run_year(context, instance, ["posts", "posts_by_bucket"], 2022)
    assert stale(instance, context, 2022) == {StaleStatus.STALE}
    assert stale(instance, context, 2021) == {StaleStatus.FRESH}


def test_unchanged_bucket_is_fresh_again_in_milliseconds(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """200 buckets whose rows did not change make no request, and cost some milliseconds each, bookkeeping included."""
    run_year(context, instance, ["posts", "posts_by_bucket"], 2021)
    run_buckets(context, instance, "original_images", 2021, "0000", "0199")
    booru.reset_requests()
    began = time.process_time()
    assert run_buckets(context, instance, "original_images", 2021, "0000", "0199").success
    assert time.process_time() - began < 200 * 0.1
    assert booru.requests().get("files", 0) == 0

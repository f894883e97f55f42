"""The operator's jobs: a dry run changes nothing and says what would be done; the real one does that."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.events import DagsterEvent

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.checks import CHECKS
from danbooru_pipeline.defs.images import RECHECK_TAG
from danbooru_pipeline.defs.partitions import releases
from danbooru_pipeline.defs.waiting import failed_checks, outdated_buckets, what_it_waits_for
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.layout import bucket_of
from danbooru_pipeline.release import read_release, verify_release
from danbooru_pipeline_tests.support.runs import METADATA, RELEASE, report_of, run_buckets, run_job, run_year

IMAGES = ("original_images", "images_512px")


def build_buckets(context: RunContext, instance: dg.DagsterInstance, last: str = "0049") -> list[bool]:
    """Both image stages. Returns whether they succeeded."""
    return [run_buckets(context, instance, asset, 2021, "0000", last).success for asset in IMAGES]


def launched(instance: dg.DagsterInstance) -> Any:
    """The backfill that a job handed to the daemon."""
    (backfill,) = instance.get_backfills()
    return backfill


def test_stuck_file_is_named_and_overruled(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """The check names the pending post and the job that publishes without it; that job does, after a dry run."""
    run_year(context, instance, METADATA, 2021)
    refused = run_job(context, instance, "finish_release", year=2021, dry_run=False)
    assert not refused.success
    post = next(p for p in booru.truth(2021) if p.get("md5") and p["file_ext"] == "jpg")
    booru.set_fault(post["md5"], "error")
    assert build_buckets(context, instance) == [False, True]
    lines = what_it_waits_for(instance, context, 2021)
    assert f"1 post is pending (retry_exhausted 1): {post['id']};" in lines[0]
    assert "finish_release" in lines[0]
    assert any("missing or failed" in line and "build_what_is_left" in line for line in lines)
    shown = run_job(context, instance, "finish_release", year=2021)
    assert shown.success
    assert f": {post['id']};" in report_of(shown)
    assert not instance.get_backfills()
    done = run_job(context, instance, "finish_release", year=2021, dry_run=False)
    backfill = launched(instance)
    assert backfill.backfill_id in report_of(done)
    assert [key.to_user_string() for key in backfill.asset_selection] == RELEASE
    assert run_year(context, instance, RELEASE, 2021).success
    assert read_release(context.layout.release(2021)).reasons["original"]["retry_exhausted"] == 1


def test_check_that_a_run_has_only_planned_is_no_failed_one(instance: dg.DagsterInstance) -> None:
    """Case build+build: what a release waits for can be asked while another build has its checks before it."""
    key = next(key for check in CHECKS for key in check.check_keys)
    planned = AssetCheckEvaluationPlanned(
        asset_key=key.asset_key,
        check_name=key.name,
        partitions_subset=releases.subset_with_partition_keys(["2021"]),
    )
    event = DagsterEvent("ASSET_CHECK_EVALUATION_PLANNED", job_name="another", event_specific_data=planned)
    instance.report_dagster_event(event, run_id="another-run")
    assert failed_checks(instance, 2021) == []


def test_buckets_of_older_posts_are_found(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """Posts that changed outdate the buckets made before; one job launches those and the missing ones, at once."""
    run_year(context, instance, METADATA, 2021)
    build_buckets(context, instance, last="0002")
    assert outdated_buckets(instance, 2021) == set()
    run_year(context, instance, METADATA, 2021)
    assert outdated_buckets(instance, 2021) == set()  # the same rows again
    booru.set_year(2022)
    run_year(context, instance, METADATA, 2021)
    assert outdated_buckets(instance, 2021) == {"0000", "0001", "0002"}
    assert build_buckets(context, instance, last="0001") == [True, True]
    assert outdated_buckets(instance, 2021) == {"0002"}
    shown = report_of(run_job(context, instance, "build_what_is_left", year=2021))
    assert "998 buckets of 2021: 997 missing or failed, 1 made of older posts" in shown
    assert not instance.get_backfills()
    run_job(context, instance, "build_what_is_left", year=2021, dry_run=False)
    backfill = launched(instance)
    assert [key.to_user_string() for key in backfill.asset_selection] == list(IMAGES)
    subset = backfill.asset_backfill_data.target_subset
    keys = {each.partition_key for each in subset.iterate_asset_partitions()}
    assert len(keys) == 1000  # with their neighbours, which takes fewer runs
    assert "0002|2021" in keys


def test_recheck_launches_what_it_counts(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """Buckets with a file that the host did not have are launched with the reasons; unknown reasons fail the run."""
    run_year(context, instance, METADATA, 2021)
    post = next(p for p in booru.truth(2021) if p.get("md5") and p["file_ext"] == "jpg")
    booru.set_fault(post["md5"], "gone")
    bucket = bucket_of(post["id"])
    assert run_buckets(context, instance, "original_images", 2021, bucket, bucket).success
    assert "1 post of 2021 in 1 bucket without a file" in report_of(
        run_job(context, instance, "recheck_missing", year=2021)
    )
    done = run_job(context, instance, "recheck_missing", year=2021, dry_run=False)
    assert done.success
    assert launched(instance).tags[RECHECK_TAG] == "gone,refused"
    wrong = run_job(context, instance, "recheck_missing", year=2021, reasons="lost")
    assert not wrong.success


def test_verify_doctor_and_takedown_report(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """Each shows its report in the run; a takedown removes nothing before its dry run is switched off."""
    run_year(context, instance, METADATA, 2021)
    build_buckets(context, instance)
    assert run_year(context, instance, RELEASE, 2021).success
    folder = context.layout.release(2021)
    verified = run_job(context, instance, "verify_release", year=2021, full=True)
    assert verified.success
    assert "| error |" not in report_of(run_job(context, instance, "doctor"))
    path = next(folder.glob("original/*/*.jpg"))
    id_ = int(path.stem)
    assert "would take down 1 post and" in report_of(run_job(context, instance, "takedown", ids=[id_]))
    assert path.exists()
    assert "Took down 1 post." in report_of(run_job(context, instance, "takedown", ids=[id_], dry_run=False))
    assert not path.exists()
    assert verify_release(folder, full=True).ok
    next(folder.glob("original/*/*.jpg")).unlink()
    broken = run_job(context, instance, "verify_release", year=2021)
    assert not broken.success
    assert "missing" in report_of(broken)
    assert not run_job(context, instance, "takedown").success
    assert "no takedown is unfinished" in report_of(run_job(context, instance, "takedown", resume=True, dry_run=False))


def test_forgetting_runs_keeps_the_state_of_partitions(
    settings: Any, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """Runs that were repeated since are forgotten with their logs; green and red partitions stay as they are."""
    with RunContext(settings, now=lambda: datetime.now(UTC) + timedelta(days=500)) as context:
        assert run_year(context, instance, METADATA, 2021).success
        assert run_year(context, instance, METADATA, 2021).success
        failed = run_buckets(context, instance, "original_images", 2022, "0000", "0000")
        assert not failed.success
        build_buckets(context, instance, last="0001")
        before = what_it_waits_for(instance, context, 2021)
        shown = report_of(run_job(context, instance, "prune_history", older_than_days=400))
        assert "would forget 1 of the 5 runs" in shown
        assert len(instance.get_runs()) == 6
        run_job(context, instance, "prune_history", older_than_days=400, dry_run=False)
        assert len(instance.get_runs()) == 5  # of this job the last, and the four that something depends on
        assert what_it_waits_for(instance, context, 2021) == before
        assert instance.get_run_by_id(failed.run_id) is not None


@pytest.mark.parametrize("job", ["finish_release", "build_what_is_left", "recheck_missing"])
def test_jobs_say_that_posts_come_first(job: str, context: RunContext, instance: dg.DagsterInstance) -> None:
    """Without the posts of a year there is nothing to launch, and the failure says what to do."""
    result = run_job(context, instance, job, year=2021, dry_run=False)
    assert not result.success
    assert not instance.get_backfills()

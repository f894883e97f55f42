"""Assets on an ephemeral Dagster instance, against the embedded booru."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

import danbooru_pipeline
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.build import build_defs
from danbooru_pipeline.defs.images import RECHECK_TAG
from danbooru_pipeline.defs.partitions import bucket_releases, releases
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import BUCKETS, bucket_of
from danbooru_pipeline.release import verify_release
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.ledger import read_ledger
from danbooru_pipeline_tests.support.runs import (
    METADATA,
    RELEASE,
    numbers_of,
    report_of,
    run,
    run_buckets,
    run_job,
    run_year,
)

TOP = Path(danbooru_pipeline.__file__).parent.parent
COLUMNS = "dagster/column_schema"
SCHEDULES = ("weekly_scrub", "nightly_follow", "relearn_tags", "daily_mirrors", "yearly_release_on_a_date")


def states(instance: dg.DagsterInstance, asset: str, year: int, buckets: list[str]) -> list[str | None]:
    """What the UI shows for these buckets."""
    keys = [f"{bucket}|{year}" for bucket in buckets]
    found = instance.get_status_by_partition(dg.AssetKey(asset), keys, bucket_releases) or {}
    return [None if (state := found.get(key)) is None else state.name for key in keys]


def failure_of(result: dg.ExecuteInProcessResult) -> Any:
    """What the UI shows of a failed step: a description and metadata."""
    return next(event for event in result.all_events if event.is_step_failure).step_failure_data.user_failure_data


def test_graph_is_the_one_of_the_design() -> None:
    """Every asset is there, image assets have 1000 buckets a release, and the edges lead from posts to publication."""
    graph = build_defs().resolve_asset_graph()
    edges = {
        key.to_user_string(): {p.to_user_string() for p in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert edges == {
        "posts": set(),
        "posts_by_bucket": {"posts"},
        "side_tables": set(),
        "original_images": {"posts_by_bucket"},
        "images_512px": {"original_images"},
        "release_manifest": {"posts", "original_images", "images_512px"},
        "release_snapshot": {"release_manifest", "side_tables"},
        "publication": {"release_snapshot"},
        "tag_model": {"release_snapshot"},
        "tag_candidates": {"tag_model"},
        "tag_quality": {"tag_candidates"},
        "static_publication": {"publication"},
        "hub_publication": {"publication"},
        "scrubbed_store": set(),
        "imported_files": set(),
        "followed_year": set(),
        "release_totals": set(),
    }
    assert len(bucket_releases.get_multipartition_keys_with_dimension_value("release", "2021")) == 1000
    assert all(graph.get(key).description for key in graph.get_all_asset_keys())
    by_hand = {key.to_user_string() for key in graph.get_all_asset_keys() if not graph.get(key).is_materializable}
    # *Materialize all* begins none of them.
    assert by_hand == {"scrubbed_store", "imported_files", "followed_year", "release_totals"}


def test_assets_show_what_dagster_has_a_place_for() -> None:
    """Each has an owner, a kind, a group, code, a section of the runbook; tables have columns with their meaning."""
    graph = build_defs().resolve_asset_graph()
    sections = {
        line.lstrip("# ").lower().translate(str.maketrans(" ", "-", ":,?"))
        for line in (TOP / "docs/runbook.md").read_text().splitlines()
        if line.startswith("## ")
    }
    for node in map(graph.get, graph.get_all_asset_keys()):
        assert node.owners
        assert node.kinds
        assert node.group_name != "default"
        page, _, section = str(node.metadata["runbook"].value).partition("#")
        assert (page, section in sections) == ("docs/runbook.md", True), section
    tables = {"posts", "posts_by_bucket", "release_manifest"}
    with_columns = {key.to_user_string() for key in graph.get_all_asset_keys() if COLUMNS in graph.get(key).metadata}
    assert with_columns == tables
    manifest: Any = graph.get(dg.AssetKey("release_manifest")).metadata[COLUMNS]
    assert all(column.description for column in manifest.columns)
    materializable = [graph.get(key) for key in graph.materializable_asset_keys]
    assert all("dagster/code_references" in node.metadata for node in materializable)


def test_everything_in_the_ui_says_what_it_does() -> None:
    """Jobs, sensors and schedules show a sentence, and each option of a job that changes something has one, too."""
    defs = build_defs()
    jobs: list[Any] = [job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")]
    schedules: list[Any] = [defs.resolve_schedule_def(name) for name in SCHEDULES]
    sensors: list[Any] = list(defs.sensors or ())
    for each in (*jobs, *sensors, *schedules):
        assert len(str(each.description)) > 20, each.name
    options = {job.name: job.nodes[0].definition.config_schema.config_type for job in jobs if len(job.nodes) == 1}
    with_dry_run = {name for name, kind in options.items() if "dry_run" in getattr(kind, "fields", {})}
    assert with_dry_run == {
        "takedown", "prune_history", "import_store", "follow_site", "recheck_missing", "finish_release",
        "build_what_is_left",
    }  # fmt: skip
    for name in with_dry_run - {"follow_site"}:  # which the schedule starts
        assert options[name].fields["dry_run"].default_value is True


def test_a_release_exists_when_its_year_is_over() -> None:
    """The newest partition is last year's."""
    assert releases.get_partition_keys(current_time=datetime(2022, 12, 31, 23, 59, tzinfo=UTC))[-1] == "2021"
    assert releases.get_partition_keys(current_time=datetime(2023, 1, 1, 0, 1, tzinfo=UTC))[-1] == "2022"


def test_small_booru_becomes_a_release(context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance) -> None:
    """Metadata, images, manifest, snapshot and publication succeed, carry numbers, and the release verifies."""
    assert run_year(context, instance, METADATA, 2021).success
    for asset in ("original_images", "images_512px"):
        result = run_buckets(context, instance, asset, 2021, "0000", "0049")
        assert result.success
    result = run_year(context, instance, RELEASE, 2021)
    assert result.success
    numbers: Any = result.asset_materializations_for_node("release_manifest")[0].metadata
    assert numbers["originals"].value > 20
    assert context.layout.current.resolve() == context.layout.release(2021).resolve()
    totals: Any = instance.get_latest_materialization_event(dg.AssetKey("release_totals"))
    assert totals.asset_materialization.partition == "2021"
    assert totals.asset_materialization.metadata["originals"].value == numbers["originals"].value
    assert verify_release(context.layout.release(2021), full=True).ok


def test_posts_are_not_taken_by_a_wrong_clock(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """A run of the daemon or the UI dates what it takes as a build does, so it refuses the same clock."""
    booru.set_date(datetime.now(UTC) - timedelta(days=300))
    result = run_year(context, instance, ["posts"], 2021)
    assert not result.success
    assert "s off the site's; set it, preferably by NTP" in failure_of(result).description
    assert not context.layout.sweep(2021, "posts").exists()


@pytest.mark.parametrize("asset", ["original_images", "images_512px"])
def test_no_bucket_is_green_before_its_posts_exist(
    asset: str, context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """Without posts a bucket fails and says what to materialise first; with them, one without posts succeeds."""
    result = run_buckets(context, instance, asset, 2021, "0000", "0001")
    assert not result.success
    assert "materialise the assets posts and posts_by_bucket of 2021 first" in failure_of(result).description
    assert states(instance, asset, 2021, ["0000", "0001"]) == ["FAILED", "FAILED"]
    run_year(context, instance, METADATA, 2021)
    empty = next(b for b in BUCKETS if not context.layout.posts_bucket(2021, b).exists())
    assert run_buckets(context, instance, asset, 2021, empty, empty).success
    assert states(instance, asset, 2021, [empty]) == ["MATERIALIZED"]


def test_finished_buckets_survive_a_failing_neighbour(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """In one run, the bucket with a pending post is red, the others are green; a backfill asks for that post alone."""
    run_year(context, instance, METADATA, 2021)
    post = next(p for p in booru.truth(2021) if p.get("md5") and p["file_ext"] == "jpg")
    booru.set_fault(post["md5"], "error")
    bad = bucket_of(post["id"])
    buckets = [f"{n:04d}" for n in range(10)]
    result = run_buckets(context, instance, "original_images", 2021, "0000", "0009")
    assert not result.success
    expected = ["FAILED" if bucket == bad else "MATERIALIZED" for bucket in buckets]
    assert states(instance, "original_images", 2021, buckets) == expected
    assert read_ledger(context.layout.ledger(bad))[post["id"]].reason == "retry_exhausted"
    booru.clear_faults()
    booru.reset_requests()
    assert run_buckets(context, instance, "original_images", 2021, bad, bad).success
    assert len(booru.requested_files()) == 1
    assert states(instance, "original_images", 2021, buckets) == ["MATERIALIZED"] * 10


def test_questions_of_a_run_share_requests(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """Posts without a file are asked about by 200 a request over all buckets of a run, and by last year's rows too."""
    run_year(context, instance, METADATA, 2021)
    later = {p["id"]: p.get("md5") for p in booru.truth(2022)}
    shown = [p for p in booru.truth(2021) if p.get("md5") and p["created_at"] < "2021-12-31T19"]
    stable = {bucket_of(p["id"]): p for p in shown if later.get(p["id"]) == p["md5"]}
    lost = [stable[bucket] for bucket in sorted(stable)[:5]]
    buckets = [bucket_of(post["id"]) for post in lost]
    for year in (2021, 2022):
        booru.set_year(year)
        run_year(context, instance, METADATA, year)
        for post in lost:
            booru.set_fault(post["md5"], "gone")
        booru.reset_requests()
        run_buckets(context, instance, "original_images", year, buckets[0], buckets[-1])
        rows = {k: v for bucket in buckets for k, v in read_ledger(context.layout.ledger(bucket)).items()}
        assert [(rows[post["id"]].reason, rows[post["id"]].checked_release) for post in lost] == [("gone", year)] * 5
        # Of 2022, one before anything is fetched, and one about what has failed since.
        assert booru.requests()["posts"] <= year - 2020
    booru.clear_faults()
    booru.reset_requests()
    tags = {RECHECK_TAG: "gone"}
    run_buckets(context, instance, "original_images", 2022, buckets[0], buckets[-1], tags=tags)
    rows = {k: v for bucket in buckets for k, v in read_ledger(context.layout.ledger(bucket)).items()}
    assert [rows[post["id"]].status for post in lost] == ["ok"] * 5
    assert booru.requests()["posts"] == 1


def test_failure_says_what_is_left(context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance) -> None:
    """The failure of a run names the partitions and counts the reasons, in its description and a table."""
    run_year(context, instance, METADATA, 2021)
    post = next(p for p in booru.truth(2021) if p.get("md5") and p["file_ext"] == "jpg")
    booru.set_fault(post["md5"], "html")
    bad = bucket_of(post["id"])
    result = run_buckets(context, instance, "original_images", 2021, bad, bad)
    failure = failure_of(result)
    assert f"{bad}|2021" in failure.description
    assert "html_instead 1" in failure.metadata["what_is_left"].value


def test_unfinished_buckets_refuse_the_release(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """A manifest over buckets that no run has reached is refused with the rows named, and nothing is published."""
    run_year(context, instance, METADATA, 2021)
    result = run_year(context, instance, RELEASE, 2021)
    assert not result.success
    failure = failure_of(result)
    assert failure.metadata["rows"].value.count("\n") > 5
    assert not context.layout.releases.exists() or not list(context.layout.releases.glob("danbooru*"))


def test_import_runs_from_the_ui(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """The job takes what its paths hold and records how much; a path that holds nothing fails it in one line."""
    run_year(context, instance, METADATA, 2021)
    wrong = set(booru.kinds(2021)["wrong_md5"])
    shown = [p for p in booru.truth(2021) if p.get("file_url") and p["id"] not in wrong and not p["is_banned"]][:3]
    (tmp_path / "md5").mkdir()
    for post in shown:
        data = httpx.get(post["file_url"], headers={"User-Agent": "tests/1 (tests@example.org)"}).content
        (tmp_path / "md5" / f"{post['md5']}.{post['file_ext']}").write_bytes(data)
    foreseen = run_job(context, instance, "import_store", paths=[str(tmp_path / "md5")])
    assert foreseen.success
    assert "3" in report_of(foreseen)
    assert instance.get_latest_materialization_event(dg.AssetKey("imported_files")) is None
    done = run_job(context, instance, "import_store", paths=[str(tmp_path / "md5")], year=2021, dry_run=False)
    assert done.success
    numbers = numbers_of(done)
    assert (numbers["taken"].value, numbers["outcome_md5"].value) == (3, 3)
    assert all(context.layout.original(p["id"], p["file_ext"]).exists() for p in shown)
    assert instance.get_latest_materialization_event(dg.AssetKey("imported_files")) is not None
    failed = run_job(context, instance, "import_store", paths=[str(tmp_path / "nothing")])
    assert not failed.success
    assert "is neither a folder nor a tar" in failure_of(failed).description


def test_unreachable_source_fails_in_one_line(settings: Settings, instance: dg.DagsterInstance) -> None:
    """A source that is down makes a failure that says what to check, not a traceback of a library."""
    down = settings.replace(api_url="http://127.0.0.1:9", retry_seconds=0.1)
    with RunContext(down) as context:
        result = run_year(context, instance, ["posts"], 2021)
    failure = failure_of(result)
    assert "does not respond" in failure.description
    assert "DANBOORU_API_URL" in failure.description


def test_posts_carry_a_data_version_of_their_rows(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """A new export of unchanged rows has the same data version, so that nothing downstream becomes stale."""

    def version() -> str | None:
        run_year(context, instance, ["posts"], 2021)
        event = instance.get_latest_data_version_record(dg.AssetKey("posts"), partition_key="2021")
        assert event is not None
        assert event.asset_materialization is not None
        return (event.asset_materialization.tags or {})["dagster/data_version"]

    first = version()
    assert version() == first
    booru.set_year(2022)
    assert version() != first


@pytest.mark.parametrize("asset", ["posts", "posts_by_bucket", "side_tables", "release_snapshot"])
def test_two_runs_never_write_for_one_year(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance, asset: str
) -> None:
    """Case side_tables_race: every asset that writes for a year holds its lock, and a second one says so."""
    with exclusive(context.layout.year_lock(2021)):
        log = RunLog()
        assert not run(context, instance, [asset], {"dagster/partition": "2021"}, log=log).success
    assert "another run is writing the metadata of 2021" in str(log.stopped_by)

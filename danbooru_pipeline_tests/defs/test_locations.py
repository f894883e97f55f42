"""A Dagster that other projects share: what is theirs holds up nothing here."""

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from danbooru_pipeline.defs.locations import count_active_runs, is_backfilling
from danbooru_pipeline_tests.support.runs import sensor_context

OURS, THEIRS = (GrpcServerCodeLocationOrigin("localhost", 4000, None, name) for name in ("danbooru", "others"))


@pytest.mark.parametrize(
    ("origin", "counts"),
    [(OURS, True), (THEIRS, False), (None, True)],
    ids=["of this location", "of another", "of a command"],
)
def test_only_runs_of_this_code_location_make_sensors_wait(
    instance: dg.DagsterInstance, origin: GrpcServerCodeLocationOrigin | None, *, counts: bool
) -> None:
    """A run of another project is none of ours; one that a command began has no location, and counts."""
    job = RemoteJobOrigin(RemoteRepositoryOrigin(origin, "__repository__"), "nightly") if origin else None
    instance.add_run(dg.DagsterRun(job_name="nightly", status=dg.DagsterRunStatus.STARTED, remote_job_origin=job))
    assert count_active_runs(sensor_context(instance, code_location_origin=OURS)) == counts


@pytest.mark.parametrize(("asset", "counts"), [("posts", True), ("theirs", False)])
def test_only_backfills_of_our_assets_make_sensors_wait(
    instance: dg.DagsterInstance, asset: str, *, counts: bool
) -> None:
    """A backfill of another project may take weeks."""
    instance.add_backfill(
        PartitionBackfill(
            backfill_id="weeks",
            status=BulkActionStatus.REQUESTED,
            from_failure=False,
            tags={},
            backfill_timestamp=0.0,
            asset_selection=[dg.AssetKey(asset)],
        )
    )
    repository = dg.Definitions(assets=[dg.AssetSpec("posts")]).get_repository_def()
    assert is_backfilling(sensor_context(instance, repository_def=repository)) == counts

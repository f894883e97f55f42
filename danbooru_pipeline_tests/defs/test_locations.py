"""A Dagster that other projects share: what is theirs holds up nothing here."""

import dagster as dg
import pytest
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from danbooru_pipeline.defs.locations import count_active_runs

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
    context = dg.SensorEvaluationContext(
        instance_ref=None,
        last_tick_completion_time=None,
        last_run_key=None,
        cursor=None,
        repository_name=None,
        instance=instance,
        code_location_origin=OURS,
    )
    assert count_active_runs(context) == counts

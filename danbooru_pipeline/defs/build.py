"""Everything that Dagster knows about this project, in one call that serves production and tests."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from danbooru_pipeline.defs import (
    backfills,
    checks,
    follow,
    images,
    imports,
    metadata,
    operations,
    release,
    scrub,
    sensors,
    waiting,
)
from danbooru_pipeline.defs.resources import run_log, toolbox


def build_defs(*, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """All assets, checks, jobs and sensors, with resources from the environment or those given.

    Runs execute in one process: Dagster's default, a process for each step, costs 5 s a run and gains nothing here.
    """
    return dg.Definitions(
        assets=[
            *dg.load_assets_from_modules([metadata, images, release]),
            scrub.scrubbed_store,
            imports.imported_files,
            follow.followed_year,
        ],
        asset_checks=[*checks.CHECKS, waiting.nothing_holds_up_the_release, scrub.nothing_is_left_damaged],
        jobs=[
            sensors.begin_release,
            scrub.scrub_buckets_of_the_week,
            imports.take_files,
            follow.fetch_running_year,
            *operations.JOBS,
            *backfills.JOBS,
        ],
        schedules=[*sensors.SCHEDULES, scrub.weekly_scrub, follow.nightly_follow],
        sensors=sensors.SENSORS,
        resources={"toolbox": toolbox, "run_log": run_log, **(resources or {})},
        executor=dg.in_process_executor,
    )

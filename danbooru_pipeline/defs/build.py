"""Everything Dagster knows of this project, in one call that serves production and tests."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from danbooru_pipeline.defs import checks, images, metadata, release, scrub, sensors
from danbooru_pipeline.defs.resources import toolbox


def build_defs(*, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """All assets, checks, jobs and sensors, with the toolbox of the environment or another one.

    Runs execute in one process: Dagster's default, a process a step, costs 5 s a run and nothing here gains from it.
    """
    return dg.Definitions(
        assets=dg.load_assets_from_modules([metadata, images, release, scrub]),
        asset_checks=[*checks.CHECKS, *dg.load_asset_checks_from_modules([metadata, images, scrub])],
        jobs=[sensors.begin_release, scrub.scrub_store],
        schedules=[*sensors.SCHEDULES, scrub.weekly_scrub],
        sensors=sensors.SENSORS,
        resources={"toolbox": toolbox, **(resources or {})},
        executor=dg.in_process_executor,
    )

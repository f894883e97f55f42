"""Everything that Dagster knows about this project, in one call that serves production and tests."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._utils.warnings import disable_dagster_warnings

from danbooru_pipeline.defs import (
    backfills,
    checks,
    curation,
    follow,
    images,
    imports,
    metadata,
    mirrors,
    operations,
    release,
    scrub,
    sensors,
    totals,
    waiting,
)
from danbooru_pipeline.defs.resources import run_context, run_log


def _assets() -> Sequence[Any]:
    with disable_dagster_warnings():  # code references are beta in 1.13, which is pinned below 1.14
        return dg.with_source_code_references(
            [
                *dg.load_assets_from_modules([metadata, images, release, curation]),
                scrub.scrubbed_store,
                imports.imported_files,
                follow.followed_year,
                totals.release_totals,
            ]
        )


def build_defs(*, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """All assets, checks, jobs and sensors, with resources from the environment or those given.

    Runs execute in one process: Dagster's default, a process for each step, costs 5 s a run and gains nothing here.
    """
    return dg.Definitions(
        assets=_assets(),
        asset_checks=[*checks.CHECKS, waiting.nothing_holds_up_the_release, scrub.nothing_is_left_damaged],
        jobs=[
            sensors.begin_release,
            scrub.scrub_buckets_of_the_week,
            imports.take_files,
            follow.fetch_running_year,
            curation.learn_tags,
            mirrors.look_after_mirrors,
            *operations.JOBS,
            *backfills.JOBS,
        ],
        schedules=[
            *sensors.SCHEDULES,
            scrub.weekly_scrub,
            follow.nightly_follow,
            curation.relearn_tags,
            mirrors.daily_mirrors,
        ],
        sensors=sensors.SENSORS,
        resources={"run_context": run_context, "run_log": run_log, **(resources or {})},
        executor=dg.in_process_executor,
    )

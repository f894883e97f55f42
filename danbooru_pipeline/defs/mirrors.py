"""Each day: mirrors are asked what they hold, and replaced versions whose grace period is over are removed."""

import dagster as dg
from pydantic import Field

from danbooru_pipeline.defs.automation import SCHEDULE_STATUS
from danbooru_pipeline.defs.jobs import Desk, Report, operator_job
from danbooru_pipeline.operate.mirrors import Holds
from danbooru_pipeline.operate.mirrors import look_after_mirrors as do_a_round


class MirrorsConfig(dg.Config):
    """What a round does; the settings name the mirrors, and how long versions stay."""

    end_grace: bool = Field(default=True, description="remove replaced versions whose grace period is over")


@operator_job(
    "ask_mirrors",
    description="Asks the mirrors what they hold, and removes replaced versions whose grace period is over.",
    config=MirrorsConfig,
)
def look_after_mirrors(desk: Desk, config: MirrorsConfig) -> Report:
    """Ask the mirrors what they hold; remove what needs to be kept for them no longer."""
    done = do_a_round(desk.run_context, end_grace=config.end_grace)
    counts = {str(each): sum(one.holds is each for one in done.mirrors) for each in Holds}
    return Report(done.lines(), numbers=counts, failed="; ".join(done.failed))


daily_mirrors = dg.ScheduleDefinition(
    name="daily_mirrors",
    job=look_after_mirrors,
    cron_schedule="45 3 * * *",
    execution_timezone="UTC",
    default_status=SCHEDULE_STATUS,
    description="Each day: asks the mirrors what they hold, and ends grace periods.",
)

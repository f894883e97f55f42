"""What an operator does besides building, as jobs: their options are a form in the UI, their report is in the run.

Nothing here decides anything: each job calls what the command of the same name calls. One that has a `dry_run` shows
what it would do until that is switched off; the others act at once. No assets here, so *Materialize all* starts
none of this.
"""

import dagster as dg
from pydantic import Field

from danbooru_pipeline.defs.history import forget_runs, runs_to_forget
from danbooru_pipeline.defs.jobs import Desk, Report, operator_job
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.operate.doctor import Health, examine, repair_root
from danbooru_pipeline.operate.removal import carry_out, nothing_to_resume, planned_lines
from danbooru_pipeline.release import plan_takedown, verify_release

YEAR = Field(description="of the release, like 2023")
DRY_RUN = Field(default=True, description="only show what would be done; switch it off to do it")


class DoctorConfig(dg.Config):
    """The options of ``danbooru-pipeline doctor``."""

    repair: bool = Field(default=False, description="set damaged files of the root aside, and make them again")


class VerifyConfig(dg.Config):
    """The options of ``danbooru-pipeline verify``."""

    year: int = YEAR
    full: bool = Field(default=False, description="hash every image instead of comparing its size only")


class TakedownConfig(dg.Config):
    """The options of ``danbooru-pipeline takedown``."""

    ids: list[int] = Field(default=[], description="of the posts")
    resume: bool = Field(default=False, description="finish a takedown that was interrupted")
    dry_run: bool = DRY_RUN


class HistoryConfig(dg.Config):
    """Which runs are forgotten."""

    older_than_days: int = Field(default=400, ge=1, description="runs that ended before that")
    dry_run: bool = DRY_RUN


@operator_job(
    "doctor",
    description="Examines disk, clock, source, credentials, settings and files; changes nothing but with repair.",
    config=DoctorConfig,
)
def examine_installation(desk: Desk, config: DoctorConfig) -> Report:
    """Examine what a build needs. Fails if something would prevent one."""
    settings = desk.run_context.settings
    findings = list(repair_root(settings) if config.repair else examine(settings))
    return Report(
        [
            "| | what | finding |",
            "|---|---|---|",
            *(f"| {each.health} | {each.name} | {each.text} |" for each in findings),
        ],
        table=True,
        failed="; ".join(each.line() for each in findings if each.health is Health.ERROR),
    )


@operator_job(
    "verify_release",
    description="Verifies a release from its folder alone, as anyone can do it.",
    config=VerifyConfig,
)
def verify_folder(desk: Desk, config: VerifyConfig) -> Report:
    """Verify a release from its folder alone. Fails if anything in it disagrees."""
    folder = desk.run_context.layout.release(config.year)
    report = verify_release(folder, full=config.full)
    lines = report.lines()
    return Report(lines, failed="" if report.ok else f"{folder}: {lines[-1]}")


@operator_job(
    "takedown",
    description="Removes posts from every release and from the store; shows its plan first (dry_run).",
    config=TakedownConfig,
)
def take_posts_down(desk: Desk, config: TakedownConfig) -> Report:
    """Remove posts from every release, from the store, and from what is made later."""
    if bool(config.ids) == config.resume or any(id_ < 1 for id_ in config.ids):
        raise SettingsError("give the ids of posts, or resume; correct the run's config and launch it again")
    plan = plan_takedown(desk.run_context.layout, config.ids)
    idle = nothing_to_resume(desk.run_context, plan) if config.resume else None
    if config.dry_run:
        return Report(planned_lines(desk.run_context, plan, idle=idle))
    lines: list[str] = []
    failed = carry_out(desk.run_context, plan, idle=idle, say=lines.append)
    return Report(lines, failed="; ".join(failed))


@operator_job(
    "prune_history",
    description="Forgets old runs and keeps the state of every partition; shows its plan first (dry_run).",
    config=HistoryConfig,
)
def forget_old_runs(desk: Desk, config: HistoryConfig) -> Report:
    """Forget runs that no partition's state depends on, with their logs."""
    instance = desk.run.instance
    found = runs_to_forget(instance, before=desk.run_context.now(), days=config.older_than_days)
    if not config.dry_run:
        forget_runs(instance, found.forgotten)
    verb = "would forget" if config.dry_run else "forgot"
    return Report([
        f"{verb} {len(found.forgotten):,} of the {found.old:,} runs that are older than {config.older_than_days} days",
        f"{found.old - len(found.forgotten):,} are kept: the state of a partition or of a check comes from them",
    ])  # fmt: skip


JOBS = [examine_installation, verify_folder, take_posts_down, forget_old_runs]

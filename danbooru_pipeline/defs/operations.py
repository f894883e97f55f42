"""What an operator does besides building, as jobs: their options are a form in the UI, their report is in the run.

Nothing here decides anything: each job calls what the command of the same name calls. One that changes something only
shows what it would do until `dry_run` is switched off. No assets here, so *Materialize all* starts none of this.
"""

import dagster as dg
from pydantic import Field

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.history import forget_runs, runs_to_forget
from danbooru_pipeline.defs.reports import bullets, show
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.defs.runs import clear_failures
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.operate.doctor import Health, examine, repair_root
from danbooru_pipeline.operate.publication import publish_again
from danbooru_pipeline.operate.removal import take_down, takedown_lines
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


@dg.op(out=dg.Out(dg.Nothing))
def examine_installation(
    context: dg.OpExecutionContext,
    config: DoctorConfig,
    toolbox: dg.ResourceParam[RunContext],
    run_log: dg.ResourceParam[RunLog],
) -> None:
    """Examine what a build needs. Fails if something would prevent one."""
    with clear_failures(toolbox, run_log):
        settings = toolbox.settings
        findings = list(repair_root(settings) if config.repair else examine(settings))
    rows = [f"| {each.health} | {each.name} | {each.text} |" for each in findings]
    _end(
        context,
        ["| | what | finding |", "|---|---|---|", *rows],
        failed="; ".join(each.line() for each in findings if each.health is Health.ERROR),
    )


@dg.op(out=dg.Out(dg.Nothing))
def verify_folder(
    context: dg.OpExecutionContext,
    config: VerifyConfig,
    toolbox: dg.ResourceParam[RunContext],
    run_log: dg.ResourceParam[RunLog],
) -> None:
    """Verify a release from its folder alone. Fails if anything in it disagrees."""
    with clear_failures(toolbox, run_log):
        report = verify_release(toolbox.layout.release(config.year), full=config.full)
    lines = report.lines()
    _end(context, bullets(lines), failed="" if report.ok else f"{toolbox.layout.release(config.year)}: {lines[-1]}")


@dg.op(out=dg.Out(dg.Nothing))
def take_posts_down(
    context: dg.OpExecutionContext,
    config: TakedownConfig,
    toolbox: dg.ResourceParam[RunContext],
    run_log: dg.ResourceParam[RunLog],
) -> None:
    """Remove posts from every release, from the store, and from what is made later."""
    with clear_failures(toolbox, run_log):
        if bool(config.ids) == config.resume or any(id_ < 1 for id_ in config.ids):
            raise SettingsError("give the ids of posts, or resume; correct the run's config and launch it again")
        plan = plan_takedown(toolbox.layout, config.ids)
        lines = plan.lines() if config.dry_run else takedown_lines(take_down(toolbox, plan))
        failed = [] if config.dry_run else publish_again(toolbox.settings)
    if not config.dry_run:
        lines = [*lines, f"took down {len(plan.posts):,} posts; mirrors must sync again, the ids are in removals.jsonl"]
    _end(context, bullets(lines), failed="; ".join(f"a published copy still has them: {line}" for line in failed))


@dg.op(out=dg.Out(dg.Nothing))
def forget_old_runs(
    context: dg.OpExecutionContext, config: HistoryConfig, toolbox: dg.ResourceParam[RunContext]
) -> None:
    """Forget runs that no partition's state depends on, with their logs."""
    found = runs_to_forget(context.instance, before=toolbox.now(), days=config.older_than_days)
    if not config.dry_run:
        forget_runs(context.instance, found.forgotten)
    verb = "would forget" if config.dry_run else "forgot"
    _end(context, bullets([
        f"{verb} {len(found.forgotten):,} of the {found.old:,} runs that are older than {config.older_than_days} days",
        f"{found.old - len(found.forgotten):,} are kept: the state of a partition or of a check comes from them",
    ]))  # fmt: skip


def _end(context: dg.OpExecutionContext, report: list[str], *, failed: str = "") -> None:
    """Put the report into the run.

    Raises:
        Failure: with what is wrong, if anything is.
    """
    metadata = {"report": show(report)}
    if failed:
        raise dg.Failure(description=failed, metadata=metadata, allow_retries=False)
    context.add_output_metadata(metadata)


@dg.job(description="Examines disk, clock, source, credentials, settings and files; changes nothing but with repair.")
def doctor() -> None:
    """One op."""
    examine_installation()


@dg.job(name="verify_release", description="Verifies a release from its folder alone, as anyone can do it.")
def verify_release_job() -> None:
    """One op."""
    verify_folder()


@dg.job(description="Removes posts from every release and from the store; shows its plan first (dry_run).")
def takedown() -> None:
    """One op."""
    take_posts_down()


@dg.job(description="Forgets old runs and keeps the state of every partition; shows its plan first (dry_run).")
def prune_history() -> None:
    """One op."""
    forget_old_runs()


JOBS = [doctor, verify_release_job, takedown, prune_history]

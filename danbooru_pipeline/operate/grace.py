"""Replaced versions of releases as the operator keeps them: how long is a setting, and each day ends what is over."""

from datetime import timedelta

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.release import Release, SnapshotPlan, apply_snapshot
from danbooru_pipeline.release.tree.grace import end_grace


def make_release(context: RunContext, plan: SnapshotPlan) -> Release:
    """Carry out a plan; the version that it replaces stays for the grace period, and others end theirs."""
    settings = context.settings
    release = apply_snapshot(
        plan, created_at=context.now(), signing_key=settings.signing_key, keep_replaced=settings.grace_days > 0
    )
    end_grace_periods(context)
    return release


def end_grace_periods(context: RunContext) -> list[str]:
    """Remove the replaced versions whose time is over. Returns their names."""
    return end_grace(context.layout, now=context.now(), grace=timedelta(days=context.settings.grace_days))

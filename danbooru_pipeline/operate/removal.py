"""Takedowns as the operator runs them: with the clock and key of a run, and with the private list of blocked files."""

from collections.abc import Iterable

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import DanbooruPipelineError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.takedowns import removed_posts
from danbooru_pipeline.progress import counted
from danbooru_pipeline.release import (
    ManifestSummary,
    Release,
    TakedownPlan,
    apply_takedown,
    plan_takedown,
    write_manifest,
)
from danbooru_pipeline.release.manifest.blocklist import blocked_ids, read_blocklist
from danbooru_pipeline.release.takedown.clear import clear_metadata, clear_store
from danbooru_pipeline.release.takedown.curation import clear_curation
from danbooru_pipeline.release.takedown.run import require_key


def clear_what_came_back(layout: Layout, year: int) -> None:
    """Remove posts that were taken down from what a release of a year is made from.

    A sweep, an export or an import that began before the takedown, or a backup that was restored, may have them.
    """
    gone = removed_posts(layout)
    if gone:
        clear_metadata(layout, year, gone, keep_sweeps=True)
        clear_store(layout, gone)
        clear_curation(layout, gone)


def manifest_without_blocked(context: RunContext, year: int) -> ManifestSummary:
    """Write the manifest of a year; posts with a file on the blocklist are taken down first, in every release.

    What was taken down earlier and came back goes first of all.

    Raises:
        ReleaseRefused: it does not reconcile.
        SettingsError: the blocklist cannot be read.
    """
    clear_what_came_back(context.layout, year)
    settings = context.image_settings.fingerprint()
    blocklist = context.settings.hash_blocklist
    hashes = read_blocklist(blocklist) if blocklist else frozenset()
    summary = write_manifest(context.layout, year, px512_settings=settings)
    ids = blocked_ids(context.layout, year, hashes)
    if not ids:
        return summary
    take_down(context, plan_takedown(context.layout, ids))
    return write_manifest(context.layout, year, px512_settings=settings)


def take_down(context: RunContext, plan: TakedownPlan) -> list[Release]:
    """Carry out a plan. Returns the releases that were made again."""
    return apply_takedown(plan, created_at=context.now(), signing_key=context.settings.signing_key)


def nothing_to_resume(context: RunContext, plan: TakedownPlan) -> str | None:
    """What to say where a takedown is to be resumed and none was interrupted; None where something is left to do."""
    if not plan.is_idle(signs=context.settings.signing_key is not None):
        return None
    return "no takedown is unfinished, and nothing has a post that was taken down; nothing was changed"


def planned_lines(context: RunContext, plan: TakedownPlan) -> list[str]:
    """What a takedown would do, and whether the key of this run can make the releases again, for people."""
    try:
        require_key(plan.layout, plan.years, context.settings.signing_key)
    except DanbooruPipelineError as error:
        return [*plan.lines(), f"would stop: {error}"]
    return plan.lines()


def takedown_lines(plan: TakedownPlan, releases: Iterable[Release]) -> list[str]:
    """What was done, for people."""
    done = f"Took down {counted(len(plan.posts), 'post')}." if plan.posts else "Releases were signed again."
    return [
        *(
            f"{release.name} {release.version} replaced {release.replaces and release.replaces.version}: "
            f"{counted(release.counts.posts, 'post')}"
            for release in releases
        ),
        f"{done} Mirrors must sync again; the ids are in removals.jsonl.",
    ]

"""Takedowns as the operator runs them: with the clock and key of a run, and with the private list of blocked files."""

from collections.abc import Iterable

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import DanbooruPipelineError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.publication import publish_again
from danbooru_pipeline.posts.takedowns import PublishedCopy, by_place, read_takedowns, removed_posts, with_published
from danbooru_pipeline.progress import Say, counted
from danbooru_pipeline.publish import named_places
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


def manifest_without_blocked(context: RunContext, year: int, *, say: Say) -> ManifestSummary:
    """Write the manifest of a year; posts with a file on the blocklist are taken down first, in every release.

    What was taken down earlier and came back goes first of all. Published copies are cleared, too; one that cannot be
    is told, stays noted, and holds up no build.

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
    for line in carry_out(context, plan_takedown(context.layout, ids), idle=None, say=say):
        say(line)
    return write_manifest(context.layout, year, px512_settings=settings)


def take_down(context: RunContext, plan: TakedownPlan) -> list[Release]:
    """Carry out a plan. Returns the releases that were made again."""
    return apply_takedown(
        plan,
        created_at=context.now(),
        signing_key=context.settings.signing_key,
        places=named_places(context.settings),
    )


def nothing_to_resume(context: RunContext, plan: TakedownPlan) -> str | None:
    """What to say where a takedown is to be resumed and the root has nothing left to do; None where it has.

    Copies that are still to be cleared are another matter: `publish_again` comes after that.
    """
    if not plan.is_idle(signs=context.settings.signing_key is not None):
        return None
    return "no takedown is unfinished, and nothing has a post that was taken down; nothing was changed"


def planned_lines(context: RunContext, plan: TakedownPlan, *, idle: str | None) -> list[str]:
    """What a takedown would do, and whether the key of this run can make the releases again, for people."""
    copies, words = read_takedowns(plan.layout).copies, "would clear the published copies at"
    if idle:
        return _copy_lines(words, copies) or [idle]
    all_copies = with_published(plan.layout, copies, named_places(context.settings))
    lines = [*plan.lines(), *_copy_lines(words, all_copies)]
    try:
        require_key(plan.layout, plan.years, context.settings.signing_key)
    except DanbooruPipelineError as error:
        lines.append(f"would stop: {error}")
    return lines


def carry_out(context: RunContext, plan: TakedownPlan, *, idle: str | None, say: Say) -> list[str]:
    """Carry out a plan, in the releases and then at the places that they were published to.

    Args:
        context: with settings, clock and key.
        plan: what is done.
        idle: what to say if nothing was to be done anywhere; None where the releases need it.
        say: called with what was done, as soon as it is.

    Returns a line for each published copy that still has the posts, which stays noted as that.
    """
    if not idle:
        for line in takedown_lines(plan, take_down(context, plan)):
            say(line)
    for line in _copy_lines("next come the published copies at", read_takedowns(context.layout).copies):
        say(line)
    again = publish_again(context.settings)
    for line in again.done or ([idle] if idle and not again.failed else []):
        say(line)
    return again.failed


def _copy_lines(words: str, copies: Iterable[PublishedCopy]) -> list[str]:
    return [f"{words} {name} ({', '.join(releases)})" for name, releases in by_place(copies).items()]


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

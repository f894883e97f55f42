"""Removal as the operator runs it: what a takedown needs from the settings, and the private list of blocked files."""

from collections.abc import Iterable

from danbooru_pipeline.release import (
    ManifestSummary,
    Release,
    TakedownPlan,
    apply_takedown,
    plan_takedown,
    write_manifest,
)
from danbooru_pipeline.release.blocklist import blocked_ids, read_blocklist
from danbooru_pipeline.toolbox import Toolbox


def manifest_without_blocked(tools: Toolbox, year: int) -> ManifestSummary:
    """Write the manifest of a year; posts with a file on the blocklist are taken down first, everywhere.

    Raises:
        ReleaseRefused: it does not reconcile.
        SettingsError: the blocklist cannot be read.
    """
    settings = tools.image_settings.fingerprint()
    blocklist = tools.settings.hash_blocklist
    hashes = read_blocklist(blocklist) if blocklist else frozenset()
    summary = write_manifest(tools.layout, year, px512_settings=settings)
    ids = blocked_ids(tools.layout, year, hashes)
    if not ids:
        return summary
    take_down(tools, plan_takedown(tools.layout, ids))
    return write_manifest(tools.layout, year, px512_settings=settings)


def take_down(tools: Toolbox, plan: TakedownPlan) -> list[Release]:
    """Do what a plan says. Returns the releases that were made again."""
    return apply_takedown(plan, created_at=tools.now(), signing_key=tools.settings.signing_key)


def takedown_lines(releases: Iterable[Release]) -> list[str]:
    """What was done, for people."""
    return [
        f"{release.name} {release.version} took the place of {release.replaces and release.replaces.version}: "
        f"{release.counts.posts:,} posts"
        for release in releases
    ]

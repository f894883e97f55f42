"""Assets of the release: the manifest, the snapshot and its publication."""

from pathlib import Path
from typing import Any

import dagster as dg

from danbooru_pipeline import stop
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.automation import (
    FOLLOW_CHECKED_RELEASE,
    FOLLOW_NEWEST_RELEASE,
    OWNERS,
    RELEASE_DEADLINE,
)
from danbooru_pipeline.defs.described import described, settings_metadata, where
from danbooru_pipeline.defs.images import images_512px, original_images
from danbooru_pipeline.defs.metadata import BUSY, posts, side_tables
from danbooru_pipeline.defs.partitions import releases
from danbooru_pipeline.defs.plots import plot
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.defs.runs import clear_failures
from danbooru_pipeline.defs.totals import totals_of
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.operate.grace import make_release
from danbooru_pipeline.operate.mirrors import make_page
from danbooru_pipeline.operate.publication import plan_places
from danbooru_pipeline.operate.removal import clear_what_came_back, manifest_without_blocked
from danbooru_pipeline.publish import apply_publication
from danbooru_pipeline.release import (
    flip_current,
    plan_snapshot,
    published,
    read_release,
    require_decision,
)
from danbooru_pipeline.release.documents.options import options_of
from danbooru_pipeline.release.manifest.row import MANIFEST_COLUMNS, MANIFEST_SCHEMA
from danbooru_pipeline.release.release_json import Release
from danbooru_pipeline.release_paths import PAGE
from danbooru_pipeline.sources import apply_updates
from danbooru_pipeline.sources.completeness import accepted_gaps

GROUP = "release"

_EVERY_BUCKET = dg.MultiToSingleDimensionPartitionMapping("release")


def _counts(title: str, counts: dict[str, int]) -> dg.MarkdownMetadataValue:
    rows = "\n".join(f"| {name} | {count:,} |" for name, count in counts.items())
    return dg.MetadataValue.md(f"| {title} | posts |\n|---|---:|\n{rows}")


@dg.asset(
    partitions_def=releases,
    group_name=GROUP,
    kinds={"parquet"},
    owners=OWNERS,
    metadata=described(
        runbook="a-run-died",
        schema=MANIFEST_SCHEMA,
        meanings={column.name: column.fact.meaning for column in MANIFEST_COLUMNS},
    ),
    automation_condition=FOLLOW_NEWEST_RELEASE,
    deps=[
        posts,
        dg.AssetDep(original_images, partition_mapping=_EVERY_BUCKET),
        dg.AssetDep(images_512px, partition_mapping=_EVERY_BUCKET),
    ],
)
def release_manifest(
    context: dg.AssetExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.MaterializeResult:
    """One row per post that says what became of its file. Refused, with the rows named, when anything disagrees."""
    year = int(context.partition_key)
    with clear_failures(run_context, run_log):
        with exclusive(run_context.layout.year_lock(year), busy=BUSY.format(year=year)):
            changed = apply_updates(run_context.layout, year)
        summary = manifest_without_blocked(run_context, year, say=context.log.warning)
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": summary.posts,
            "originals": summary.originals,
            "images_512px": summary.px512,
            "pending": summary.pending,
            "rows_changed_since_the_sweep": changed,
            "bytes_originals": summary.originals_bytes,
            "bytes_512px": summary.px512_bytes,
            "bytes_saved": summary.saved_bytes,
            "pixel_hashes": summary.pixel_hashes,
            "pixel_hash_mismatches": summary.pixel_hash_mismatches,
            "statuses": _counts("status", summary.statuses),
            "reasons_originals": _counts("reason", summary.reasons["original"]),
            "reasons_512px": _counts("reason", summary.reasons["px512"]),
            "plot": plot("What became of the posts", summary.statuses),
            **where(run_context.layout.manifest(year)),
        },
        data_version=dg.DataVersion(summary.digest),
    )


@dg.asset(
    partitions_def=releases,
    group_name=GROUP,
    kinds={"file"},
    owners=OWNERS,
    deps=[release_manifest, side_tables],
    metadata=described(runbook="a-run-died"),
    automation_condition=FOLLOW_CHECKED_RELEASE,
)
def release_snapshot(
    context: dg.AssetExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.MaterializeResult:
    """The tree of a release: hard links, metadata, checksums; fully verified before it gets its name."""
    year = int(context.partition_key)
    with clear_failures(run_context, run_log):
        clear_what_came_back(run_context.layout, year)  # it takes the lock itself
        with exclusive(run_context.layout.year_lock(year), busy=BUSY.format(year=year)):
            accepted = accepted_gaps(
                run_context.layout, year, run_context.settings.accept_incomplete, exclude_tags=run_context.exclude_tags
            )
            options = options_of(run_context.settings, accepted_incomplete=accepted)
            plan = plan_snapshot(
                run_context.layout, year, image_settings=run_context.image_settings.as_dict(), options=options
            )
            for line in plan.lines():
                context.log.info(line)
            release = make_release(run_context, plan)
            make_page(run_context)
    return dg.MaterializeResult(
        metadata=_numbers(release, action=str(plan.action), folder=run_context.layout.release(year)),
        data_version=dg.DataVersion(release.sha256sums_sha256),
    )


def _numbers(release: Release, *, action: str, folder: Path) -> dict[str, Any]:
    return {
        "version": release.version,
        "action": action,
        "posts": release.counts.posts,
        "originals": release.counts.originals,
        "images_512px": release.counts.px512,
        "tags": release.counts.tags,
        "tag_instances": release.counts.tag_instances,
        "duplicate_pairs": release.duplicates.pairs,
        "page": dg.MetadataValue.path(folder / PAGE),
        **where(folder),
    }


@dg.asset(
    partitions_def=releases,
    group_name=GROUP,
    kinds={"rsync"},
    owners=OWNERS,
    deps=[release_snapshot],
    metadata=described(runbook="a-takedown-request"),
    automation_condition=FOLLOW_CHECKED_RELEASE,
    freshness_policy=RELEASE_DEADLINE,
)
def publication(
    context: dg.AssetExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.MaterializeResult:
    """`releases/current` points to the newest release; the totals of the year are recorded in `release_totals`."""
    with clear_failures(run_context, run_log):
        require_decision(run_context.layout, run_context.settings)
        stop.check()
        current = flip_current(run_context.layout)
    context.log.info("releases/current is %s", current.name)
    year = int(context.partition_key)
    if year in published(run_context.layout):
        context.log_event(totals_of(read_release(run_context.layout.release(year))))
    return dg.MaterializeResult(
        metadata={"current": current.name, "settings": settings_metadata(), **where(current)},
        data_version=dg.DataVersion(read_release(current).sha256sums_sha256),
    )


def _publication_at(kind: str, tool: str, description: str) -> dg.AssetsDefinition:
    """The asset of the copies of releases at the place of a kind."""

    @dg.asset(
        name=f"{kind}_publication",
        description=description,
        partitions_def=releases,
        group_name="copies",  # not `release`: who has no such place materialises that group as a whole
        kinds={tool},
        owners=OWNERS,
        deps=[publication],
        metadata=described(runbook="a-published-copy-is-out-of-date"),
    )
    def publish(
        context: dg.AssetExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
    ) -> dg.MaterializeResult:
        with clear_failures(run_context, run_log):
            (plan,) = plan_places(run_context.settings, int(context.partition_key), kind=kind)
            for line in plan.lines():
                context.log.info(line)
            apply_publication(plan)
        return dg.MaterializeResult(
            metadata={
                "place": plan.place.address,
                "version": plan.version,
                "sent": plan.pieces,
                "sent_bytes": plan.bytes,
                "removed": plan.dropped,
            }
        )

    return publish


static_publication = _publication_at(
    "static", "s3", "The release at `DANBOORU_STATIC_ADDRESS`: changed files only, indexes last."
)
hub_publication = _publication_at(
    "hub",
    "huggingface",
    "The release on the Hugging Face Hub for `DANBOORU_HUB_OWNER`: a tar a bucket, with its index.",
)

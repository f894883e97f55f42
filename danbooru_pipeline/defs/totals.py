"""The totals of each release as an asset of their own: numbers by year, which Dagster plots year on year.

The image assets have a thousand buckets a year, whose plots mix buckets and years. The asset is external: `publication`
records it, and *Materialize all* starts nothing.
"""

from typing import Any

import dagster as dg

from danbooru_pipeline.defs.automation import OWNERS
from danbooru_pipeline.defs.described import described
from danbooru_pipeline.defs.partitions import releases
from danbooru_pipeline.defs.plots import plot
from danbooru_pipeline.release.release_json import Release

release_totals = dg.AssetSpec(
    "release_totals",
    group_name="release",
    kinds={"json"},
    owners=OWNERS,
    partitions_def=releases,
    metadata=described(runbook="a-run-died"),
    description=(
        "The numbers of each published release, one partition a year, to be plotted year on year: posts, files, tags, "
        "bytes, what is pending. The asset publication records them."
    ),
)


def totals_of(release: Release) -> dg.AssetMaterialization:
    """The numbers of a release, beside those of the years before as one plot."""
    counts, size = release.counts, release.bytes
    by_year = {**{event.name: event.posts for event in release.history}, release.name: counts.posts}
    numbers: dict[str, Any] = {
        "posts": counts.posts,
        "originals": counts.originals,
        "images_512px": counts.px512,
        "tags": counts.tags,
        "tag_instances": counts.tag_instances,
        "pending": counts.pending,
        "rejected": counts.rejected,
        "taken_down": release.taken_down,
        "duplicate_pairs": release.duplicates.pairs,
        "bytes_originals": size.originals,
        "bytes_512px": size.px512,
        "bytes_saved": size.saved,
        "last_id": release.last_id,
        "version": release.version,
        "posts_by_release": plot("Posts by release", by_year),
    }
    return dg.AssetMaterialization(
        release_totals.key,
        partition=str(release.year),
        metadata=numbers,
        tags={"dagster/data_version": release.sha256sums_sha256},
    )

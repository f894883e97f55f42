"""What a release still needs, by store and by Dagster, and the backfill that brings it. Decides nothing.

A bucket with its neighbours is one run: Dagster gives each stretch of partitions a run of its own, so scattered buckets
would take as many runs as there are, and a neighbour with nothing left costs milliseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.utils import make_new_backfill_id
from dagster._utils.warnings import disable_dagster_warnings

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.images import images_512px, original_images
from danbooru_pipeline.defs.release import publication, release_manifest, release_snapshot
from danbooru_pipeline.defs.waiting import outdated_buckets, unfinished_buckets
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.operate.waiting import Left, what_is_left
from danbooru_pipeline.progress import counted
from danbooru_pipeline.store.planning import require_posts, with_neighbours

IMAGES: Final = (original_images, images_512px)
RELEASE: Final = (release_manifest, release_snapshot, publication)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """The buckets of a release that are not as they should be.

    Attributes:
        left: what the store still has to do.
        unmade: missing or failed in Dagster.
        failed: those of them whose last run failed.
        outdated: made of older posts.
    """

    left: Left
    unmade: frozenset[str]
    failed: frozenset[str]
    outdated: frozenset[str]

    @property
    def buckets(self) -> frozenset[str]:
        """All of them."""
        return self.unmade | self.outdated | set(self.left.with_work)

    def partitions(self) -> list[str]:
        """Keys of those and of their neighbours."""
        return [f"{bucket}|{self.left.year}" for bucket in with_neighbours(BUCKETS, self.buckets)]

    def lines(self) -> list[str]:
        """For people."""
        how = (
            f"{len(self.unmade):,} missing or failed, {len(self.outdated):,} made of older posts, "
            f"{len(self.left.with_work):,} with work left"
        )
        return [f"{counted(len(self.buckets), 'bucket')} of {self.left.year}: {how}", *self.left.lines()]


def find_unfinished(instance: dg.DagsterInstance, context: RunContext, year: int) -> Unfinished:
    """Look at the store (the plan of a build) and at Dagster.

    Raises:
        StoreError: the posts of the year are not there.
    """
    require_posts(context.layout, year)
    unmade = unfinished_buckets(instance, year)
    return Unfinished(
        left=what_is_left(context.layout, year, exclude_tags=context.exclude_tags),
        unmade=frozenset(unmade),
        failed=frozenset(bucket for bucket, failed in unmade.items() if failed),
        outdated=frozenset(outdated_buckets(instance, year)),
    )


def request_backfill(
    instance: dg.DagsterInstance,
    assets: Sequence[dg.AssetsDefinition],
    partitions: Sequence[str],
    *,
    title: str,
    why: str,
    tags: Mapping[str, str] | None = None,
) -> str:
    """Hand a backfill to the daemon. Returns its id."""
    with disable_dagster_warnings():  # of its own use of what it deprecates
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id=make_new_backfill_id(),
            asset_graph=AssetGraph.from_assets(assets),
            partition_names=list(partitions),
            asset_selection=[asset.key for asset in assets],
            backfill_timestamp=datetime.now(UTC).timestamp(),
            tags=dict(tags or {}),
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=title,
            description=why,
            run_config=None,
        )
    instance.add_backfill(backfill)
    return backfill.backfill_id

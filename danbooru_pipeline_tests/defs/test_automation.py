"""What the daemon requests by itself, on an ephemeral Dagster instance."""

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from danbooru_pipeline.defs.build import build_defs
from danbooru_pipeline.defs.partitions import releases
from danbooru_pipeline.layout import BUCKETS

FEW = BUCKETS[:3]
IMAGES = ("original_images", "images_512px")


class Daemon:
    """Looks of the sensor, one after the other."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance, self.defs = instance, build_defs()
        self.year = str(releases.get_last_partition_key())
        self.cursor: dg.AssetDaemonCursor | None = None

    def look(self) -> dict[str, set[str]]:
        """What one look requests: partitions by asset."""
        result = dg.evaluate_automation_conditions(
            self.defs, self.instance, asset_selection=dg.AssetSelection.assets(*IMAGES), cursor=self.cursor
        )
        self.cursor = result.cursor
        return {
            asset: found
            for asset in IMAGES
            if (found := {str(key) for key in result.get_requested_partitions(dg.AssetKey(asset)) if key})
        }

    def materialize(self, asset: str, partition: str) -> None:
        """Record a materialisation that no run made."""
        made = dg.AssetMaterialization(asset, partition=partition, tags={DATA_VERSION_TAG: partition})
        self.instance.report_runless_asset_event(made)

    def begin(self, asset: str, bucket: str) -> dg.DagsterRun:
        """A run that waits to be started."""
        return self.instance.create_run_for_job(
            self.defs.resolve_implicit_global_asset_job_def(),
            asset_selection=frozenset({dg.AssetKey(asset)}),
            tags={"dagster/partition": f"{bucket}|{self.year}"},
        )


def test_small_images_wait_for_all_runs_on_originals(instance: dg.DagsterInstance) -> None:
    """Buckets that are through are not followed one look at a time: all are, once no run works on their release."""
    daemon = Daemon(instance)
    assert daemon.look() == {}
    daemon.materialize("posts_by_bucket", daemon.year)
    assert daemon.look() == {"original_images": {f"{bucket}|{daemon.year}" for bucket in BUCKETS}}
    runs = [daemon.begin("original_images", bucket) for bucket in FEW]
    for bucket, run in zip(FEW, runs, strict=True):
        assert daemon.look() == {}
        daemon.materialize("original_images", f"{bucket}|{daemon.year}")
        instance.report_run_canceled(run)
    assert daemon.look() == {"images_512px": {f"{bucket}|{daemon.year}" for bucket in FEW}}
    assert daemon.look() == {}

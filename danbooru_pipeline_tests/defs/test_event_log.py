"""The event log of one machine: whoever looks while a run is recorded sees none of its buckets, or all."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from danbooru_pipeline.defs.event_log import BatchingSqliteEventLogStorage, log_materializations
from danbooru_pipeline.defs.instance import open_instance

BUCKETS = [f"{number:04}" for number in range(60)]
_PARTITIONS = dg.StaticPartitionsDefinition(BUCKETS)


@dg.asset(partitions_def=_PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
def finished(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Succeeds for every bucket, with a number for each."""
    for key in context.partition_keys:
        context.add_asset_metadata({"number": int(key)}, partition_key=key)
    return dg.MaterializeResult()


@dg.asset(partitions_def=_PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
def failing(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Fails because of the last bucket, with the others done."""
    keys = list(context.partition_keys)
    done = [dg.AssetMaterialization(context.asset_key, partition=key, metadata={"number": int(key)}) for key in keys]
    log_materializations(context, done[:-1])
    raise dg.Failure("the last bucket has posts left", allow_retries=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance in a new home, as `build` and `ui` make it."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE", raising=False)
    with open_instance(tmp_path / "home") as instance:
        yield instance


class Onlooker(threading.Thread):
    """Counts the materialisations in the index again and again, through a connection of its own."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        super().__init__()
        storage = instance.event_log_storage
        assert isinstance(storage, BatchingSqliteEventLogStorage)
        self.index, self.seen, self.over = storage.path_for_shard("index"), set[int](), threading.Event()

    def run(self) -> None:
        """Look until told that it is over, and once more."""
        query = "SELECT count(*) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
        with closing(sqlite3.connect(f"file:{self.index}?mode=ro", uri=True)) as connection:
            last = False
            while not last:
                last = self.over.is_set()
                self.seen.add(connection.execute(query).fetchone()[0])


@pytest.mark.parametrize(("asset", "count"), [(finished, 60), (failing, 59)])
def test_buckets_of_a_run_appear_at_once(asset: dg.AssetsDefinition, count: int, home: dg.DagsterInstance) -> None:
    """A daemon that looks at any moment sees no bucket of a run or all of them, also when the run fails."""
    onlooker = Onlooker(home)
    onlooker.start()
    tags = {"dagster/asset_partition_range_start": BUCKETS[0], "dagster/asset_partition_range_end": BUCKETS[-1]}
    dg.materialize([asset], instance=home, tags=tags, raise_on_error=False)
    onlooker.over.set()
    onlooker.join()
    assert onlooker.seen == {0, count}
    assert home.get_materialized_partitions(asset.key) == set(BUCKETS[:count])
    for bucket in (BUCKETS[0], BUCKETS[count - 1]):
        (record,) = home.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=asset.key, asset_partitions=[bucket]), limit=5
        ).records
        assert record.asset_materialization is not None
        assert record.asset_materialization.metadata["number"].value == int(bucket)
    assert home.get_latest_materialization_event(asset.key) is not None


def test_storage_keeps_the_files_of_dagsters_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of before keeps its history: the databases are where Dagster's default storage has them."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as before:
        assert not isinstance(before.event_log_storage, BatchingSqliteEventLogStorage)
        dg.materialize([dg.asset(name="one")(lambda: None)], instance=before)
    with open_instance(tmp_path) as now:
        assert isinstance(now.event_log_storage, BatchingSqliteEventLogStorage)
        assert now.get_latest_materialization_event(dg.AssetKey("one")) is not None


@pytest.mark.parametrize("asset", [finished, failing])
def test_row_of_an_asset_is_what_dagsters_own_storage_writes(
    asset: dg.AssetsDefinition, home: dg.DagsterInstance, tmp_path: Path
) -> None:
    """A batch is written as its last events say, and they say all that the events one by one say."""
    tags = {"dagster/asset_partition_range_start": BUCKETS[0], "dagster/asset_partition_range_end": BUCKETS[-1]}
    rows = []
    (tmp_path / "own").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "own")) as own:
        for instance in (own, home):
            dg.materialize([asset], instance=instance, tags=tags, raise_on_error=False)
            (record,) = instance.get_asset_records([asset.key])
            entry = record.asset_entry
            assert entry.last_materialization_record is not None
            rows.append((entry.last_materialization_record.partition_key, entry.last_run_id is not None))
    assert rows[0] == rows[1]

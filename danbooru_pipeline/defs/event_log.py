"""Dagster's event log on SQLite, with the materialisations of a run written at once, as its Postgres twin does.

Dagster's own SQLite storage writes a batch event by event. A daemon that looks in between sees half of a run's buckets,
and requests what follows in shards: 71 runs for one release instead of some ten. It also makes a new SQLAlchemy engine
for every event, a third of the CPU time of 600 partitions; here each database has one. And for every event it looks up
the columns of the table of assets and writes that table; here a batch does both once for each asset.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self

import dagster as dg
from dagster._config import Field, StringSource
from dagster._core.events import ASSET_EVENTS, DagsterEvent, DagsterEventBatchMetadata
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, CursorResult, Engine
from sqlalchemy.pool import NullPool

#: More than any run has, so that those of a run come in one batch. Dagster reads it from the environment alone.
BATCH_SIZE_VARIABLE: Final = "DAGSTER_EVENT_BATCH_SIZE"
BATCH_SIZE: Final = "1000"
#: Engines kept at once; there is a database for each run.
_ENGINES: Final = 32


class BatchingSqliteEventLogStorage(SqliteEventLogStorage):
    """The event log in DAGSTER_HOME, in the files where Dagster keeps it by default."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        self._columns_of_assets: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> Any:
        """One optional value: the folder, by default that of Dagster's own storage."""
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """The storage of the home that is in force."""
        base_dir = config_value.get("base_dir") or os.path.join(os.environ["DAGSTER_HOME"], "history", "runs")  # noqa: PTH118 - Dagster's own paths are text
        return cls(base_dir, inst_data)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Write a run's events in one transaction of each of the two databases: the run's own, and the index."""
        if len({event.run_id for event in events}) != 1 or any(
            event.get_dagster_event().event_type not in ASSET_EVENTS for event in events
        ):
            for event in events:
                self.store_event(event)
            return
        statements = [self.prepare_insert_event(event) for event in events]
        with self.run_connection(events[0].run_id) as connection:
            for statement in statements:
                connection.execute(statement)
        with self.index_transaction() as connection:
            ids = [_key(connection.execute(statement)) for statement in statements]
            self._store_asset_event_tags(connection, events, ids)
            for event, id_ in _last_of_each_kind(events, ids):
                self._store_asset_event(connection, event, id_)

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        """Whether the table of assets has a column, which Dagster looks up for every event; none is ever removed."""
        if column_name not in self._columns_of_assets and super()._has_asset_key_col_on_connection(conn, column_name):
            self._columns_of_assets.add(column_name)
        return column_name in self._columns_of_assets

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> Engine:
        """The engine of a database; it holds no connection between uses."""
        if shard not in self._engines:
            if len(self._engines) >= _ENGINES:
                self._engines.clear()
            self._engines[shard] = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=NullPool,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
            )
        return self._engines[shard]


def _last_of_each_kind(events: Sequence[EventLogEntry], ids: Sequence[int]) -> Iterable[tuple[EventLogEntry, int]]:
    """The last event of each type and asset: the row of an asset holds what these say."""
    last: dict[tuple[str, str], tuple[EventLogEntry, int]] = {}
    for event, id_ in zip(events, ids, strict=True):
        said = event.get_dagster_event()
        kind = (said.event_type_value, said.asset_key.to_string() if said.asset_key else "")
        last.pop(kind, None)
        last[kind] = (event, id_)
    return last.values()


def _key(result: CursorResult[Any]) -> int:
    """The primary key of the row that was inserted."""
    key = result.inserted_primary_key
    assert key is not None, "the database gave a row no key"
    return int(key[0])


def log_materializations(
    context: dg.AssetExecutionContext, materializations: Sequence[dg.AssetMaterialization]
) -> None:
    """Log materialisations of a step that is going to fail, which drops its own; all of them in one batch."""
    step = context.get_step_execution_context()
    for number, materialization in enumerate(materializations, start=1):
        batch = DagsterEventBatchMetadata(f"{step.step.key}-finished", is_end=number == len(materializations))
        DagsterEvent.asset_materialization(step, materialization, batch)

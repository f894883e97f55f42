"""The public mirror in BigQuery: table facts over REST, rows over the Storage Read API. No query is ever run.

All tables are read as of one instant. The client library resumes an interrupted stream at the right row. Without
BIGQUERY_EMULATOR_HOST it uses default credentials; with it, nothing is authenticated, and rows come from
DANBOORU_BIGQUERY_GRPC (host:port).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import grpc
import pyarrow as pa
from google.api_core.exceptions import GatewayTimeout, NotFound
from google.api_core.retry import Retry, if_exception_type
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import types
from google.cloud.bigquery_storage_v1.services.big_query_read import BigQueryReadClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.fetch import RetryPolicy
from danbooru_pipeline.fetch.waits import Waits
from danbooru_pipeline.posts import LineTyper, Typed, as_json, require_columns, require_values, type_batch
from danbooru_pipeline.progress import human_seconds, tell_of_wait
from danbooru_pipeline.sources.bigquery_errors import (
    FAILURES,
    MISUNDERSTOOD,
    MISUNDERSTOOD_BODY,
    Trouble,
    misunderstood,
    trouble_of,
)
from danbooru_pipeline.sources.bulk import BulkTable

#: Tables are read as of a minute ago, so a table that is being written right now is not read half-written.
SETTLING = timedelta(seconds=60)
#: How far back a table can be read: seven days, less one for the reading.
TIME_TRAVEL = timedelta(days=6)
#: One attempt at a question, and one call that sends rows, which goes on with another at the next row.
ANSWER_SECONDS: Final = 30.0
ROWS_SECONDS: Final = 120.0
#: The client for tables asks once, since what is asked again, and for how long, is decided here.
_ONCE: Final = Retry(predicate=if_exception_type())
#: Messages of any size; a server that was away is found again within seconds, not minutes.
CHANNEL: Final = (("grpc.max_receive_message_length", -1), ("grpc.max_reconnect_backoff_ms", 5_000))
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ArrowRows:
    """Rows as the Storage Read API sends them."""

    batch: pa.RecordBatch

    def posts(self, typer: LineTyper) -> Typed:  # noqa: ARG002 - Arrow rows are typed already
        """The rows as posts."""
        return type_batch(self.batch)

    def records(self) -> Iterator[Mapping[str, Any]]:
        """The rows as the JSON API would give them: instants as text."""
        return map(as_json, self.batch.to_pylist())


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the service says of a table as of now; None where it does not say."""

    rows: int | None
    modified: datetime | None


class BigQuerySource:
    """Tables of one dataset, as of one instant.

    Args:
        dataset: ``project.dataset``.
        emulator: REST address of an emulator; empty for the real service.
        grpc_endpoint: ``host:port`` of the emulator's Storage Read API.
        now: tables are read as of a minute before.
        retry_seconds: longest time between the first attempt at something and the last, or between two rows.
        read_before: year -> the instant as of which its posts were read, if they were; its tables are read as of the
            same instant.
    """

    name = "bigquery"

    def __init__(
        self,
        dataset: str,
        *,
        emulator: str = "",
        grpc_endpoint: str = "",
        now: datetime,
        retry_seconds: float = 120.0,
        read_before: Callable[[int], datetime | None] = lambda _year: None,
    ) -> None:
        self._project, _, self._dataset = dataset.partition(".")
        self._emulator, self._grpc = emulator, grpc_endpoint
        self._now = now.astimezone(UTC) - (timedelta(0) if emulator else SETTLING)
        self._read_before = read_before
        self._policy = RetryPolicy(max_seconds=retry_seconds)

    def probe(self) -> None:
        """Ask for the list of tables.

        Raises:
            SourceError: the dataset cannot be read.
        """
        dataset = f"{self._project}.{self._dataset}"
        self._ask(dataset, lambda client: _has_tables(client, dataset))

    def open_table(self, table: str, year: int) -> BulkTable | None:
        """A table as of the same instant as the year's posts. Its rows are fetched when they are iterated."""
        name = f"{self._project}.{self._dataset}.{table}"
        facts = self._ask(name, lambda client: _found(client, name))
        if facts is None:
            return None
        as_of = self._instant(table, year)
        # The service reports facts as of now only; they hold for `as_of` if the table was not written since.
        known = facts.modified is not None and facts.modified <= as_of
        return BulkTable(
            blocks=self._blocks(table, as_of),
            rows=facts.rows if known else None,
            modified=facts.modified if known else None,
            as_of=as_of,
            uncounted="" if known and facts.rows is not None else _why_uncounted(facts, as_of),
        )

    def _instant(self, table: str, year: int) -> datetime:
        before = self._read_before(year) if table != "posts" else None
        return before if before is not None and self._now - before < TIME_TRAVEL else self._now

    def earlier_files(self, year: int) -> Iterator[tuple[str, Iterator[bytes]]]:  # noqa: ARG002 - see below
        """Nothing: the mirror has no earlier years."""
        return iter(())

    @property
    def _server(self) -> str:
        return self._emulator or "BigQuery"

    def _ask(self, what: str, request: Callable[[bigquery.Client], T]) -> T:
        """Ask the service about tables, again while that may help."""
        waits = Waits(self._policy)
        while True:
            try:
                return request(self._rest())
            except MISUNDERSTOOD_BODY as error:
                raise misunderstood(self._server, what, error) from None
            except FAILURES as error:
                self._wait_or_raise(error, waits, f"{self._server} tells nothing of {what}")
            except MISUNDERSTOOD as error:
                raise misunderstood(self._server, what, error) from None

    def _wait_or_raise(self, error: Exception, waits: Waits, met: str) -> None:
        trouble = trouble_of(error)
        if not trouble.passes or not waits.another(f"{met} ({trouble.what})", asked=trouble.asked):
            raise trouble.error(met, waited=self._waited(trouble)) from None

    def _waited(self, trouble: Trouble) -> str:
        if not trouble.passes:
            return ""
        if trouble.asked is not None:
            return f", and asks to wait {human_seconds(trouble.asked)}"
        return f", for {human_seconds(self._policy.max_seconds)}"

    def _rest(self) -> bigquery.Client:
        if not self._emulator:
            return bigquery.Client()
        url = self._emulator if "://" in self._emulator else f"http://{self._emulator}"
        options = {"api_endpoint": url}
        return bigquery.Client(project=self._project, credentials=AnonymousCredentials(), client_options=options)  # type: ignore[no-untyped-call]

    def _storage(self) -> BigQueryReadClient:
        if not self._grpc:
            return BigQueryReadClient()
        channel = grpc.insecure_channel(self._grpc, options=CHANNEL)
        return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))

    def _blocks(self, table: str, as_of: datetime) -> Iterator[ArrowRows]:
        stopped = f"BigQuery stopped sending {table}"
        client, session = self._open_session(table, as_of, stopped)
        schema, rows = self._schema(table, session), 0
        for stream in session.streams:
            for batch in self._batches(client, stream.name, schema, table):
                rows += batch.num_rows
                yield ArrowRows(batch)
        # An estimate, "which might be incomplete or stale", so it proves nothing.
        if rows != session.estimated_row_count:
            tell_of_wait(
                f"{table}: {rows:,} rows came as of {as_of:%Y-%m-%d %H:%M} UTC, and BigQuery estimates "
                f"{session.estimated_row_count:,}"
            )

    def _open_session(self, table: str, as_of: datetime, stopped: str) -> tuple[BigQueryReadClient, types.ReadSession]:
        wanted = types.ReadSession(
            table=f"projects/{self._project}/datasets/{self._dataset}/tables/{table}",
            data_format=types.DataFormat.ARROW,
            table_modifiers=types.ReadSession.TableModifiers(snapshot_time=as_of),
        )
        waits = Waits(self._policy)
        while True:
            try:
                client = self._storage()
                billed = self._project if self._emulator else self._rest().project
                request = types.CreateReadSessionRequest(
                    parent=f"projects/{billed}", read_session=wanted, max_stream_count=1
                )
                return client, client.create_read_session(request=request, retry=None, timeout=ANSWER_SECONDS)
            except FAILURES as error:
                self._wait_or_raise(error, waits, stopped)

    def _schema(self, table: str, session: types.ReadSession) -> pa.Schema:
        try:
            schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise misunderstood(self._server, table, error) from None
        if table == "posts":
            require_columns(schema)
        return schema

    def _batches(
        self, client: BigQueryReadClient, stream: str, schema: pa.Schema, table: str
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a stream; where it breaks off, it goes on at the next row."""
        offset, waits = 0, Waits(self._policy)
        while True:
            began = offset
            try:
                request = types.ReadRowsRequest(read_stream=stream, offset=offset)
                for answer in client.read_rows(request=request, retry=None, timeout=ROWS_SECONDS):
                    batch = self._batch(answer, schema, table)
                    offset += batch.num_rows
                    yield batch
            except FAILURES as error:
                if offset > began:
                    waits.start_over()
                if not (isinstance(error, GatewayTimeout) and offset > began):
                    self._wait_or_raise(error, waits, f"BigQuery stopped sending {table}")
            else:
                return

    def _batch(self, answer: types.ReadRowsResponse, schema: pa.Schema, table: str) -> pa.RecordBatch:
        data = pa.py_buffer(answer.arrow_record_batch.serialized_record_batch)
        try:
            batch = pa.ipc.read_record_batch(data, schema)
            require_values(batch)
        except (pa.ArrowException, OSError, ValueError, SourceUnusable) as error:
            why = str(error) if isinstance(error, SourceUnusable) else error
            raise misunderstood(self._server, table, why) from None
        return batch


def _why_uncounted(facts: _Facts, as_of: datetime) -> str:
    """Why nobody knows how many rows a table has."""
    if facts.modified is None or facts.rows is None:
        return "BigQuery does not say how many there are"
    return (
        f"the table was written at {facts.modified:%Y-%m-%d %H:%M} UTC, after the instant of this read "
        f"({as_of:%Y-%m-%d %H:%M}), and BigQuery counts them as of now only"
    )


def _has_tables(client: bigquery.Client, dataset: str) -> bool:
    return any(True for _ in client.list_tables(dataset, max_results=1, retry=_ONCE, timeout=ANSWER_SECONDS))


def _found(client: bigquery.Client, name: str) -> _Facts | None:
    try:
        table = client.get_table(name, retry=_ONCE, timeout=ANSWER_SECONDS)
    except NotFound:
        return None
    # Rows that were streamed in a moment ago are read, and not counted.
    return _Facts(None if table.streaming_buffer is not None else table.num_rows, table.modified)

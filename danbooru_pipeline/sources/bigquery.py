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
from google.api_core.exceptions import (
    BadRequest,
    FailedPrecondition,
    Forbidden,
    GoogleAPIError,
    NotFound,
    OutOfRange,
    Unauthorized,
)
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, types
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

from danbooru_pipeline.errors import SourceBlocked, SourceError, SourceUnreachable, SourceUnusable
from danbooru_pipeline.posts import LineTyper, Typed, as_json, type_batch
from danbooru_pipeline.sources.bulk import BulkTable

#: Tables are read as of a minute ago, so a table that is being written right now is not read half-written.
SETTLING = timedelta(seconds=60)
#: How far back a table can be read: seven days, less one for the reading.
TIME_TRAVEL = timedelta(days=6)
#: What reading takes: a session in the project that is billed, and the rows of the table.
_RIGHTS: Final = ("bigquery.readsessions.create", "bigquery.tables.get", "bigquery.tables.getData")
_LOGIN: Final = "run gcloud auth application-default login"
ANY_SIZE = [("grpc.max_receive_message_length", -1)]
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


class BigQuerySource:
    """Tables of one dataset, as of one instant.

    Args:
        dataset: ``project.dataset``.
        emulator: REST address of an emulator; empty for the real service.
        grpc_endpoint: ``host:port`` of the emulator's Storage Read API.
        now: tables are read as of a minute before.
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
        read_before: Callable[[int], datetime | None] = lambda _year: None,
    ) -> None:
        self._project, _, self._dataset = dataset.partition(".")
        self._emulator, self._grpc = emulator, grpc_endpoint
        self._now = now.astimezone(UTC) - (timedelta(0) if emulator else SETTLING)
        self._read_before = read_before

    def probe(self) -> None:
        """Ask for the list of tables.

        Raises:
            SourceError: the dataset cannot be read.
        """
        for _ in self._call(lambda client: list(client.list_tables(f"{self._project}.{self._dataset}", max_results=1))):
            return

    def open_table(self, table: str, year: int) -> BulkTable | None:
        """A table as of the same instant as the year's posts. Its rows are fetched when they are iterated."""
        facts = self._call(lambda client: _found(client, f"{self._project}.{self._dataset}.{table}"))
        if facts is None:
            return None
        as_of = self._instant(table, year)
        # The service reports facts as of now only; they hold for `as_of` if the table was not written since.
        known = facts.modified is not None and facts.modified <= as_of
        return BulkTable(
            blocks=self._blocks(table, as_of),
            rows=facts.num_rows if known else None,
            modified=facts.modified if known else None,
            as_of=as_of,
        )

    def _instant(self, table: str, year: int) -> datetime:
        before = self._read_before(year) if table != "posts" else None
        return before if before is not None and self._now - before < TIME_TRAVEL else self._now

    def earlier_files(self, year: int) -> Iterator[tuple[str, Iterator[bytes]]]:  # noqa: ARG002 - see below
        """Nothing: the mirror has no earlier years."""
        return iter(())

    def _call(self, request: Callable[[bigquery.Client], T]) -> T:
        try:
            return request(self._rest())
        except (GoogleAPIError, GoogleAuthError, OSError) as error:
            unreachable = SourceUnreachable(
                f"BigQuery does not answer ({_in_a_line(error)}); check the network, then run again"
            )
            raise _refusal(error) or unreachable from None

    def _rest(self) -> bigquery.Client:
        if not self._emulator:
            return bigquery.Client()
        url = self._emulator if "://" in self._emulator else f"http://{self._emulator}"
        options = {"api_endpoint": url}
        return bigquery.Client(project=self._project, credentials=AnonymousCredentials(), client_options=options)  # type: ignore[no-untyped-call]

    def _storage(self) -> BigQueryReadClient:
        if not self._grpc:
            return BigQueryReadClient()  # type: ignore[no-untyped-call]
        channel = grpc.insecure_channel(self._grpc, options=ANY_SIZE)
        return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))  # type: ignore[no-untyped-call]

    def _blocks(self, table: str, as_of: datetime) -> Iterator[ArrowRows]:
        try:
            client = self._storage()
            billed = self._project if self._emulator else self._rest().project
            session = client.create_read_session(
                parent=f"projects/{billed}",
                read_session=types.ReadSession(
                    table=f"projects/{self._project}/datasets/{self._dataset}/tables/{table}",
                    data_format=types.DataFormat.ARROW,
                    table_modifiers=types.ReadSession.TableModifiers(snapshot_time=as_of),
                ),
                max_stream_count=1,
            )
            schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
            for stream in session.streams:
                # The library resumes an interrupted stream at the right row.
                for answer in client.read_rows(stream.name):  # type: ignore[no-untyped-call]
                    data = pa.py_buffer(answer.arrow_record_batch.serialized_record_batch)
                    yield ArrowRows(pa.ipc.read_record_batch(data, schema))
        except (GoogleAPIError, GoogleAuthError) as error:
            broken = SourceUnreachable(f"BigQuery stopped sending {table} ({_in_a_line(error)}); run again")
            raise _refusal(error) or broken from None


def _refusal(error: Exception) -> SourceError | None:
    """What an error says that a later run would meet as well; None for one that may pass."""
    said = _in_a_line(getattr(error, "message", error))
    if isinstance(error, GoogleAuthError):
        return SourceBlocked(f"BigQuery needs credentials ({said}); {_LOGIN}")
    if isinstance(error, Unauthorized):
        return SourceBlocked(f"BigQuery does not accept our credentials ({said}); {_LOGIN}")
    if isinstance(error, Forbidden):
        return SourceBlocked(f"BigQuery refuses us ({said}); check the project and its rights ({', '.join(_RIGHTS)})")
    if isinstance(error, NotFound):
        return SourceUnusable(f"{said}; check DANBOORU_BIGQUERY_TABLES")
    if isinstance(error, BadRequest) and not isinstance(error, FailedPrecondition | OutOfRange):
        return SourceUnusable(f"BigQuery does not understand what we ask ({said}); check DANBOORU_BIGQUERY_TABLES")
    return None


def _in_a_line(said: object) -> str:
    return " ".join(str(said).split())


def _found(client: bigquery.Client, name: str) -> bigquery.Table | None:
    try:
        return client.get_table(name)
    except NotFound:
        return None

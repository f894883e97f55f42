"""An embedded BigQuery: the calls that Google's clients make for us, over their own protocols, and nothing else.

REST for table metadata (``tables.get``, ``tables.list``), gRPC for rows (``CreateReadSession`` and ``ReadRows`` of the
Storage Read API, in Arrow, from any offset, as of any snapshot time). No jobs and no SQL.

::

    mirror = Mirror()
    mirror.load("danbooru1.danbooru_public.tags", table)
    with serve_bigquery(mirror) as served:
        os.environ["BIGQUERY_EMULATOR_HOST"] = served.rest_url
        os.environ["DANBOORU_BIGQUERY_GRPC"] = served.grpc_address
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from typing import Any, NoReturn

import grpc
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types

from danbooru_pipeline.demo.bigquery.mirror import Failure, Mirror, MirrorError, Version
from danbooru_pipeline.io.loopback import HOST, LoopbackServer

_SERVICE = "google.cloud.bigquery.storage.v1.BigQueryRead"
_TABLE = re.compile(r"projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)")
_REASONS = {400: "invalid", 401: "authError", 403: "accessDenied", 404: "notFound", 503: "backendError"}
#: What the status of a failure is over REST; of any other it is 503.
_STATUS = {"INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404}
_TABLES = re.compile(r"/bigquery/v2/projects/([^/?]+)/datasets/([^/?]+)/tables(?:/([^/?]+))?(?:\?(.*))?")


@dataclass(frozen=True, slots=True)
class Served:
    """The addresses it listens on.

    Attributes:
        rest_url: for table metadata.
        grpc_address: ``host:port``, for rows.
    """

    rest_url: str
    grpc_address: str


@contextmanager
def serve_bigquery(mirror: Mirror) -> Iterator[Served]:
    """Serve tables on loopback until the block ends."""
    rest = LoopbackServer(0, type("_Handler", (_RestHandler,), {"mirror": mirror}))
    rows = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_send_message_length", -1)])
    rows.add_generic_rpc_handlers((_handlers(_StorageRead(mirror)),))
    port = rows.add_insecure_port(f"{HOST}:0")
    rows.start()
    thread = threading.Thread(target=rest.serve_forever, daemon=True)
    thread.start()
    try:
        yield Served(f"http://{HOST}:{rest.port}", f"{HOST}:{port}")
    finally:
        rest.shutdown()
        rest.server_close()
        rows.stop(grace=None).wait()


def _handlers(service: "_StorageRead") -> grpc.GenericRpcHandler:
    create = grpc.unary_unary_rpc_method_handler(
        service.create_read_session,
        request_deserializer=types.CreateReadSessionRequest.deserialize,
        response_serializer=types.ReadSession.serialize,
    )
    read = grpc.unary_stream_rpc_method_handler(
        service.read_rows,
        request_deserializer=types.ReadRowsRequest.deserialize,
        response_serializer=types.ReadRowsResponse.serialize,
    )
    return grpc.method_handlers_generic_handler(_SERVICE, {"CreateReadSession": create, "ReadRows": read})


class _StorageRead:
    """Rows over gRPC."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def create_read_session(
        self, request: types.CreateReadSessionRequest, context: grpc.ServicerContext
    ) -> types.ReadSession:
        if failure := self._mirror.record_call("session"):
            _abort(context, failure)
        wanted = request.read_session
        match = _TABLE.fullmatch(wanted.table)
        if match is None or wanted.data_format != types.DataFormat.ARROW or wanted.read_options.row_restriction:
            message = "only whole tables, by full name and in Arrow, are served here"
            return _abort(context, Failure("session", "INVALID_ARGUMENT", message=message))
        modifiers = wanted.table_modifiers
        at = modifiers.snapshot_time if "snapshot_time" in modifiers else None
        try:
            found = self._mirror.open_streams(
                ".".join(match.groups()),
                at=at,
                columns=list(wanted.read_options.selected_fields),
                max_streams=request.max_stream_count,
            )
        except MirrorError as error:
            context.abort(grpc.StatusCode[error.code], str(error))
        parent = f"{request.parent}/locations/us/sessions"
        return types.ReadSession(
            name=f"{parent}/{found.session}",
            table=wanted.table,
            data_format=types.DataFormat.ARROW,
            arrow_schema=types.ArrowSchema(serialized_schema=found.schema.serialize().to_pybytes()),
            estimated_row_count=found.rows,
            streams=[types.ReadStream(name=f"{parent}/{stream}") for stream in found.streams],
        )

    def read_rows(
        self, request: types.ReadRowsRequest, context: grpc.ServicerContext
    ) -> Iterator[types.ReadRowsResponse]:
        failure = self._mirror.record_call("rows", request.offset)
        sent = 0
        try:
            batches = self._mirror.batches(request.read_stream, request.offset)
        except MirrorError as error:
            context.abort(grpc.StatusCode[error.code], str(error))
        for batch in batches:
            if failure is not None and sent >= failure.after_rows:
                _abort(context, failure)
            sent += batch.num_rows
            data = types.ArrowRecordBatch(serialized_record_batch=batch.serialize().to_pybytes())
            yield types.ReadRowsResponse(row_count=batch.num_rows, arrow_record_batch=data)


def _abort(context: grpc.ServicerContext, failure: Failure) -> NoReturn:
    context.abort(grpc.StatusCode[failure.code], failure.message)
    raise AssertionError("abort does not return")


class _RestHandler(BaseHTTPRequestHandler):
    """Table metadata over HTTP."""

    mirror: Mirror

    def do_GET(self) -> None:
        """Answer tables.list and tables.get."""
        failure = self.mirror.record_call("tables")
        try:
            status, body = 200, self._answer(failure)
        except MirrorError as error:
            status = error.http
            body = {"error": {"code": status, "message": str(error), "errors": [{"reason": _REASONS[status]}]}}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, failure: Failure | None) -> dict[str, Any]:
        if failure is not None:
            raise MirrorError(failure.code, _STATUS.get(failure.code, 503), failure.message)
        match = _TABLES.fullmatch(self.path)
        if match is None:
            raise MirrorError("NOT_FOUND", 404, f"nothing is served at {self.path}")
        project, dataset, table, _ = match.groups()
        if table is not None:
            name = f"{project}.{dataset}.{table}"
            return _table_metadata(project, dataset, table, version=self.mirror.version(name))
        names = self.mirror.names(f"{project}.{dataset}")
        if not names:
            raise MirrorError("NOT_FOUND", 404, f"Not found: Dataset {project}:{dataset}")
        listed = [{"kind": "bigquery#table", **_reference(project, dataset, name)} for name in names]
        return {"kind": "bigquery#tableList", "tables": listed, "totalItems": len(listed)}

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Log nothing."""


def _reference(project: str, dataset: str, table: str) -> dict[str, Any]:
    reference = {"projectId": project, "datasetId": dataset, "tableId": table}
    return {"id": f"{project}:{dataset}.{table}", "type": "TABLE", "tableReference": reference}


def _table_metadata(project: str, dataset: str, table: str, *, version: Version) -> dict[str, Any]:
    return {
        "kind": "bigquery#table",
        **_reference(project, dataset, table),
        "schema": {"fields": [_described(field) for field in version.rows.schema]},
        "numRows": str(version.rows.num_rows),
        "numBytes": str(version.rows.nbytes),
        "lastModifiedTime": _milliseconds(version.loaded_at),
        "etag": f"{table}-{_milliseconds(version.loaded_at)}",
        "location": "US",
    }


def _milliseconds(instant: datetime) -> str:
    return str(int(instant.timestamp() * 1000))


_KINDS: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_integer, "INTEGER"),
    (pa.types.is_boolean, "BOOLEAN"),
    (pa.types.is_floating, "FLOAT"),
    (pa.types.is_timestamp, "TIMESTAMP"),
)


def _described(field: pa.Field) -> dict[str, Any]:
    kind = field.type.value_type if pa.types.is_list(field.type) else field.type
    described = {"name": field.name, "mode": "NULLABLE" if kind == field.type else "REPEATED"}
    if pa.types.is_struct(kind):
        return {**described, "type": "RECORD", "fields": [_described(inner) for inner in kind]}
    return {**described, "type": next((name for is_kind, name in _KINDS if is_kind(kind)), "STRING")}


__all__ = ["Failure", "Mirror", "Served", "serve_bigquery"]

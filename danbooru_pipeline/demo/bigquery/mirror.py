"""Tables as the public mirror keeps them: versions by time, streams of rows, and injected failures. No network."""

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from danbooru_pipeline.posts.schema import SITE_COLUMNS

#: Rows per response; the service sends about a megabyte at a time.
BATCH_ROWS: Final = 1_000
#: The type of all times, as in the service.
_TIMESTAMP: Final = pa.timestamp("us", tz="UTC")


class MirrorError(Exception):
    """A request that the service refuses.

    Attributes:
        code: name of the gRPC status.
        http: the corresponding HTTP status.
    """

    def __init__(self, code: str, http: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.http = http


@dataclass(frozen=True, slots=True)
class Failure:
    """An injected failure of one call.

    Attributes:
        method: ``tables``, ``session`` or ``rows``.
        code: name of the gRPC status; over REST it is the HTTP status of that kind.
        after_rows: how many rows are sent before it.
        message: the service's message.
    """

    method: str
    code: str = "UNAVAILABLE"
    after_rows: int = 0
    message: str = "the embedded mirror fails on purpose"


@dataclass(frozen=True, slots=True)
class Version:
    """A table as loaded at one time; each load replaces the previous one, as the nightly job does."""

    loaded_at: datetime
    rows: pa.Table


@dataclass(slots=True)
class Mirror:
    """Tables by their full name, ``project.dataset.table``. Calls and failures are thread-safe.

    Attributes:
        calls: method and offset of each call, in order; the offset is 0 for all methods but ``rows``.
    """

    tables: dict[str, list[Version]] = field(default_factory=dict)
    calls: list[tuple[str, int]] = field(default_factory=list)
    _streams: dict[str, pa.Table] = field(default_factory=dict)
    _failures: list[Failure] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self, name: str, rows: pa.Table, *, at: datetime | None = None) -> None:
        """Load a new version of a table."""
        self.tables.setdefault(name, []).append(Version(at or datetime.now(UTC), rows))

    def fail_next(self, *failures: Failure) -> None:
        """Make the next calls of these methods fail, one call per failure."""
        with self._lock:
            self._failures += failures

    def record_call(self, method: str, offset: int = 0) -> Failure | None:
        """Record a call. Returns the failure to inject, if any."""
        with self._lock:
            self.calls.append((method, offset))
            found = next((failure for failure in self._failures if failure.method == method), None)
            if found is not None:
                self._failures.remove(found)
            return found

    def names(self, dataset: str) -> list[str]:
        """Names of the tables in ``project.dataset``, without that prefix."""
        return sorted(name.removeprefix(f"{dataset}.") for name in self.tables if name.startswith(f"{dataset}."))

    def version(self, name: str, at: datetime | None = None) -> Version:
        """The version of a table as of a time, by default the latest.

        Raises:
            MirrorError: the table does not exist, or did not at that time.
        """
        known = self.tables.get(name)
        if not known:
            raise MirrorError("NOT_FOUND", 404, f"Not found: Table {name.replace('.', ':', 1)}")
        found = [version for version in known if at is None or version.loaded_at <= at]
        if not found:
            message = f"Invalid snapshot time {at} for table {name}. Cannot read before {known[0].loaded_at}"
            raise MirrorError("INVALID_ARGUMENT", 400, message)
        return found[-1]

    def open_streams(self, name: str, *, at: datetime | None, columns: Sequence[str], max_streams: int) -> "Streams":
        """Split a table into streams that can be read from any offset.

        Raises:
            MirrorError: the table or a column does not exist.
        """
        rows = self.version(name, at).rows
        if unknown := set(columns) - set(rows.column_names):
            raise MirrorError("INVALID_ARGUMENT", 400, f"no such field: {min(unknown)}")
        if columns:
            rows = rows.select([column for column in rows.column_names if column in set(columns)])
        count = max(1, min(max_streams or 1, 4, rows.num_rows))
        step = -(-rows.num_rows // count)
        session = uuid.uuid4().hex
        streams = {f"{session}/streams/{i}": rows.slice(i * step, step) for i in range(count if rows.num_rows else 0)}
        with self._lock:
            self._streams |= streams
        return Streams(session, rows.schema, rows.num_rows, tuple(streams))

    def batches(self, stream: str, offset: int) -> Iterator[pa.RecordBatch]:
        """The rows of a stream from an offset on.

        Raises:
            MirrorError: the stream does not exist, or is shorter than the offset.
        """
        rows = self._streams.get("/".join(stream.rsplit("/", 3)[-3:]))
        if rows is None:
            raise MirrorError("NOT_FOUND", 404, f"Not found: stream {stream}")
        if offset > rows.num_rows:
            raise MirrorError("OUT_OF_RANGE", 400, f"offset {offset} is beyond {rows.num_rows} rows")
        return iter(rows.slice(offset).combine_chunks().to_batches(max_chunksize=BATCH_ROWS))


@dataclass(frozen=True, slots=True)
class Streams:
    """A read session.

    Attributes:
        streams: their names, which begin with the session's.
    """

    session: str
    schema: pa.Schema
    rows: int
    streams: tuple[str, ...]


#: The public dataset, as the default of the settings.
DATASET: Final = "danbooru1.danbooru_public"


Records = Iterable[Mapping[str, Any]]


def load_site(mirror: Mirror, posts: Records, tables: Mapping[str, Records]) -> None:
    """Load what the nightly job exported in 2021: side tables, and posts with the columns of that time."""
    mirror.load(f"{DATASET}.posts", as_table(posts, SITE_COLUMNS))
    for name, records in tables.items():
        rows = list(records)
        mirror.load(f"{DATASET}.{name}", as_table(rows, list(dict.fromkeys(key for record in rows for key in record))))


def as_table(records: Records, columns: Sequence[str]) -> pa.Table:
    """Records of the site as the nightly job loads them: inferred types, with times as timestamps."""
    rows = [{name: _plain(name, record.get(name)) for name in columns} for record in records]
    return pa.table({name: _column([record[name] for record in rows]) for name in columns})


def _plain(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value).astimezone(UTC) if name.endswith("_at") and isinstance(value, str) else value


def _column(values: Sequence[Any]) -> pa.Array:
    array = pa.array(values)
    if pa.types.is_null(array.type):
        return array.cast(pa.string())
    return array.cast(_TIMESTAMP) if pa.types.is_timestamp(array.type) else array

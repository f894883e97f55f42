"""BigQuery in trouble: it is asked again for as long as the setting says, and the true reason is given."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from google.api_core.exceptions import ResourceExhausted
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.bigquery.server import Failure, Mirror, Served, serve_bigquery
from danbooru_pipeline.errors import SourceError, SourceStale, SourceUnreachable, SourceUnusable
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.table_reports import load_table_reports
from danbooru_pipeline.progress import heard_by
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import bring_posts, export_side_tables
from danbooru_pipeline.sources.bigquery import BigQuerySource
from danbooru_pipeline.sources.bigquery_errors import trouble_of
from danbooru_pipeline_tests.support.web import serving

DATASET = "danbooru1.danbooru_public"
NOW = datetime(2022, 1, 20, tzinfo=UTC)
LOADED = datetime(2022, 1, 10, tzinfo=UTC)
#: A port that nothing listens on.
NOBODY = "127.0.0.1:1"
COUNT = 3_000
UTC_TIME = pa.timestamp("us", "UTC")
BEYOND = pa.array([253_402_300_800_000_000] * COUNT, pa.int64()).cast(UTC_TIME)


def posts(**columns: pa.Array) -> pa.Table:
    """Posts of the end of 2021, with these columns besides or instead of their own."""
    made = [datetime(2021, 12, 31, 23, tzinfo=UTC) - timedelta(seconds=COUNT - i) for i in range(COUNT)]
    plain = {
        "id": pa.array(range(1, COUNT + 1)),
        "created_at": pa.array(made, UTC_TIME),
        "md5": pa.array([f"{i:032x}" for i in range(COUNT)]),
    }
    return pa.table({**plain, **columns})


@pytest.fixture
def mirror() -> Mirror:
    """A mirror with posts and tags."""
    mirror = Mirror()
    mirror.load(f"{DATASET}.posts", posts(), at=LOADED)
    mirror.load(f"{DATASET}.tags", pa.table({"id": [1, 2]}), at=LOADED)
    return mirror


@pytest.fixture
def served(mirror: Mirror) -> Iterator[Served]:
    """The mirror, served."""
    with serve_bigquery(mirror) as served:
        yield served


def source(rest: str, rows: str = NOBODY, *, seconds: float = 1.0) -> BigQuerySource:
    """A source that asks these addresses again for some seconds."""
    return BigQuerySource(DATASET, emulator=rest, grpc_endpoint=rows, now=NOW, retry_seconds=seconds)


def bring(from_: BigQuerySource, layout: Layout) -> list[str]:
    """Load the posts of 2021; gives what was told meanwhile."""
    told: list[str] = []
    bring_posts(from_, layout, 2021, now=NOW, progress=told.append)
    return told


def refused(from_: BigQuerySource, layout: Layout, kind: type[SourceError] = SourceUnreachable) -> str:
    """The line by which posts are refused; it comes in time, and nothing is written."""
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        bring(from_, layout)
    assert type(caught.value) is kind
    assert time.monotonic() - began < 10
    assert "\n" not in str(caught.value)
    assert not layout.posts(2021).exists()
    return str(caught.value)


def test_a_service_that_is_away_is_given_up_after_the_time_of_the_setting(served: Served, layout: Layout) -> None:
    """Neither the address for tables nor that for rows is asked for ever, and the line names what did not answer."""
    assert "tells nothing of" in refused(source(f"http://{NOBODY}"), layout)
    assert "stopped sending posts" in refused(source(served.rest_url), layout)


@pytest.mark.parametrize("method", ["tables", "session", "rows"])
def test_a_service_that_stays_in_trouble_is_given_up_and_waits_are_told(
    mirror: Mirror, served: Served, layout: Layout, method: str
) -> None:
    """Errors that pass are met again until the time is over, at the same row as well, and each wait is told."""
    mirror.fail_next(*[Failure(method)] * 10_000)
    told: list[str] = []
    with heard_by(told.append), pytest.raises(SourceUnreachable, match="fails on purpose"):
        source(served.rest_url, served.grpc_address).probe()
        table = source(served.rest_url, served.grpc_address).open_table("posts", 2021)
        assert table is not None
        list(table.blocks)
    assert told
    assert all("fails on purpose" in line and "asked again in" in line for line in told)
    assert ", for 1 s" in refused(source(served.rest_url, served.grpc_address), layout)


def test_progress_gives_a_stream_its_time_again(mirror: Mirror, served: Served, layout: Layout) -> None:
    """A stream that breaks off after each thousand rows is read to its end, however often it does."""
    mirror.fail_next(*[Failure("rows", after_rows=1_000)] * 2)
    assert bring(source(served.rest_url, served.grpc_address, seconds=0.6), layout)[-1].startswith("posts: 3,000 rows")
    assert [offset for method, offset in mirror.calls if method == "rows"] == [0, 1_000, 2_000]


class Answers(BaseHTTPRequestHandler):
    """Gives the same answer to every question."""

    def __init__(self, *args: Any, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.status, self.body, self.more = status, body, headers
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(self.status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(self.body)),
            **self.more,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def answer_of(layout: Layout, status: int, body: Any, kind: type[SourceError], **headers: str) -> str:
    """The line that an answer of the address for tables becomes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with serving(partial(Answers, status=status, body=data, headers=headers)) as address:
        return refused(source(address), layout, kind)


def error_of(status: int, reason: str) -> dict[str, Any]:
    """An error as the service writes it."""
    return {"error": {"code": status, "message": "said so", "errors": [{"reason": reason}]}}


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        (403, "rateLimitExceeded", r"it limits the rate of requests: .*said so, for 1 s\); run again later"),
        (429, "rateLimitExceeded", r"it limits the rate of requests"),
        (403, "quotaExceeded", r"a quota is used up: .*said so\); run again when it is filled up again"),
        (500, "backendError", r"said so, for 1 s\); look at https://status.cloud.google.com, then run again"),
    ],
)
def test_the_reason_of_a_refusal_is_the_true_one(layout: Layout, status: int, reason: str, said: str) -> None:
    """A rate, a quota and a service in trouble are neither the network nor a lack of rights."""
    line = answer_of(layout, status, error_of(status, reason), SourceUnreachable)
    assert_matches(said, line)
    assert "network" not in line
    assert "rights" not in line


def assert_matches(pattern: str, line: str) -> None:
    """A line has a pattern in it."""
    with pytest.raises(SourceError, match=pattern):
        raise SourceError(line)


def test_a_wait_beyond_the_setting_is_named(layout: Layout) -> None:
    """A service that asks to wait longer than the setting allows ends the read at once, with how long it asks for."""
    line = answer_of(layout, 429, error_of(429, "rateLimitExceeded"), SourceUnreachable, **{"Retry-After": "3600"})
    assert ", and asks to wait 60 min); run again later, or set a longer DANBOORU_RETRY_SECONDS" in line


def test_a_quota_passes_only_if_the_service_says_when() -> None:
    """A quota that is used up is waited for where the service says for how long, and ends a read where it does not."""
    when = RetryInfo(retry_delay=Duration(seconds=7, nanos=500_000_000))
    refusal: Any = ResourceExhausted  # its constructor has no types
    told, untold = (trouble_of(refusal("said so", details=details)) for details in ([when], []))
    assert (told.passes, told.asked) == (True, 7.5)
    assert (untold.passes, untold.asked) == (False, None)


@pytest.mark.parametrize(
    "body", [[], {}, b"<html>sign in</html>", {**error_of(200, ""), "tableReference": [], "numRows": "many"}]
)
def test_an_answer_that_is_none_of_the_service_is_one_line(layout: Layout, body: Any) -> None:
    """What an address for tables says that is no table's facts names the address and the table."""
    line = answer_of(layout, 200, body, SourceUnusable)
    assert_matches(rf"what http://.* sends of {DATASET}\.posts cannot be understood \(.*\); run again", line)


def test_a_number_of_rows_that_is_none_is_one_line(layout: Layout) -> None:
    """The same where a single fact cannot be read."""
    names = dict(zip(("projectId", "datasetId", "tableId"), (*DATASET.split("."), "posts"), strict=True))
    line = answer_of(layout, 200, {"tableReference": names, "numRows": "many"}, SourceUnusable)
    assert "cannot be understood (ValueError" in line


class Garbling(Mirror):
    """Sends rows that are none."""

    def batches(self, stream: str, offset: int) -> Iterator[Any]:
        """Half a batch, or no batch at all."""
        for batch in super().batches(stream, offset):
            data = batch.serialize().to_pybytes()
            half = pa.py_buffer(b"hello" if offset else data[: len(data) // 2])
            yield SimpleNamespace(num_rows=batch.num_rows, serialize=lambda half=half: half)


def test_rows_that_are_none_are_one_line(layout: Layout, mirror: Mirror) -> None:
    """A batch that is cut off is no fault of this program."""
    with serve_bigquery(Garbling(mirror.tables)) as served:
        line = refused(source(served.rest_url, served.grpc_address), layout, SourceUnusable)
    assert_matches(r"what http://.* sends of posts cannot be understood", line)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"last_noted_at": BEYOND}, "times beyond the years 1 to 9999 in its column last_noted_at"),
        ({"created_at": BEYOND}, "times beyond the years 1 to 9999 in its column created_at"),
        ({"created_at": BEYOND.cast(pa.timestamp("us"))}, "column created_at of posts is DATETIME"),
        ({"md5": pa.array([b"a"] * COUNT)}, "column md5 of posts is BYTES and holds a value of 1 bytes"),
    ],
)
def test_columns_that_cannot_be_read_are_named(
    layout: Layout, mirror: Mirror, served: Served, columns: dict[str, pa.Array], said: str
) -> None:
    """Posts with a column of a type or of values that nothing can be made of name the column."""
    mirror.load(f"{DATASET}.posts", posts(**columns), at=LOADED + timedelta(days=1))
    assert said in refused(source(served.rest_url, served.grpc_address), layout, SourceUnusable)


def test_rows_that_cannot_be_placed_are_counted_in_the_reason(layout: Layout, mirror: Mirror, served: Served) -> None:
    """A table whose rows have ids that are none is not one without posts."""
    mirror.load(f"{DATASET}.posts", posts(id=pa.array(["x"] * COUNT)), at=LOADED + timedelta(days=1))
    line = refused(source(served.rest_url, served.grpc_address), layout, SourceStale)
    assert "none of the 3,000 rows of the bigquery source has an id and a time that can be read; take posts" in line


def test_side_tables_have_integers_and_times_of_the_calendar(layout: Layout, mirror: Mirror, served: Served) -> None:
    """Numbers of a side table are integers where they are integral; times beyond the calendar fail that table alone."""
    tags = pa.table({"id": pa.array([1, 2]).cast(pa.decimal128(38, 9)), "post_count": [38.0, None]})
    mirror.load(f"{DATASET}.tags", tags, at=LOADED + timedelta(days=1))
    mirror.load(f"{DATASET}.pools", pa.table({"id": [1], "at": BEYOND[:1]}), at=LOADED)
    with pytest.raises(SourceUnusable, match=r"first of them pools.*beyond the years 1 to 9999 in its column at"):
        export_side_tables(source(served.rest_url, served.grpc_address), layout, 2021, progress=lambda _line: None)
    lines = layout.side_table(2021, "tags").read_bytes().splitlines()
    assert [json.loads(line) for line in lines] == [{"id": "1", "post_count": "38"}, {"id": "2"}]


def test_rows_that_nobody_could_count_are_reported(layout: Layout, mirror: Mirror, served: Served) -> None:
    """A table that was written after the instant of a read has no count; the report and the log say so."""
    for name, rows in (("posts", posts()), ("tags", pa.table({"id": [1, 2, 3]}))):
        mirror.load(f"{DATASET}.{name}", rows, at=NOW + timedelta(hours=1))
    reading = source(served.rest_url, served.grpc_address)
    told = bring(reading, layout)
    export_side_tables(reading, layout, 2021, progress=told.append)
    said = "nobody could check that all.* came: the table was written at 2022-01-20 01:00 UTC"
    assert [line.partition(":")[0] for line in told if "nobody could check" in line] == ["posts", "tags"]
    reports = load_table_reports(layout, 2021)
    assert_matches(said, next(line for line in told if line.startswith("tags: ok")))
    assert reports["tags"].rows == 2
    assert reports["tags"].uncounted is not None


class Short(Mirror):
    """Ends each stream after a thousand rows, as if that were all."""

    def batches(self, stream: str, offset: int) -> Iterator[pa.RecordBatch]:
        """The first batch."""
        return iter(list(super().batches(stream, offset))[:1])


def test_fewer_rows_than_estimated_are_told(layout: Layout, mirror: Mirror) -> None:
    """An estimate of the service proves nothing, so rows that differ from it are told and not refused."""
    mirror.load(f"{DATASET}.posts", posts(), at=NOW + timedelta(hours=1))
    with serve_bigquery(Short(mirror.tables)) as served:
        told = bring(source(served.rest_url, served.grpc_address), layout)
    assert any("1,000 rows came" in line and "BigQuery estimates 3,000" in line for line in told)


def test_a_sensor_waits_for_seconds_only(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has little time asks a source of whole tables for less time than the setting allows."""
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"http://{NOBODY}")
    settings = Settings(root=layout.root, posts_source="bigquery", bigquery_grpc=NOBODY, retry_seconds=600)
    began = time.monotonic()
    with RunContext(settings, now=lambda: NOW) as context, pytest.raises(SourceUnreachable, match="for 1 s"):
        context.source_within(1).probe()
    assert time.monotonic() - began < 10

"""The mirror in BigQuery, read by Google's own clients from the embedded one: every row once, as of one instant."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.bigquery.server import Failure, Mirror, Served, serve_bigquery
from danbooru_pipeline.demo.process import start_booru
from danbooru_pipeline.errors import SourceBlocked, SourceStale, SourceUnreachable, SourceUnusable
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import SweepReport, bring_posts, export_side_tables
from danbooru_pipeline.sources.bigquery import BigQuerySource
from danbooru_pipeline.sources.bulk import BulkTable
from danbooru_pipeline.sources.open import open_bulk

DATASET = "danbooru1.danbooru_public"
NOW = datetime(2022, 1, 20, tzinfo=UTC)
LOADED = datetime(2022, 1, 10, tzinfo=UTC)
#: Every way in which a read breaks off that the client library knows how to resume, and those before a read begins.
SIX_FAILURES = (
    Failure("tables"),
    Failure("session"),
    Failure("rows", after_rows=0),
    Failure("rows", after_rows=2_000),
    Failure("rows", "INTERNAL", after_rows=1_000, message="Received RST_STREAM with error code 2"),
    Failure("rows", after_rows=3_000),
)


@pytest.fixture
def mirror() -> Mirror:
    """A mirror without tables."""
    return Mirror()


@pytest.fixture
def served(mirror: Mirror) -> Iterator[Served]:
    """The mirror, served."""
    with serve_bigquery(mirror) as served:
        yield served


def source(served: Served, *, now: datetime = NOW) -> BigQuerySource:
    """A source that reads it."""
    return BigQuerySource(DATASET, emulator=served.rest_url, grpc_endpoint=served.grpc_address, now=now)


def posts(count: int, *, score: int = 1, last: datetime = datetime(2021, 12, 31, 23, tzinfo=UTC)) -> pa.Table:
    """Posts with ids from 1, a minute apart, in random order."""
    ids = [i * 7919 % count + 1 for i in range(count)]
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "created_at": pa.array([last - timedelta(minutes=count - i) for i in ids], pa.timestamp("us", tz="UTC")),
            "score": pa.array([score] * count, pa.int64()),
            "md5": pa.array([f"{i:032x}" for i in ids]),
            "tag_string": pa.array(["1girl solo"] * count),
            "is_deleted": pa.array([False] * count),
        }
    )


def load(mirror: Mirror, table: str, rows: pa.Table, *, at: datetime = LOADED) -> None:
    """Load a table of the public dataset."""
    mirror.load(f"{DATASET}.{table}", rows, at=at)


def bring(from_: Any, layout: Layout) -> SweepReport:
    """Load the posts of 2021 without progress."""
    return bring_posts(from_, layout, 2021, now=NOW, progress=lambda _line: None)


def test_six_failures_lose_and_double_nothing(mirror: Mirror, served: Served, layout: Layout) -> None:
    """Table facts, session and stream are interrupted six times; each read resumes at the row where it stopped."""
    load(mirror, "posts", posts(20_000))
    mirror.fail_next(*SIX_FAILURES)
    report = bring(source(served), layout)
    assert pq.read_table(layout.posts(2021))["id"].to_pylist() == list(range(1, 20_001))
    assert report.rows == 20_000
    offsets = [offset for method, offset in mirror.calls if method == "rows"]
    assert offsets == [0, 0, 2_000, 3_000, 6_000]
    assert [method for method, _ in mirror.calls].count("session") == 2


def test_all_tables_are_read_as_of_one_instant(
    monkeypatch: pytest.MonkeyPatch, mirror: Mirror, served: Served, layout: Layout
) -> None:
    """Rows loaded after the posts were read belong to the next release, even if side tables are read a day later.

    The instant is kept in the report. A week later the mirror does not go back that far, and its tables are of then.
    """
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", served.rest_url)
    settings = Settings(root=layout.root, posts_source="bigquery", bigquery_grpc=served.grpc_address)
    load(mirror, "posts", posts(50, score=1))
    load(mirror, "tags", pa.table({"id": [1], "name": ["old"]}))
    reading = open_bulk("bigquery", settings, now=NOW)
    load(mirror, "posts", posts(60, score=2), at=NOW + timedelta(hours=1))
    load(mirror, "tags", pa.table({"id": [1, 2], "name": ["new", "newer"]}), at=NOW + timedelta(hours=1))
    report = bring(reading, layout)
    assert (report.as_of, report.announced, report.rows) == (NOW, None, 50)
    assert set(pq.read_table(layout.posts(2021))["score"].to_pylist()) == {1}
    for later, names in ((timedelta(days=1), [b"old"]), (timedelta(days=7), [b"new", b"newer"])):
        again = open_bulk("bigquery", settings, now=NOW + later)
        export_side_tables(again, layout, 2021, progress=lambda _line: None)
        lines = layout.side_table(2021, "tags").read_bytes().splitlines()
        assert lines == [b'{"id":"%d","name":"%s"}' % (i, name) for i, name in enumerate(names, start=1)]


def test_table_that_is_not_whole_is_refused(mirror: Mirror, served: Served, layout: Layout) -> None:
    """A table with fewer rows than the service announces is refused."""
    load(mirror, "posts", posts(50))
    found = source(served).open_table("posts", 2021)
    assert found is not None
    assert (found.rows, found.modified) == (50, LOADED)
    short = replace(found, rows=51)

    class Short:
        name, probe, earlier_files = "bigquery", staticmethod(lambda: None), staticmethod(lambda _year: iter(()))

        def open_table(self, _table: str, _year: int) -> BulkTable:
            return short

    with pytest.raises(SourceUnusable, match="gave 50 rows of posts and says that there are 51"):
        bring(Short(), layout)


def test_columns_come_typed_and_new_ones_are_kept(mirror: Mirror, served: Served, layout: Layout) -> None:
    """A column of another type, a new one and a nested one do not stop a read; rows without id are counted."""
    rows = posts(30)
    rows = rows.append_column("score_text", pa.array(["x"] * 30))
    rows = rows.append_column("media_asset", pa.array([{"id": 4, "at": LOADED}] * 30))
    rows = rows.set_column(rows.schema.get_field_index("score"), "score", pa.array(["many"] + ["7"] * 29))
    hidden = rows.slice(0, 1).set_column(0, "id", pa.array([None], pa.int64()))
    load(mirror, "posts", pa.concat_tables([rows, hidden]))
    report = bring(source(served), layout)
    found = {row["id"]: row for row in pq.read_table(layout.posts(2021)).to_pylist()}
    assert (report.rows, report.rejected, report.drifted) == (30, 1, 30)
    assert sorted({row["score"] for row in found.values()}, key=str) == [7, None]
    assert '"media_asset":{"id":4,"at":"2022-01-10T00:00:00+00:00"}' in found[3]["extra"]
    assert layout.rejected(2021).read_bytes().count(b"\n") == 1


def test_batches_are_typed_at_once_like_one_by_one(mirror: Mirror, served: Served, layout: Layout) -> None:
    """The same rows give the same posts, whether a strange column forces the slow path or not."""
    load(mirror, "posts", posts(40))
    bring(source(served), layout)
    fast = pq.read_table(layout.posts(2021))
    load(mirror, "posts", posts(40).append_column("rating", pa.nulls(40, pa.int64())))
    bring(source(served), layout)
    assert pq.read_table(layout.posts(2021)).equals(fast)


def test_stale_mirror_is_refused(mirror: Mirror, served: Served, layout: Layout) -> None:
    """Posts last loaded before the year ended are refused, with advice; so it is with the public mirror since 2022."""
    load(mirror, "posts", posts(100, last=datetime(2021, 8, 1, tzinfo=UTC)), at=datetime(2021, 8, 2, tzinfo=UTC))
    with pytest.raises(SourceStale, match=r"stale.*written 2021-08-02.*DANBOORU_POSTS_SOURCE=api"):
        bring(source(served), layout)
    assert not layout.posts(2021).exists()


def test_table_of_another_time_or_place_is_named(mirror: Mirror, served: Served, layout: Layout) -> None:
    """A missing dataset, missing posts and an interrupted read each say so; private tables are never requested."""
    with pytest.raises(SourceUnusable, match="check DANBOORU_BIGQUERY_TABLES"):
        source(served).probe()
    load(mirror, "users", pa.table({"id": [1]}))
    source(served).probe()
    with pytest.raises(SourceUnusable, match="has no posts"):
        bring(source(served), layout)
    load(mirror, "posts", posts(50))
    mirror.fail_next(Failure("rows", "DATA_LOSS", message="a broken disk"))
    with pytest.raises(SourceUnreachable, match=r"stopped sending posts.*a broken disk"):
        bring(source(served), layout)
    reports = export_side_tables(source(served), layout, 2021, progress=lambda _line: None)
    assert {report.status for report in reports.values()} == {"absent"}


@pytest.mark.parametrize("method", ["session", "rows"])
@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        ("UNAUTHENTICATED", SourceBlocked, r"credentials \(.*on purpose\); run gcloud auth application-default login"),
        ("PERMISSION_DENIED", SourceBlocked, r"refuses us \(.*on purpose\); check .*bigquery\.readsessions\.create"),
        ("NOT_FOUND", SourceUnusable, r"on purpose; check DANBOORU_BIGQUERY_TABLES"),
        ("INVALID_ARGUMENT", SourceUnusable, r"\(.*on purpose\); check DANBOORU_BIGQUERY_TABLES"),
        ("FAILED_PRECONDITION", SourceUnreachable, r"stopped sending posts \(.*on purpose\); run again"),
        ("RESOURCE_EXHAUSTED", SourceUnreachable, r"stopped sending posts \(.*on purpose\); run again"),
    ],
)
def test_a_refused_read_names_what_is_refused(
    mirror: Mirror, served: Served, layout: Layout, method: str, code: str, kind: type[Exception], advice: str
) -> None:
    """What a later run would meet as well is no broken read: the line names the login, the right or the setting."""
    load(mirror, "posts", posts(3_000))
    mirror.fail_next(Failure(method, code, after_rows=1_000 if method == "rows" else 0))
    with pytest.raises(kind, match=advice) as raised:
        bring(source(served), layout)
    assert type(raised.value) is kind
    assert not layout.posts(2021).exists()


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        ("UNAUTHENTICATED", SourceBlocked, "run gcloud auth application-default login"),
        ("PERMISSION_DENIED", SourceBlocked, r"bigquery\.tables\.get"),
        ("INVALID_ARGUMENT", SourceUnusable, "check DANBOORU_BIGQUERY_TABLES"),
    ],
)
def test_a_refused_look_at_the_tables_says_the_same(
    mirror: Mirror, served: Served, code: str, kind: type[Exception], advice: str
) -> None:
    """The service that tells what tables there are is refused in the words of the one that reads them."""
    load(mirror, "posts", posts(5))
    mirror.fail_next(Failure("tables", code))
    with pytest.raises(kind, match=advice):
        source(served).probe()


def test_settings_choose_it(monkeypatch: pytest.MonkeyPatch, served: Served, mirror: Mirror, layout: Layout) -> None:
    """BIGQUERY_EMULATOR_HOST and DANBOORU_BIGQUERY_GRPC are all that it takes to use an emulator."""
    load(mirror, "posts", posts(20))
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", served.rest_url.removeprefix("http://"))
    settings = Settings(root=layout.root, posts_source="bigquery", bigquery_grpc=served.grpc_address)
    assert bring(open_bulk("bigquery", settings, now=NOW), layout).rows == 20


def test_mirror_and_api_tell_the_same(tmp_path: Path, booru_files: Path) -> None:
    """A site's API and its mirror give the same posts, tags and pools, apart from columns that the API added since."""
    found: dict[str, pa.Table] = {}
    tables: dict[str, bytes] = {}
    with start_booru(posts=40, year=2021, files=booru_files, rate_limit=False, bigquery=True) as booru:
        rest, grpc_address = booru.bigquery
        for name in ("api", "bigquery"):
            settings = Settings(root=tmp_path / name, api_url=booru.api_url, cdn_url=booru.cdn_url, posts_source=name)
            mirror = BigQuerySource(DATASET, emulator=rest, grpc_endpoint=grpc_address, now=datetime.now(UTC))
            with RunContext(settings) as context:
                reading = context.source if name == "api" else mirror
                bring(reading, context.layout)
                export_side_tables(reading, context.layout, 2021, progress=lambda _line: None)
                found[name] = pq.read_table(context.layout.posts(2021)).drop_columns(["extra"])
                tables |= {
                    f"{name} {table}": context.layout.side_table(2021, table).read_bytes()
                    for table in ("tags", "pools")
                }
    assert found["api"].num_rows > 30
    assert found["api"].equals(found["bigquery"])
    assert sorted(tables["api tags"].splitlines()) == sorted(tables["bigquery tags"].splitlines())
    assert len(tables["api pools"].splitlines()) == len(tables["bigquery pools"].splitlines()) > 0

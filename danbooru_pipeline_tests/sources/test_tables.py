"""Side tables: all that the source has, in the dialect of 2021; absent tables are distinguished from failed ones."""

import socket
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.table_reports import TableReport
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import SIDE_TABLES, ApiSource, export_side_tables
from danbooru_pipeline.sources.parts import Parts
from danbooru_pipeline_tests.support.raw_server import RawServer, json_by, make_answer, serving
from danbooru_pipeline_tests.support.sites import Site


def export(source: Any, layout: Layout) -> dict[str, TableReport]:
    """Export without progress."""
    return export_side_tables(source, layout, 2021, progress=lambda _line: None)


def lines_of(layout: Layout, table: str) -> list[dict[str, Any]]:
    """The records of a table's file."""
    return [msgspec.json.decode(line) for line in layout.side_table(2021, table).read_bytes().splitlines()]


def test_tags_and_pools_come_in_the_dialect_of_2021(context: RunContext, booru: BooruProcess) -> None:
    """By id, integers as strings, times as the mirror wrote them, nulls left out."""
    reports = export(context.source, context.layout)
    assert list(reports) == list(SIDE_TABLES)
    headers = {"User-Agent": "tests/1 (me@example.org)"}
    for table in ("tags", "pools"):
        answer = httpx.get(f"{booru.api_url}/{table}.json?limit=1000", headers=headers, trust_env=False)
        truth = sorted(answer.json(), key=lambda record: int(record["id"]))
        lines = lines_of(context.layout, table)
        assert reports[table] == TableReport("ok", rows=len(truth))
        assert [line["id"] for line in lines] == [str(record["id"]) for record in truth]
        for line, record in zip(lines, truth, strict=True):
            assert None not in line.values()
            assert line["name"] == record["name"]
            assert set(line) == {name for name, value in record.items() if value is not None}
            assert datetime.fromisoformat(line["created_at"].replace(" UTC", "+00:00")) == datetime.fromisoformat(
                record["created_at"]
            )
    assert all(isinstance(i, str) for line in lines_of(context.layout, "pools") for i in line["post_ids"])


def test_table_that_is_not_offered_is_absent(context: RunContext) -> None:
    """It is reported as absent, and the file of an earlier export is removed, since it would be from another time."""
    old = context.layout.side_table(2021, "artists")
    old.parent.mkdir(parents=True)
    old.write_bytes(b"{}\n")
    reports = export(context.source, context.layout)
    assert reports["artists"] == TableReport("absent")
    assert not old.exists()
    written = msgspec.json.decode(context.layout.side_tables_report(2021).read_bytes())["tables"]
    assert {name: table["status"] for name, table in written.items()} == {n: r.status for n, r in reports.items()}


@pytest.mark.parametrize("step", [-1, 1])
def test_pages_are_put_in_the_order_of_ids(site: Site, layout: Layout, step: int) -> None:
    """Whether a server answers in ascending or descending order, the file is ascending; ids may be text."""

    def give(_path: str, params: dict[str, str]) -> Any:
        first = int(params["page"][1:] or 49) + 1
        return [{"id": str(i), "n": None} for i in range(first, min(first + 7, 51))][::step]

    source, _ = site(give)
    export(source, layout)
    assert lines_of(layout, "tags") == [{"id": str(i)} for i in range(1, 51)]


def test_table_that_breaks_off_is_an_error_and_leaves_no_half(site: Site, layout: Layout) -> None:
    """A table that is offered and cannot be read to its end fails the export; the others are written first."""

    def give(path: str, params: dict[str, str]) -> Any:
        if path == "/tags.json" and params["page"] != "a0":
            return {"success": False}
        return [] if params["page"] == "a1" else [{"id": 1}]

    source, _ = site(give)
    with pytest.raises(SourceUnusable, match="tags"):
        export(source, layout)
    assert not layout.side_table(2021, "tags").exists()
    assert lines_of(layout, "notes") == [{"id": "1"}]
    written = msgspec.json.decode(layout.side_tables_report(2021).read_bytes())["tables"]
    assert (written["tags"]["status"], written["notes"]["status"]) == ("failed", "ok")


def test_table_that_ignores_the_cursor_is_an_error(site: Site, layout: Layout) -> None:
    """A server that always gives the same page is an error, not an endless loop."""
    source, server = site(lambda _path, _params: [{"id": 1}])
    with pytest.raises(SourceUnusable, match="no ids above 1"):
        export(source, layout)
    assert len(server.requests) == 4 * len(SIDE_TABLES)  # is it there, how far does it go, and two pages


def test_empty_table_is_a_table(site: Site, layout: Layout) -> None:
    """A table without records exists, with no lines."""
    source, _ = site(lambda _path, _params: [])
    assert export(source, layout)["pools"] == TableReport("ok")
    assert layout.side_table(2021, "pools").read_bytes() == b""


def test_refused_table_is_named_and_the_others_come(site: Site, layout: Layout) -> None:
    """A 403 for one table fails that table only; it does not block the client, and the others are written."""

    def answer(server: RawServer, connection: socket.socket, target: str, headers: dict[str, str]) -> None:
        if target.startswith("/tags.json"):
            connection.sendall(make_answer(status=403))
        else:
            json_by(lambda _path, _params: [])(server, connection, target, headers)

    with serving(answer) as server:
        settings = Settings(root=layout.root, api_url=server.url, cdn_url=server.url, retry_seconds=0.1)
        with BooruClient(settings) as client, pytest.raises(SourceUnusable, match=r"tags\.json answers HTTP 403"):
            export(ApiSource(client), layout)
    written = msgspec.json.decode(layout.side_tables_report(2021).read_bytes())["tables"]
    assert (written["tags"]["status"], written["pools"]["status"]) == ("failed", "ok")


def test_killed_export_goes_on_where_it_stopped(site: Site, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and parts already read are not requested again, the file is the same, and progress is reported."""
    monkeypatch.setattr("danbooru_pipeline.sources.tables.PAGES_PER_PART", 2)
    broken = {"after": "a300"}

    def give(path: str, params: dict[str, str]) -> Any:
        page = params["page"]
        if path == "/notes.json" and page == broken.get("after"):
            return {"success": False}
        if page.startswith("b"):
            return [{"id": 500}]
        first = int(page[1:] or 499) + 1
        return [{"id": i} for i in range(first, min(first + 100, 501))]

    source, server = site(give)
    said: list[str] = []
    with pytest.raises(SourceUnusable, match="notes"):
        export_side_tables(source, layout, 2021, progress=said.append)
    assert "tags: up to id 200 of 500, about 40 %" in said
    broken.clear()
    asked = len(server.requests)
    reports = export(source, layout)
    again = [target for target, _ in server.requests[asked:]]
    assert reports["notes"] == reports["tags"] == TableReport("ok", rows=500)
    assert [line["id"] for line in lines_of(layout, "notes")] == [str(i) for i in range(1, 501)]
    assert not any("/tags.json" in target for target in again)
    assert "page=a200" in again[0]
    assert not layout.sweep(2021, "tables").exists()


def test_part_that_is_not_what_was_read_is_read_again(tmp_path: Path) -> None:
    """Cases sweep-part-trunc, -empty and -wrong: a read resumes before the damaged part, which is named."""
    identity = {"address": "x"}
    parts = Parts(tmp_path / "notes", ".jsonl")
    parts.resume(identity, lambda _line: None)
    parts.add(0, 10, data=b"a\n", rows=1)
    parts.add(10, 20, data=b"b\n", rows=1)
    parts.add(20, 30, data=b"c\n", rows=1)
    parts.path(10, 20).write_bytes(b"b")
    said: list[str] = []
    assert parts.resume(identity, said.append) == 10
    assert "read again from id 10" in said[0]
    assert [path.name for path in parts.paths()] == [parts.path(0, 10).name]


def test_rows_that_do_not_add_up_are_no_table(tmp_path: Path) -> None:
    """Case side_tables_race: rows are counted against what the pages gave before a table is called ok."""
    parts = Parts(tmp_path / "notes", ".jsonl")
    parts.resume({"address": "x"}, lambda _line: None)
    parts.add(0, 10, data=b"a\nb\n", rows=2)
    parts.require_rows("notes", 2)
    with pytest.raises(SourceUnusable, match="its pages gave 2"):
        parts.require_rows("notes", 1)

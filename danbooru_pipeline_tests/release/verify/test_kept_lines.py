"""`raw` and `extra` of posts say what their columns say, whatever dialect they are of and whether they are written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.io.typed_json import parse
from danbooru_pipeline.posts import LineTyper, encode_2021_complete, type_batch
from danbooru_pipeline.posts.completed import completed
from danbooru_pipeline.posts.schema import POST_SCHEMA, SITE_COLUMNS
from danbooru_pipeline.release import Kind, verify_release
from danbooru_pipeline.release.verify.kept_lines import contradictions
from danbooru_pipeline.sources.json_lines import JsonLines
from danbooru_pipeline_tests.support.damage import Table, edit_table, lines_of, pack_again, put, resum
from danbooru_pipeline_tests.support.lines_of import ODD_RECORDS, REAL_2017, RECORDS_2017, RECORDS_2021, line_of
from danbooru_pipeline_tests.support.odd_batches import batches
from danbooru_pipeline_tests.support.odd_lines import blocks_of_odd_lines

TYPER = LineTyper()
CDN = "https://cdn.example"
Row = dict[str, Any]


@given(st.lists(RECORDS_2021 | RECORDS_2017 | ODD_RECORDS, max_size=8), st.booleans())
def test_rows_of_any_source_do_not_contradict_what_they_keep(records: list[Row], says_banned: bool) -> None:  # noqa: FBT001
    """Whatever lines hold, the rows that a sweep makes of them are right."""
    lines = JsonLines(b"\n".join(map(line_of, records)), "posts.json", cdn_url=CDN)
    assert list(contradictions(completed(lines.posts(TYPER).table, says_banned=says_banned))) == []


@given(blocks_of_odd_lines(), st.booleans())
def test_rows_of_lines_in_any_form_do_not_contradict_what_they_keep(block: bytes, says_banned: bool) -> None:  # noqa: FBT001
    """Whatever forms the values of lines have, and whether a line is kept or not, its row is right."""
    for cdn_url in ("", CDN):
        table = JsonLines(block, "posts.json", cdn_url=cdn_url).posts(TYPER).table
        assert list(contradictions(completed(table, says_banned=says_banned))) == []


@given(batches(), st.booleans())
def test_rows_of_tables_do_not_contradict_what_they_keep(batch: pa.RecordBatch, says_banned: bool) -> None:  # noqa: FBT001
    """Whatever types the columns of a table have, its rows are right."""
    assert list(contradictions(completed(type_batch(batch).table, says_banned=says_banned))) == []


@pytest.mark.parametrize("name", [name for name in SITE_COLUMNS if name.startswith("tag_")])
@pytest.mark.parametrize("tags", [[{"id": 1, "name": "1girl", "category": 0}], ["1girl"], []])
def test_a_list_of_tags_fills_columns_whatever_they_say_themselves(name: str, tags: list[Any]) -> None:
    """What a tag column says in another type stays in `extra`, beside the value that follows from the list."""
    head = {"id": 7, "created_at": "2020-01-01 00:00:00 UTC", "md5": "1" * 32, "file_ext": "JPG", "file_url": 5}
    lines = JsonLines(line_of({**head, "tags": tags, name: ["1girl"]}), "posts.json", cdn_url=CDN)
    table = completed(lines.posts(TYPER).table, says_banned=False)
    (row,) = table.to_pylist()
    assert {name, "file_url"} <= json.loads(row["extra"]).keys()
    assert row[name] is not None
    assert row["file_url"] == f"{CDN}/original/11/11/{'1' * 32}.JPG"
    assert list(contradictions(table)) == []
    (written,) = encode_2021_complete(table).splitlines()
    assert parse(written)[name] == str(row[name])  # and says it once
    lies = {name: 9 if isinstance(row[name], int) else "solo", "tags": None, "extra": json.dumps({name: row[name]})}
    for column, value in lies.items():
        lie = pa.Table.from_pylist([{**row, column: value}], schema=table.schema)
        assert [id_ for id_, _ in contradictions(lie)] == [7]


def test_a_line_that_says_a_key_twice_is_not_kept() -> None:
    """Some readers would take its first value: it is written anew, with the value that was taken."""
    line = b'{"id":"7","score":"9","created_at":"2020-01-01 00:00:00 UTC","score":"4"}'
    table = TYPER.type(line, name="posts.json").table
    assert (table["score"].to_pylist(), table["raw"].to_pylist()) == ([4], [None])


def forged(change: Callable[[Row], Row], *, shown: bool = True) -> Table:
    """A change of the first row that shows a file, or of the first that does not."""

    def changed(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        row = next(row for row in rows if bool(row["md5"]) is shown)
        row |= change(dict(row))
        return pa.Table.from_pylist(rows, schema=table.schema)

    return changed


def line(row: Row) -> str:
    """The line of a row as a release has it."""
    table = pa.Table.from_pylist([row], schema=POST_SCHEMA)
    return encode_2021_complete(table).decode().strip()


ATTACKS: dict[str, Callable[[Row], Row]] = {
    "score": lambda row: {"score": 4242, "raw": line(row)},
    "source": lambda row: {"source": "https://lie.example/", "raw": line(row)},
    "is_deleted": lambda row: {"is_deleted": True, "raw": line(row)},
    "no json": lambda _: {"raw": "taken down by Jane Roe"},
    "another post": lambda row: {"raw": line({**row, "id": 2003})},
    "twice": lambda row: {"raw": '{"score":"9",' + line(row)[1:]},
    "not in extra": lambda row: {"raw": line(row)[:-1] + ',"why":"Jane Roe"}'},
    "to extra": lambda row: {"uploader_id": None, "extra": json.dumps({"uploader_id": str(row["uploader_id"] or 5)})},
    "both": lambda _: {"extra": '{"score":"9"}'},
    "empty extra": lambda _: {"extra": "{}"},
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_a_row_keeps_cannot_say_something_else(later: Path, name: str) -> None:
    """A line in `raw`, or a value in `extra`, that the columns do not have is found, though the JSON lines have it."""
    path = min(later.glob("parquet/posts-*"))
    edit_table(later, "parquet/posts-*", forged(ATTACKS[name]))
    put(lines_of(later), encode_2021_complete(pq.read_table(path)))
    pack_again(later)
    resum(later)
    found = verify_release(later, threads=1).findings
    assert any(f.kind == Kind.METADATA_DIFFERS and f.message.endswith(("columns", "of a post")) for f in found), found


def test_raw_that_is_not_written_holds_nothing_else(later: Path) -> None:
    """In a row that lacks a key which every line has, `raw` is written nowhere, and is compared all the same."""
    edit_table(later, "parquet/posts-*", forged(lambda _: {"raw": "taken down by Jane Roe"}, shown=False))
    resum(later)
    found = verify_release(later, threads=1).findings
    assert [f.kind for f in found if f.kind != Kind.SIGNATURE] == [Kind.METADATA_DIFFERS]


def test_extra_that_is_no_object_is_found() -> None:
    """What no source leaves there is named by its post, and ends in no traceback."""
    row = completed(
        TYPER.type(line_of({"id": "7", "created_at": "2020-01-01 00:00:00 UTC"}), name="x").table, says_banned=False
    )
    for text in ("Jane Roe", "[]", "{}", '{"score":null}', '{"md5":""}', '{"id":"8"}'):
        lie = row.set_column(row.schema.get_field_index("extra"), "extra", pa.array([text]))
        assert [id_ for id_, _ in contradictions(lie)] == [7]


def test_lists_in_a_line_of_2017_are_those_of_its_row() -> None:
    """Tags, pools and favourites of a kept line are compared, too; a key that it has besides is in `extra`."""
    odd = REAL_2017.splitlines()[0][:-1] + b',"new":"1"}'
    table = completed(JsonLines(odd, "posts.json", cdn_url=CDN).posts(TYPER).table, says_banned=False)
    assert table["raw"].null_count == 0
    assert list(contradictions(table)) == []
    (row,) = table.to_pylist()
    for name, value in {"favs": [1], "pools": [1], "tags": row["tags"][1:], "extra": None, "file_url": "x"}.items():
        lie = pa.Table.from_pylist([{**row, name: value}], schema=table.schema)
        assert list(contradictions(lie)) == [(row["id"], f"has another {name} in its raw than in its columns")]


def test_an_address_is_made_of_the_extension_in_any_form() -> None:
    """Of a kept line of 2017 the address follows before the extension is written as the site does."""
    odd = REAL_2017.splitlines()[0].replace(b'"file_ext":"', b'"file_ext": ".X')
    table = completed(JsonLines(odd, "posts.json", cdn_url=CDN).posts(TYPER).table, says_banned=False)
    (row,) = table.to_pylist()
    assert row["raw"] == odd.decode()
    assert row["file_url"].endswith(f"{row['md5']}..Xjpg")
    assert row["file_ext"] == "xjpg"
    assert list(contradictions(table)) == []
    lie = pa.Table.from_pylist([{**row, "file_url": row["file_url"] + "x"}], schema=table.schema)
    assert list(contradictions(lie)) == [(row["id"], "has another file_url in its raw than in its columns")]

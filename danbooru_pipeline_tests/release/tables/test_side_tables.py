"""Side tables as typed Parquet: the type of a column follows from its name, and from all of its values."""

import json
from datetime import UTC
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.errors import ReleaseRefused
from danbooru_pipeline.posts import TIMESTAMP
from danbooru_pipeline.release.tables import side_tables
from danbooru_pipeline.release.tables.json_columns import typed
from danbooru_pipeline.release.tables.side_tables import one_by_one, write_side_tables

KINDS = (pa.int64(), pa.bool_(), pa.string(), TIMESTAMP, pa.list_(pa.int64()), pa.list_(pa.string()))
instants = st.datetimes(timezones=st.just(UTC)).flatmap(
    lambda at: st.sampled_from(
        [
            at.isoformat(),
            at.isoformat(timespec="milliseconds"),
            at.isoformat(timespec="seconds").replace("+00:00", " UTC"),
            at.isoformat(" ").replace("+00:00", " UTC"),
            at.isoformat().replace("+00:00", "Z"),
            at.isoformat().replace("+00:00", "-05:30"),
            at.isoformat().replace("+00:00", ""),
            at.isoformat().replace("-02-", "-13-"),
            at.isoformat().replace(":59", ":60"),
        ]
    )
)
numbers = st.one_of(st.integers(-(2**65), 2**65), st.sampled_from([0, -(2**63), 2**63 - 1, 2**63]))
texts = st.one_of(
    numbers.map(str), numbers.map(lambda n: f"0{n}"), st.sampled_from([" 1", "+1", "1_0", "-0", "", "٣"]), st.text()
)
values = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    texts,
    instants,
    st.floats(allow_nan=False, allow_infinity=False),
    st.just({"a": 1}),
)
columns = st.one_of(
    st.lists(values),
    st.lists(st.one_of(st.none(), texts)),
    st.lists(st.one_of(st.none(), numbers.map(str))),
    st.lists(st.one_of(st.none(), instants)),
    st.lists(st.one_of(st.none(), st.booleans())),
    st.lists(st.one_of(st.none(), st.lists(st.one_of(numbers.map(str), st.none())))),
    st.lists(st.one_of(st.none(), st.lists(values))),
)


@given(columns, st.sampled_from(KINDS))
def test_all_values_at_once_are_what_each_is(column: list[Any], kind: pa.DataType) -> None:
    """Whatever JSON has: the columns that are made at once are those that are made value by value."""
    at_once = typed(column, kind)
    if at_once is not None:
        assert at_once.equals(one_by_one(column, kind))
        assert at_once.type == kind


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (["1", None, "-5"], pa.int64()),
        ([1, None, 2], pa.int64()),
        ([None, None], TIMESTAMP),
        (["2020-01-02 03:04:05.678 UTC", "2020-01-02T03:04:05-05:00", None], TIMESTAMP),
        ([["1"], None, []], pa.list_(pa.int64())),
        ([True, None], pa.bool_()),
        (["a", None, ""], pa.string()),
    ],
)
def test_usual_forms_are_made_at_once(column: list[Any], kind: pa.DataType) -> None:
    """What tables have millions of is not looked at one by one."""
    assert typed(column, kind) is not None


@pytest.mark.parametrize("nested", [False, True])
def test_objects_with_keys_of_their_own_are_not_made_one(*, nested: bool) -> None:
    """Ten thousand are looked at one by one: Arrow would give every row the keys of all, and fill the memory."""
    objects = [{f"key {number}": number} for number in range(10_000)]
    column = [[each] for each in objects] if nested else objects
    before = pa.total_allocated_bytes()
    pa.default_memory_pool().release_unused()
    for kind in KINDS:
        assert typed(column, kind) is None
    assert pa.total_allocated_bytes() == before


@pytest.mark.parametrize(("odd", "kind"), [(["\ud800"], pa.string()), ([["\ud800"]], pa.list_(pa.string()))])
def test_what_arrow_refuses_is_looked_at_one_by_one(odd: list[Any], kind: pa.DataType) -> None:
    """Half a character is no error of the whole table."""
    assert typed(odd, kind) is None


def written(records: list[dict[str, Any]], *, few: int, table: str = "things") -> pa.Table:
    """A table, read so many bytes at a time."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(side_tables, "BLOCK_BYTES", few)
        source = Path(folder) / "lines.json"
        source.write_text("".join(f"{json.dumps(record)}\n" for record in records))
        assert write_side_tables(Path(folder), {table: source}) == {table: len(records)}
        return pq.read_table(Path(folder) / f"parquet/{table}-00000-of-00001.parquet", partitioning=None)


records = st.lists(
    st.dictionaries(st.sampled_from(["id", "post_ids", "created_at", "name", "is_deleted", "score"]), values),
    min_size=1,
)


@given(records.filter(any), st.integers(1, 200))
def test_a_table_does_not_depend_on_how_much_is_read_at_a_time(rows: list[dict[str, Any]], few: int) -> None:
    """Types, order of columns and values are the same, wherever an odd value lies."""
    whole = written(rows, few=2**20)
    assert written(rows, few=few).equals(whole)
    assert whole.schema.names == list(dict.fromkeys(name for row in rows for name in row))


def test_types_follow_names_unless_a_value_does_not_fit() -> None:
    """Numbers, times, lists and flags; one odd value makes a column of texts, and loses nothing."""
    usual = {
        "id": "7",
        "created_at": "2020-01-02 03:04:05.678 UTC",
        "post_ids": ["1", "2"],
        "other_names": ["a"],
        "is_deleted": False,
        "body": "text",
    }
    table = written([usual, {"id": "8"}], few=1)
    assert [str(field.type) for field in table.schema] == [
        "int64",
        str(TIMESTAMP),
        "list<element: int64>",
        "list<element: string>",
        "bool",
        "string",
    ]
    odd = {"id": "x", "created_at": "once", "post_ids": ["y"], "other_names": "b", "is_deleted": "no", "body": {"a": 1}}
    assert written([usual, odd], few=1).to_pylist() == [
        {**usual, "id": "7", "other_names": '["a"]', "is_deleted": "false"},
        {**odd, "body": '{"a":1}'},
    ]


def test_an_instant_that_utc_cannot_hold_makes_its_column_text() -> None:
    """It is no instant that can be read, like any other text."""
    far = "9999-12-31T23:59:59.000-05:00"
    table = written([{"id": "1", "created_at": far}, {"id": "2", "created_at": "2020-01-01 00:00:00 UTC"}], few=2**20)
    assert table.schema.field("created_at").type == pa.string()
    assert table["created_at"].to_pylist() == [far, "2020-01-01 00:00:00 UTC"]


@pytest.mark.parametrize("few", [20, 2**20])
def test_a_line_that_is_no_object_is_named(tmp_path: Path, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One error with file and line, wherever it is in what is read at a time; it says what to do."""
    monkeypatch.setattr(side_tables, "BLOCK_BYTES", few)
    source = tmp_path / "notes.json"
    source.write_text('{"id": "1"}\n' * 4 + "[1]\n" + '{"id": "2"}\n')
    with pytest.raises(ReleaseRefused, match=r"notes\.json line 5 is not a JSON object .* build `side_tables` again"):
        write_side_tables(tmp_path, {"notes": source})


def test_lines_without_a_field_are_an_error(tmp_path: Path) -> None:
    """There is nothing to make a table of, and a release would not agree with itself."""
    source = tmp_path / "notes.json"
    source.write_text("{}\n{}\n")
    with pytest.raises(ReleaseRefused, match=r"notes\.json has 2 lines without a field; build `side_tables` again"):
        write_side_tables(tmp_path, {"notes": source})

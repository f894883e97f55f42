"""Rows that arrive as Arrow become the same rows whatever types their columns have."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.posts import Typed, as_json, parse_record, require_columns, require_values, type_batch
from danbooru_pipeline.posts.record import RejectedRow
from danbooru_pipeline.posts.schema import SITE_COLUMNS
from danbooru_pipeline_tests.support.odd_batches import MADE, NEVER, TAGS, UTC_TIME, batches


def as_typed(typed: Typed) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows, in a fixed order, with `extra` as the object that it is; and why others were rejected."""
    rows = [row | {"extra": json.loads(row["extra"] or "{}")} for row in typed.table.to_pylist()]
    return sorted(rows, key=repr), sorted(row.reason for row in typed.rejected)


def one_by_one(batch: pa.RecordBatch) -> Typed:
    """The rows of a batch as records, a value at a time; a null of an unknown column is none."""
    records = [
        {name: value for name, value in record.items() if value is not None or name in SITE_COLUMNS}
        for record in map(as_json, batch.to_pylist())
    ]
    rows = [parse_record(record) for record in records]
    kept = [row for row in rows if not isinstance(row, RejectedRow)]
    table = pa.Table.from_pylist(kept, schema=type_batch(batch).table.schema)
    return Typed(table, tuple(row for row in rows if isinstance(row, RejectedRow)), len(rows))


@given(batches())
def test_a_batch_has_the_rows_that_its_records_have(batch: pa.RecordBatch) -> None:
    """Rows typed at once are those that come one value at a time, for any mix of column types."""
    typed = type_batch(batch)
    assert as_typed(typed) == as_typed(one_by_one(batch))
    assert typed.read == batch.num_rows == typed.table.num_rows + len(typed.rejected)


@pytest.mark.parametrize("kind", [pa.int64(), pa.string()])
def test_lists_of_tags_are_the_dialect_until_2020(kind: pa.DataType) -> None:
    """A list of tags gives tag strings, pools and favs, and 0 and 1970 are none, whatever type the ids have."""
    columns = {
        "id": pa.array([1, 2, 3], pa.int64()).cast(kind),
        "created_at": pa.array([MADE] * 3, UTC_TIME),
        "updated_at": pa.array([NEVER, MADE, MADE], UTC_TIME),
        "parent_id": pa.array([0, 7, 0], pa.int64()),
        "tag_string": pa.array([None, None, "solo"]),
        "tags": pa.array([[{"id": 1, "name": "guro", "category": 0}], [], None], TAGS),
        "pools": pa.array([["1"], [], None], pa.list_(pa.string())),
        "favs": pa.array([["5"], [], None], pa.list_(pa.string())),
    }
    table = type_batch(pa.RecordBatch.from_pydict(columns)).table.sort_by("id")
    told = ("tag_string", "tag_count", "tags", "pools", "favs", "parent_id", "updated_at", "extra")
    rows: list[tuple[Any, ...]] = [
        ("guro", 1, [{"id": 1, "name": "guro", "category": 0}], [1], [5], None, None, None),
        ("", 0, [], [], [], 7, MADE, None),
        ("solo", None, None, None, None, 0, MADE, None),
    ]
    assert table.select(told).to_pylist() == [dict(zip(told, row, strict=True)) for row in rows]


@pytest.mark.parametrize("kind", [pa.int64(), pa.string()])
def test_a_null_for_banned_is_kept_where_a_file_is_shown(kind: pa.DataType) -> None:
    """Whether a shown file is banned is unknown where the column is null, whatever type the ids have."""
    columns = {
        "id": pa.array([1, 2, 3], pa.int64()).cast(kind),
        "created_at": pa.array([MADE] * 3, UTC_TIME),
        "md5": pa.array(["a" * 32, "b" * 32, ""]),
        "is_banned": pa.array([None, False, None], pa.bool_()),
    }
    table = type_batch(pa.RecordBatch.from_pydict(columns)).table.sort_by("id")
    assert table["extra"].to_pylist() == ['{"is_banned":null}', None, None]
    assert table["md5"].to_pylist() == ["a" * 32, "b" * 32, None]


def posts_with(**columns: pa.Array) -> pa.RecordBatch:
    """Two posts, with these columns besides or instead of their own."""
    plain = {
        "id": pa.array([1, 2]),
        "created_at": pa.array([MADE] * 2, UTC_TIME),
        "md5": pa.array(["a" * 32, "b" * 32]),
    }
    return pa.RecordBatch.from_pydict({**plain, **columns})


@pytest.mark.parametrize("kind", [pa.float64(), pa.decimal128(38, 9)])
def test_integral_numbers_are_integers_whatever_type_they_come_in(kind: pa.DataType) -> None:
    """An id of 2.0 is 2, a score of 7.0 is 7, and one of 8.5 is no score and is kept."""
    numbers = {"id": pa.array([1, 2]).cast(kind), "score": pa.array([7.0, 8.5]).cast(kind)}
    typed = type_batch(posts_with(**numbers))
    assert typed.table.select(["id", "score"]).to_pylist() == [{"id": 1, "score": 7}, {"id": 2, "score": None}]
    assert [float(json.loads(text or "{}").get("score", 0)) for text in typed.table["extra"].to_pylist()] == [0, 8.5]
    assert as_json({"id": kind_of(kind, 3), "ids": [kind_of(kind, 4)]}) == {"id": 3, "ids": [4]}


@pytest.mark.parametrize(
    ("name", "values", "held"),
    [
        ("source", pa.array([Decimal("1.5"), None]), ["1.5"]),
        ("source", pa.array([b"ab", None]), ["YWI="]),
        ("parent_id", pa.array([b"\xd7m\xf8", None]), ["1234"]),
        ("score", pa.array([float("nan"), None]), [None]),
        ("score", pa.array([Decimal("8.5"), None]), "8.5"),
        ("score", pa.array([8.5, None]), 8.5),
        ("is_banned", pa.array([float("inf"), None]), [None]),
    ],
)
def test_a_misfit_is_never_held_as_what_would_fit(name: str, values: pa.Array, held: object) -> None:
    """What JSON has as null, or as a text that the column would take, is the item of a list in `extra`."""
    row, _ = type_batch(posts_with(**{name: values})).table.to_pylist()
    assert row[name] is None
    assert json.loads(row["extra"])[name] == held


def kind_of(kind: pa.DataType, number: int) -> Any:
    """A number as Arrow hands it out of a column of a type."""
    return pa.array([number]).cast(kind)[0].as_py()


def test_an_md5_as_sixteen_bytes_is_its_text() -> None:
    """Bytes of an MD5 become hexadecimal text; no bytes are no MD5, and bytes of another length refuse the column."""
    typed = type_batch(posts_with(md5=pa.array([bytes.fromhex("ab" * 16), b""], pa.binary())))
    assert typed.table["md5"].to_pylist() == ["ab" * 16, None]
    with pytest.raises(SourceUnusable, match=r"column md5 of posts is BYTES and holds a value of 20 bytes"):
        type_batch(posts_with(md5=pa.array([b"a" * 20, None], pa.binary())))


@pytest.mark.parametrize(
    ("column", "kind", "said"),
    [
        ("created_at", pa.timestamp("us"), "DATETIME, which is no time with its zone"),
        ("created_at", pa.date32(), "DATE, which is no time with its zone"),
        ("created_at", pa.int64(), "INT64, which is no time with its zone"),
        ("id", pa.bool_(), "BOOL, which is no integer"),
        ("md5", pa.int64(), "INT64, which is neither text nor bytes"),
    ],
)
def test_a_needed_column_of_a_type_that_holds_none_is_named(column: str, kind: pa.DataType, said: str) -> None:
    """Posts whose id, time or MD5 has such a type are refused by the name of the column and its type."""
    with pytest.raises(SourceUnusable, match=f"the column {column} of posts is {said}"):
        require_columns(posts_with(**{column: pa.nulls(2, kind)}).schema)
    require_columns(posts_with().schema)


BEYOND = pa.array([253_402_300_800_000_000, None], pa.int64()).cast(UTC_TIME)
NOT_UTF_8 = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xff", b"\xfe"], pa.binary()).buffers())


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (BEYOND, "times beyond the years 1 to 9999 in its column new"),
        (pa.StructArray.from_arrays([BEYOND], ["at"]), "times beyond the years 1 to 9999 in its column new"),
        (pa.ListArray.from_arrays([0, 1, 2], BEYOND), "times beyond the years 1 to 9999 in its column new"),
        (NOT_UTF_8, "holds what its types cannot .*UTF8"),
    ],
)
def test_values_that_a_type_cannot_hold_are_named(column: pa.Array, said: str) -> None:
    """Text that is not UTF-8 and times that no calendar has refuse a batch in one line."""
    with pytest.raises(SourceUnusable, match=said) as caught:
        require_values(posts_with(new=column))
    assert "\n" not in str(caught.value)
    require_values(posts_with(new=pa.array([MADE, None], UTC_TIME), day=pa.array([date(9999, 12, 31), None])))

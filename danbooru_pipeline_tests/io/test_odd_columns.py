"""Numbers, texts and marks of columns whose values are of several kinds: Arrow, SQL and JSON lines take the same."""

import random
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.io.bounded_parquet import read_untrusted, schema_of
from danbooru_pipeline.io.odd_columns import mark_sql, marks, number_sql, numbers, numbers_sql, text_sql, texts
from danbooru_pipeline.release.tables.json_columns import integers

WRITTEN = [
    *("0", "-0", "5", "-5", "05", "+5", " 5", "5 ", "5.0", "1e3", "1e-7", "0x10", "5_0", "٣", "", "x", "null", "true"),
    *(str(2**63 - 1), str(2**63), str(-(2**63)), str(-(2**63) - 1), str(2**64), "1" * 30, "1970-01-01", "5\n", None),
]


def test_a_number_is_one_in_every_reading() -> None:
    """What Arrow, DuckDB and the reader of lines take for a number in a column of texts is the same, and no more."""
    dice = random.Random(1)
    made = ["".join(dice.choices("0123456789-+. e", k=dice.randint(1, 20))) for _ in range(3000)]
    column = pa.array([*WRITTEN, *made], pa.string())
    found = numbers(column).to_pylist()
    assert found == integers(column.to_pylist())
    table = pa.table({"id": column})
    held = duckdb.from_arrow(table).select(number_sql("id", "VARCHAR")).fetchall()
    assert [value for (value,) in held] == found
    assert found[: len(WRITTEN)] == [
        *(0, None, 5, -5, *[None] * 14),
        *(2**63 - 1, None, -(2**63), *[None] * 6),
    ]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, None], pa.int32()), [1, None]),
        (pa.array(["7", "x"]).dictionary_encode(), [7, None]),
        (pa.array(["7"], pa.large_string()), [7]),
        (pa.array([True, False]), [None, None]),
        (pa.array([["7"]]), [None]),
        (pa.chunked_array([["1"], ["b"]]), [1, None]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_columns_of_other_types_have_no_numbers(column: Any, expected: list[int | None]) -> None:
    """Neither a mark nor a list is a number; integers of any width and texts of any form are."""
    assert numbers(column).to_pylist() == expected
    assert numbers(column).type == pa.int64()


def test_lists_names_and_marks() -> None:
    """A list that became text has its numbers; what is no text is a name as JSON has it; true is true in any type."""
    rows = duckdb.from_arrow(pa.table({"a": ['["1","x"]', "[2,3]", "4", None]}))
    assert rows.select(numbers_sql("a", "VARCHAR")).fetchall() == [([1, None],), ([2, 3],), (None,), (None,)]
    listed = duckdb.from_arrow(pa.table({"a": [["1", "05"], None]}))
    assert listed.select(numbers_sql("a", "VARCHAR[]")).fetchall() == [([1, None],), (None,)]
    for column, named, marked in (
        (pa.array([True, None]), ["true", None], [True, False]),
        (pa.array(["true", "True", "x", None]), ["true", "True", "x", None], [True, False, False, False]),
        (pa.array([["a", "b"]]), ['["a","b"]'], [False]),
    ):
        assert texts(column).to_pylist() == named
        assert marks(column).to_pylist() == marked
        held = duckdb.from_arrow(pa.table({"a": column})).select(f"{text_sql('a')}, {mark_sql('a')}").fetchall()
        assert [mark for _, mark in held] == marked


@pytest.mark.parametrize("ids", [["1", "x"], [True], [["a"]]])
def test_ids_of_a_side_table_may_be_odd(tmp_path: Path, ids: list[object]) -> None:
    """A side table of a release is read with ids that are no numbers, as it is written of such lines; posts are not."""
    (tmp_path / "parquet").mkdir()
    for table in ("notes", "posts"):
        pq.write_table(pa.table({"id": ids}), tmp_path / f"parquet/{table}-00000-of-00001.parquet")
    name = "parquet/notes-00000-of-00001.parquet"
    assert schema_of(tmp_path, name).names == ["id"]
    assert [row["id"] for table in read_untrusted(tmp_path, name) for row in table.to_pylist()] == ids
    with pytest.raises(ValueError, match="ids of another type"):
        schema_of(tmp_path, name.replace("notes", "posts"))

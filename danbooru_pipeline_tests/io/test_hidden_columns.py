"""Values that a Parquet file's own footer or page index denies are found, and honest files are not accused."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.io.hidden_columns import hidden_columns
from danbooru_pipeline_tests.support.damage import with_footer_of

MOMENT = datetime(2021, 12, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ([1, 2, 9], [1, 2, 3]),
        ([0, 2, 3], [1, 2, 3]),
        (["a", "z"], ["a", "b"]),
        ([b"a", b"\xff"], [b"a", b"b"]),
        ([True, False], [True, True]),
        ([[1], [9]], [[1], [2]]),
        ([{"a": 1, "b": 9}], [{"a": 1, "b": 2}]),
        ([MOMENT], [MOMENT + timedelta(days=1)]),
        ([0.5, -0.5], [0.5, 0.5]),
    ],
)
def test_a_footer_that_denies_a_value_is_seen(tmp_path: Path, held: list[object], said: list[object]) -> None:
    """A value beyond the smallest or largest that a footer states is named by row group and column, of any type."""
    table = pa.table({"id": pa.array(range(len(held))), "column": pa.array(held)})
    with_footer_of(tmp_path / "honest.parquet", table, table)
    assert list(hidden_columns(tmp_path, "honest.parquet")) == []
    lie = pa.table({"id": table["id"], "column": pa.array(said, table["column"].type)})
    with_footer_of(tmp_path / "lying.parquet", table, lie)
    seen = list(hidden_columns(tmp_path, "lying.parquet"))
    assert [(group, column.partition(".")[0]) for group, column in seen] == [(0, "column")]


@pytest.mark.parametrize("nulls", [0, 2])
def test_a_footer_with_another_count_of_nulls_is_seen(tmp_path: Path, nulls: int) -> None:
    """A row group that is said to have no null, or nothing else, is passed over by readers that look for the other."""
    path = tmp_path / "null.parquet"
    pq.write_table(pa.table({"column": pa.array([7, None])}), path, compression="none", use_dictionary=False)
    assert list(hidden_columns(tmp_path, path.name)) == []
    data, smallest = path.read_bytes(), (7).to_bytes(8, "little")
    # Thrift's compact form: a field after the one before, of 64 bits; then the number, in zigzag.
    one, other = (smallest + bytes([0x16, 2 * count]) for count in (1, nulls))
    assert data.count(one)
    path.write_bytes(data.replace(one, other))
    with pq.ParquetFile(path) as file:
        assert file.metadata.row_group(0).column(0).statistics.null_count == nulls
    assert list(hidden_columns(tmp_path, path.name)) == [(0, "column")]


def column_of(kind: pa.DataType, values: st.SearchStrategy[Any]) -> st.SearchStrategy[pa.Array]:
    """Columns of up to 40 values, or lists and objects of them, some of them null."""
    some = st.none() | values
    lists = st.lists(some, max_size=4)
    objects = st.fixed_dictionaries({"a": some, "b": some})
    struct = pa.struct([("a", kind), ("b", kind)])
    return st.one_of(
        st.lists(some, min_size=40, max_size=40).map(lambda each: pa.array(each, kind)),
        st.lists(st.none() | lists, min_size=40, max_size=40).map(lambda each: pa.array(each, pa.list_(kind))),
        st.lists(st.none() | objects, min_size=40, max_size=40).map(lambda each: pa.array(each, struct)),
        st.lists(st.none() | st.lists(st.none() | objects, max_size=3), min_size=40, max_size=40).map(
            lambda each: pa.array(each, pa.list_(struct))
        ),
    )


COLUMNS = st.one_of(
    column_of(pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    column_of(pa.int16(), st.integers(-5, 5)),
    column_of(pa.uint64(), st.integers(0, 2**64 - 1)),
    column_of(pa.float64(), st.floats(allow_nan=False)),
    column_of(pa.float32(), st.floats(width=32, allow_nan=False)),
    column_of(pa.string(), st.text(max_size=5)),
    column_of(pa.binary(), st.binary(max_size=5)),
    column_of(pa.binary(3), st.binary(min_size=3, max_size=3)),
    column_of(pa.bool_(), st.booleans()),
    column_of(pa.timestamp("us", "UTC"), st.datetimes().map(lambda at: at.replace(tzinfo=UTC))),
)


@given(column=COLUMNS, in_page=st.integers(1, 50), in_group=st.integers(1, 50), coded=st.booleans())
def test_an_honest_file_is_not_accused(
    tmp_path_factory: pytest.TempPathFactory, column: pa.Array, in_page: int, in_group: int, *, coded: bool
) -> None:
    """Whatever the type, the nulls, the lists, the pages and the row groups of a column with a page index."""
    folder = tmp_path_factory.mktemp("honest")
    table = pa.table({"id": pa.array(range(len(column))), "column": column})
    pages: dict[str, Any] = {"write_page_index": True, "max_rows_per_page": in_page, "write_batch_size": 1}
    pq.write_table(table, folder / "a.parquet", row_group_size=in_group, use_dictionary=coded, **pages)
    assert list(hidden_columns(folder, "a.parquet")) == []


def indexed(path: Path) -> bytes:
    """Write ids from 1000 to 1099 with an index of ten pages; what the file holds."""
    table = pa.table({"id": pa.array(range(1000, 1100)), "word": [["a"], []] * 50})
    pages: dict[str, Any] = {"write_page_index": True, "max_rows_per_page": 10, "write_batch_size": 1}
    pq.write_table(table, path, compression="none", use_dictionary=False, **pages)
    return path.read_bytes()


def stored(number: int) -> bytes:
    """An id as a page index has it: its length and its bytes."""
    return b"\x08" + number.to_bytes(8, "little")


@pytest.mark.parametrize(("true", "said"), [(1020, 1021), (1039, 1030)], ids=["smallest", "largest"])
def test_a_page_index_that_denies_a_value_is_seen(tmp_path: Path, true: int, said: int) -> None:
    """A page whose index leaves out one of its values is named by row group and column."""
    path = tmp_path / "lying.parquet"
    data = indexed(path)
    place = data.rindex(stored(true))
    path.write_bytes(data[:place] + stored(said) + data[place + 9 :])
    assert pq.read_table(path)["id"].to_pylist() == list(range(1000, 1100))
    assert list(hidden_columns(tmp_path, path.name)) == [(0, "id")]


@pytest.mark.parametrize("column", ["id", "word"])
def test_a_page_index_that_leads_elsewhere_is_refused(tmp_path: Path, column: str) -> None:
    """Two pages that changed places in the index: readers that select rows would get those of another page."""
    path = tmp_path / "lying.parquet"
    data = bytearray(indexed(path))
    # Each page's place, size and first row, in zigzag of Thrift's compact form.
    marks = [b"\x15", b"\x16"]
    places = [at for at in range(len(data)) if data[at : at + 1] == marks[1] and data[at + 3 : at + 4] == marks[0]]
    ids = [at for at in places if data[at + 3 : at + 6] == data[places[2] + 3 : places[2] + 6]]
    first, second = (ids[3], ids[4]) if column == "id" else (ids[-4], ids[-3])
    data[first + 1 : first + 3], data[second + 1 : second + 3] = (
        data[second + 1 : second + 3],
        data[first + 1 : first + 3],
    )
    path.write_bytes(data)
    with pytest.raises(ValueError, match="page index"):
        list(hidden_columns(tmp_path, path.name))


def test_a_bloom_filter_is_refused(tmp_path: Path) -> None:
    """A filter that was made for other values hides those of the file from readers that ask for one of them."""
    path = tmp_path / "bloom.parquet"
    plain: dict[str, Any] = {"compression": "none", "use_dictionary": False, "bloom_filter_options": {"id": True}}
    pq.write_table(pa.table({"id": [1, 2, 3]}), path, **plain)
    with pytest.raises(ValueError, match="Bloom filter"):
        list(hidden_columns(tmp_path, path.name))

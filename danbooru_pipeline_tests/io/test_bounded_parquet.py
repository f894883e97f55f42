"""Parquet of others: what would unfold to more than any release has is refused before it is made."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.io.bounded_parquet import hidden_columns, read_untrusted, schema_of
from danbooru_pipeline_tests.support.damage import with_footer_of

#: One long text.
LONG = pa.array(["A" * 2**20])
ROWS = 4


def repeated(times: int) -> pa.Array:
    """The long text, so many times, at the cost of one."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), LONG)


def lists_of(values: pa.Array) -> pa.Array:
    """A list with so many values in each of the rows."""
    ends = pa.array([len(values) // ROWS * number for number in range(ROWS + 1)], pa.int32())
    return pa.ListArray.from_arrays(ends, values)


BOMBS = {
    "texts": lambda: repeated(ROWS * 1000).take(pa.array([0] * ROWS * 1000)),
    "lists of texts": lambda: lists_of(repeated(ROWS * 1000)),
    "lists of objects": lambda: lists_of(pa.StructArray.from_arrays([repeated(ROWS * 1000)], ["name"])),
    "lists of lists": lambda: lists_of(pa.ListArray.from_arrays(pa.array(range(4001), pa.int32()), repeated(4000))),
    "one long list": lambda: lists_of(pa.nulls(ROWS * 10**7, pa.int64())),
    "a long dictionary": lambda: pa.array(["A" * (210 * 2**20)]).dictionary_encode(),
}


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.parametrize("stored", [False, True])
def test_what_unfolds_to_gigabytes_is_refused(tmp_path: Path, kind: str, stored: bool) -> None:  # noqa: FBT001
    """A few thousand bytes cannot make a reader hold more than a batch may have, however deep a long text lies."""
    table = pa.table({"column": BOMBS[kind]()})
    pq.write_table(table, tmp_path / "bomb.parquet", compression="zstd", store_schema=stored)
    del table
    most = pa.default_memory_pool().max_memory()
    with pytest.raises(ValueError, match="bytes"):
        for _ in read_untrusted(tmp_path, "bomb.parquet"):
            pass
    assert (tmp_path / "bomb.parquet").stat().st_size < 2**20
    assert pa.default_memory_pool().max_memory() <= max(most, 2**30)


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_encodings_that_no_release_has_are_refused(tmp_path: Path, encoding: str) -> None:
    """A text that is stored as what it shares with the one before could be as long as it likes."""
    table = pa.table({"column": ["a" * 1000] * 1000})
    path = tmp_path / "delta.parquet"
    pq.write_table(table, path, use_dictionary=False, column_encoding={"column": encoding})
    with pytest.raises(ValueError, match="no release"):
        list(read_untrusted(tmp_path, "delta.parquet"))


def test_lists_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Texts in lists and objects come without their dictionaries, nulls and empty lists where they were."""
    tag = pa.struct([("id", pa.int64()), ("name", pa.string())])
    table = pa.table(
        {
            "tags": pa.array([[{"id": 1, "name": "a"}, None], None, [], [{"id": 2, "name": None}]], pa.list_(tag)),
            "words": pa.array([["a", None], [], None, ["b", "a"]], pa.list_(pa.string())),
        }
    )
    pq.write_table(table, tmp_path / "lists.parquet")
    for rows in (1, 3, 10):
        assert pa.concat_tables(read_untrusted(tmp_path, "lists.parquet", rows=rows)).equals(table)


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


FOREIGN = {
    "a day": pa.array([2**31 - 1], pa.int32()).cast(pa.date32()),
    "an hour": pa.array([0], pa.time64("us")),
    "a duration": pa.array([0], pa.duration("s")),
    "a zone": pa.array([0], pa.timestamp("us", "../../etc/localtime")),
    "a zone in a list": pa.array([[{"at": 0}]], pa.list_(pa.struct([("at", pa.timestamp("us", "Mars/Olympus"))]))),
    "a map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    "a decimal": pa.array([0], pa.decimal128(38, 0)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_columns_of_kinds_that_no_release_has_are_refused(tmp_path: Path, kind: str) -> None:
    """Neither columns nor rows are given of a file whose values Python may not have, or looks up by a given name."""
    pq.write_table(pa.table({"id": [1], "column": FOREIGN[kind]}), tmp_path / "foreign.parquet")
    for read in (schema_of, lambda *where: list(read_untrusted(*where))):
        with pytest.raises(ValueError, match=r"has a column of .*, and no release has one"):
            read(tmp_path, "foreign.parquet")


@pytest.mark.parametrize("ids", [["1"], [1.0], [None]])
def test_ids_of_another_type_are_refused(tmp_path: Path, ids: list[object]) -> None:
    """An id is an integer of 64 bits in every table; others would not be found, or not compare."""
    pq.write_table(pa.table({"id": ids}), tmp_path / "ids.parquet")
    with pytest.raises(ValueError, match="ids of another type"):
        schema_of(tmp_path, "ids.parquet")


def test_notes_of_others_are_left_out(tmp_path: Path) -> None:
    """Of what a file notes in its schema only our own is given, with the columns and with the rows."""
    ours = {b"danbooru_pipeline.schema": b"2"}
    notes = ours | {b"pandas": b"[" * 100_000, b"huggingface": b"\xff", b"\xff": b""}
    pq.write_table(pa.table({"id": [1]}).replace_schema_metadata(notes), tmp_path / "notes.parquet")
    assert schema_of(tmp_path, "notes.parquet").metadata == ours
    assert [table.schema.metadata for table in read_untrusted(tmp_path, "notes.parquet")] == [ours]

"""Parquet of others: what would unfold to more than any release has is refused before it is made."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.io.bounded_parquet import read_untrusted, schema_of

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

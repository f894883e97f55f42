"""Parquet and tables in chunks: cut, counted and compared without being held in memory as a whole."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.io.parquet import Difference, Side, differences, rechunk, write_shards

Rows = dict[int, str]


def tables(rows: Rows, size: int) -> Iterator[pa.Table]:
    """Rows by id, in tables of `size` rows."""
    ids = sorted(rows)
    for start in range(0, len(ids), size):
        some = ids[start : start + size]
        yield pa.table({"id": pa.array(some, pa.int64()), "md5": [rows[id_] for id_ in some]})


rows_by_id = st.dictionaries(st.integers(1, 40), st.sampled_from("ab"), max_size=40)


@given(rows_by_id, rows_by_id, st.integers(1, 9), st.integers(1, 9))
def test_differences_are_those_of_dictionaries(left: Rows, right: Rows, size: int, other: int) -> None:
    """However both sides are cut into chunks, every id that differs is found once, and no other."""
    expected = [Difference(id_, Side.LEFT_ONLY) for id_ in left.keys() - right.keys()]
    expected += [Difference(id_, Side.RIGHT_ONLY) for id_ in right.keys() - left.keys()]
    expected += [Difference(id_, Side.DIFFERS) for id_ in left.keys() & right.keys() if left[id_] != right[id_]]
    assert Counter(differences(tables(left, size), tables(right, other))) == Counter(expected)


@pytest.mark.parametrize("swapped", [False, True])
def test_id_that_is_there_twice_is_found(swapped: bool) -> None:  # noqa: FBT001 - parametrized
    """A repeated id on either side is found, within a chunk and across two."""
    once = [pa.table({"id": [1, 2, 3]})]
    for twice in ([pa.table({"id": [1, 2, 2, 3]})], [pa.table({"id": [1, 2]}), pa.table({"id": [2, 3]})]):
        found = {d.id for d in (differences(twice, once) if swapped else differences(once, twice))}
        assert found == {2}


@given(st.lists(st.integers(0, 7)), st.integers(1, 5))
def test_rechunk_keeps_rows_and_fills_tables(sizes: list[int], rows: int) -> None:
    """All tables but the last have the wanted size, and no row is lost or reordered."""
    total = sum(sizes)
    source = pa.table({"id": list(range(total))})
    starts = [sum(sizes[:n]) for n in range(len(sizes))]
    cut = list(rechunk((source.slice(start, size) for start, size in zip(starts, sizes, strict=True)), rows))
    assert [id_ for table in cut for id_ in table["id"].to_pylist()] == list(range(total))
    assert all(table.num_rows == rows for table in cut[:-1])


@pytest.mark.parametrize(("rows", "sizes"), [(0, [0]), (3, [3]), (4, [4]), (9, [4, 4, 1])])
def test_shards_are_named_by_number_and_count(tmp_path: Path, rows: int, sizes: list[int]) -> None:
    """A shard is filled before the next starts, and its name says how many there are."""
    schema = pa.schema([("id", pa.int64())])
    shards = write_shards(
        (pa.table({"id": [n]}, schema=schema) for n in range(rows)),
        rows,
        path_of=lambda n, of: tmp_path / f"{n}-of-{of}.parquet",
        schema=schema,
        dictionary=(),
        shard_rows=4,
    )
    assert [pq.read_table(tmp_path / f"{n}-of-{shards}.parquet").num_rows for n in range(shards)] == sizes

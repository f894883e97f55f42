"""The external sort: rows in any order come back group by group, by id, in bounded memory."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.io.external_sort import ExternalGroupBy, by_id_range, by_remainder

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), ("name", pa.string())])


def table_of(ids: list[int]) -> pa.Table:
    """Rows with these ids."""
    return pa.table({"id": ids, "name": [f"é{id_}" if id_ % 3 else None for id_ in ids]}, schema=SCHEMA)


@given(st.lists(st.lists(st.integers(0, 2**40) | st.integers(0, 50), max_size=9)), st.integers(1, 12))
def test_groups_are_those_of_a_dictionary(tables: list[list[int]], run_rows: int) -> None:
    """However rows are spilled, each group has its rows by id, groups ascend, and all can be read twice."""
    ids = [id_ for some in tables for id_ in some]
    expected = {key: sorted(id_ for id_ in ids if id_ % 7 == key) for key in sorted({id_ % 7 for id_ in ids})}
    with ExternalGroupBy(SCHEMA, key=by_remainder(7), run_rows=run_rows) as grouped:
        for some in tables:
            grouped.add(table_of(some))
        for _ in range(2):
            found = [(key, table) for key, table in grouped.groups()]
            assert {key: table["id"].to_pylist() for key, table in found} == expected
            assert [key for key, _ in found] == list(expected)
            assert all(table.equals(table_of(table["id"].to_pylist())) for _, table in found)


@pytest.mark.parametrize("ids", [[1, 2, 3, 4, 11, 12], [4, 3, 12, 11, 2, 1]])
def test_a_group_is_one_chunk(ids: list[int]) -> None:
    """A group has one chunk whether its rows had to be sorted or not: chunks would show in a Parquet file's pages."""
    with ExternalGroupBy(SCHEMA, key=by_id_range(10), run_rows=2) as grouped:
        for id_ in ids:
            grouped.add(table_of([id_]))
        groups = dict(grouped.groups())
    assert {key: table["id"].to_pylist() for key, table in groups.items()} == {0: [1, 2, 3, 4], 1: [11, 12]}
    assert all(column.num_chunks == 1 for table in groups.values() for column in table.columns)


def test_spilled_runs_have_no_names(tmp_path: Path) -> None:
    """While runs are on disk, their folder is empty, so a killed process leaves nothing behind."""
    with ExternalGroupBy(SCHEMA, key=by_remainder(2), folder=tmp_path, run_rows=1) as grouped:
        grouped.add(table_of([1, 2]))
        assert list(tmp_path.iterdir()) == []
        assert len(dict(grouped.groups())) == 2

"""The split: every row in its bucket's file, sorted, the same bytes each time."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from danbooru_pipeline.io.atomic import atomic_file
from danbooru_pipeline.layout import Layout, bucket_of
from danbooru_pipeline.posts import parse_api_record, posts_table, write_posts
from danbooru_pipeline.sources import split_by_bucket

IDS = st.lists(st.integers(1, 30_000) | st.integers(1, 2**62) | st.integers(1, 9).map(lambda n: n * 1000), unique=True)


def write_ids(layout: Layout, ids: list[int]) -> None:
    """Posts of a year with these ids."""
    rows: list[Any] = [
        parse_api_record({"id": i, "created_at": "2021-01-01T00:00:00Z", "source": f"é{i}" if i % 2 else None, "x": i})
        for i in ids
    ]
    with atomic_file(layout.posts(2021)) as file:
        write_posts(posts_table(rows), file)


def read_buckets(layout: Layout) -> dict[str, bytes]:
    """The file of each bucket that has one."""
    return {path.stem: path.read_bytes() for path in layout.posts_by_bucket(2021).iterdir()}


@given(ids=IDS, rows_per_run=st.integers(1, 60))
@examples(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_split_is_the_naive_split(tmp_path: Path, ids: list[int], rows_per_run: int) -> None:
    """However many runs it takes, each bucket has all its rows by id, and no temporary file is left."""
    layout = Layout(tmp_path)
    write_ids(layout, ids)
    written = split_by_bucket(layout, 2021, rows_per_run=rows_per_run)
    rows = pq.read_table(layout.posts(2021)).to_pylist()
    naive: dict[str, list[Any]] = {}
    for row in rows:
        naive.setdefault(bucket_of(row["id"]), []).append(row)
    found = {path.stem: pq.read_table(path).to_pylist() for path in layout.posts_by_bucket(2021).glob("*.parquet")}
    assert found == naive
    assert written == len(naive)
    assert {path.name for path in layout.metadata(2021).rglob("*")} >= {"posts.parquet", "posts_by_bucket"}
    assert not layout.sweep(2021, "runs").exists()


@pytest.mark.parametrize("rows_per_run", [1, 7, 50, 1000])
def test_bytes_do_not_depend_on_the_runs(tmp_path: Path, rows_per_run: int) -> None:
    """The same rows give the same files, however much memory the split may use."""
    one, other = Layout(tmp_path / "one"), Layout(tmp_path / "other")
    ids = [*range(1, 40), *range(1001, 1060), *range(5000, 5010)]
    for layout in (one, other):
        write_ids(layout, ids)
    split_by_bucket(one, 2021)
    split_by_bucket(other, 2021, rows_per_run=rows_per_run)
    assert read_buckets(one) == read_buckets(other)
    split_by_bucket(other, 2021, rows_per_run=rows_per_run)
    assert read_buckets(one) == read_buckets(other)


def test_buckets_of_an_earlier_split_are_gone(tmp_path: Path) -> None:
    """A bucket that has lost its posts loses its file."""
    layout = Layout(tmp_path)
    write_ids(layout, [1, 2])
    split_by_bucket(layout, 2021)
    write_ids(layout, [2, 3])
    assert split_by_bucket(layout, 2021) == 2
    assert set(read_buckets(layout)) == {"0002", "0003"}


def test_year_without_posts_has_no_buckets(tmp_path: Path) -> None:
    """Without posts there are no files and no error, and files of an earlier split are removed."""
    layout = Layout(tmp_path)
    write_ids(layout, [1])
    split_by_bucket(layout, 2021)
    write_ids(layout, [])
    assert split_by_bucket(layout, 2021) == 0
    assert read_buckets(layout) == {}


def test_leftovers_of_a_killed_split_do_no_harm(tmp_path: Path) -> None:
    """Runs and folders of a killed process are removed."""
    layout = Layout(tmp_path)
    write_ids(layout, [1, 2])
    left = layout.sweep(2021, "runs")
    left.mkdir(parents=True)
    (left / "000000.arrow").write_bytes(b"half")
    (layout.metadata(2021) / ".posts_by_bucket.0123.part").mkdir()
    split_by_bucket(layout, 2021)
    assert set(read_buckets(layout)) == {"0001", "0002"}
    assert not list(layout.metadata(2021).rglob("*.part"))
    assert not left.exists()

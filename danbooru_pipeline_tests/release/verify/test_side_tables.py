"""Side tables against their JSON lines: any number of lines at a time, whatever forms their values have."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.release.tables.side_tables import write_side_tables
from danbooru_pipeline.release.verify import tables

ROWS: list[dict[str, Any]] = [
    {"id": "1", "post_ids": ["1", None], "created_at": "2020-01-02 03:04:05.678 UTC", "is_deleted": False},
    {"id": "2", "post_ids": [], "body": "text"},
    {"id": "3", "body": {"a": 1}, "created_at": "2020-01-02T03:04:05-05:00"},
    {"id": "4", "post_ids": ["5"], "created_at": None},
]


def differing(folder: Path, lines: list[dict[str, Any]]) -> list[tuple[int, list[str]]]:
    """Which rows differ from lines; the table in the folder is that of `ROWS`."""
    (folder / "things.json").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    run = cast("Any", SimpleNamespace(folder=folder))
    return list(tables.differing_rows(run, ["parquet/things-00000-of-00001.parquet"], ["things.json"]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a table, as a release has it."""
    source = tmp_path / "source.json"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    write_side_tables(tmp_path, {"things": source})
    return tmp_path


@pytest.mark.parametrize("few", [1, 100, 2**20])
def test_a_row_is_judged_alike_whatever_lies_beside_it(folder: Path, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """One at a time, some, or all with an object among them: right rows are right, and the others are named."""
    monkeypatch.setattr(tables, "BLOCK_BYTES", few)
    assert differing(folder, ROWS) == []
    for number, column, value in (
        (1, "post_ids", ["1"]),
        (1, "created_at", "2020-01-02 03:04:05.679 UTC"),
        (1, "created_at", "9999-12-31T23:59:59.000-05:00"),
        (3, "created_at", "soon"),
        (2, "body", "other"),
        (3, "body", {"a": 2}),
        (4, "new", "1"),
        (4, "is_deleted", True),
        (1, "is_deleted", 0),
        (1, "id", 1.0),
        (1, "id", True),
        (3, "body", {"a": 1.0}),
        (3, "body", {"a": True}),
    ):
        lines = [dict(row) for row in ROWS]
        lines[number - 1][column] = value
        assert differing(folder, lines) == [(number, [column])]


def test_no_more_lines_are_held_than_some_megabytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line may be long, so it is their bytes that are counted."""
    monkeypatch.setattr(tables, "BLOCK_BYTES", 100)
    lines = iter([b'{"id": "' + b"1" * 40 + b'"}\n'] * 9)
    assert [len(tables._some_records(lines, 9)) for _ in range(2)] == [2, 2]  # noqa: SLF001 - the bound itself


def test_two_columns_of_one_name_are_an_error(folder: Path) -> None:
    """Which of them would count?"""
    path = folder / "parquet/things-00000-of-00001.parquet"
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.append_column(pa.field("id", pa.int64()), table["id"]), path)
    with pytest.raises(ValueError, match="two columns of one name"):
        differing(folder, ROWS)

"""A source may have a word where a number belongs: the row stays, counts for no post, and ends nothing."""

import contextlib
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from danbooru_pipeline.release import verify_release
from danbooru_pipeline_tests.support.odd_tables import ODD, ROWS, odd_rows, release_with

Run = Callable[..., Result]
_WHOLE = [pytest.param(ODD[name], True, id=f"all-{name}") for name in ("true", "list", "small")]


@pytest.mark.parametrize(
    ("value", "everywhere"), [*(pytest.param(value, False, id=name) for name, value in ODD.items()), *_WHOLE]
)
def test_an_odd_value_of_a_side_table_ends_nothing(value: Any, everywhere: bool, tmp_path: Path, run: Run) -> None:  # noqa: FBT001 - a parameter
    """With an odd value in any column of any side table a release is made and sound, is searched, and is exported."""
    folder = release_with(tmp_path / "root", odd_rows(value, everywhere=everywhere))
    assert not verify_release(folder, full=True, threads=1).findings
    for text in ("has:notes", "pool:a_pool", "pool:any", "girl", "1girl"):
        found = run("select", folder, text)
        assert found.exit_code in ({0, 2} if everywhere else {0}), (text, found.output)
        if text in {"has:notes", "pool:a_pool"}:
            posts = re.findall(r"/(\d+)\.jpg", found.stdout)
            assert posts == ([] if everywhere else ["5"] if text == "has:notes" else ["5", "1002"])
    for form, name in (("sqlite", "d.sqlite"), ("duckdb", "d.duckdb"), ("tags-csv", "t.csv"), ("hakubooru", "h.db")):
        found = run("export", form, folder, tmp_path / name)
        assert found.exit_code == 0, (form, found.output)
    tables = {path.name.rpartition("-0")[0] for path in (folder / "parquet").iterdir()}
    assert ROWS.keys() <= {name.removesuffix("-00000-of") for name in tables}
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "d.sqlite")) as db,
        duckdb.connect(tmp_path / "d.duckdb") as duck,
    ):
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        notes = pq.read_table(folder / "parquet/notes-00000-of-00001.parquet").num_rows
        held = [each.execute("SELECT count(*) FROM notes").fetchall()[0][0] for each in (db, duck)]
        # All are about post 5 but the one that has the value instead of it.
        assert held == ([0, 0] if everywhere else [notes - 1] * 2)

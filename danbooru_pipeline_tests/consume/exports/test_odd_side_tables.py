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

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import apply_takedown, plan_takedown, read_release, verify_release
from danbooru_pipeline_tests.support.odd_tables import ODD, ROWS, odd_rows, release_with
from danbooru_pipeline_tests.support.yard import NOW

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


@pytest.mark.parametrize(
    ("value", "everywhere"),
    [
        pytest.param("1e-7", False, id="small"),
        *(pytest.param(["a", "5"], all_, id=f"list-{all_}") for all_ in (False, True)),
    ],
)
def test_a_post_goes_from_odd_side_tables(value: Any, everywhere: bool, tmp_path: Path, run: Run) -> None:  # noqa: FBT001 - a parameter
    """A post is taken down from a release and out of its databases, whatever else a source says in its side tables."""
    folder = release_with(tmp_path / "root", odd_rows(value, everywhere=everywhere))
    (tmp_path / "gone.txt").write_text("5\n")
    for form, name in (("sqlite", "d.sqlite"), ("duckdb", "d.duckdb")):
        assert run("export", form, folder, tmp_path / name).exit_code == 0
        found = run("apply-removals", tmp_path / name, "--feed", tmp_path / "gone.txt")
        assert found.exit_code == 0, found.output
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "d.sqlite")) as db,
        duckdb.connect(tmp_path / "d.duckdb") as duck,
    ):
        assert [each.execute("SELECT count(*) FROM notes").fetchall() for each in (db, duck)] == [[(0,)], [(0,)]]
        assert db.execute("SELECT count(*) FROM pool_posts WHERE post_id = 5").fetchall() == [(0,)]
        listed = [str(row[0]) for row in duck.execute("SELECT post_ids FROM pools").fetchall()]
        assert not any('"5"' in row or "'5'" in row for row in listed if "1002" in row)
        assert any("1002" in row for row in listed) is not everywhere
    layout = Layout(tmp_path / "root")
    apply_takedown(plan_takedown(layout, [5]), created_at=NOW, threads=1)
    assert read_release(layout.release(2021)).version == "2021.1"
    assert not verify_release(layout.release(2021), full=True, threads=1).findings

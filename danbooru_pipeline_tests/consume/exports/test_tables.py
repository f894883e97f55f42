"""Exports that are databases and tables: ids, rows and columns are those of the release."""

import contextlib
import csv
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import Result

from danbooru_pipeline.posts.schema import SITE_COLUMNS
from danbooru_pipeline_tests.support.odd_release import IDS, TAGS

Run = Callable[..., Result]


@pytest.fixture
def database(odd: Path, tmp_path: Path, run: Run) -> "contextlib.closing[sqlite3.Connection]":
    """The whole release as SQLite."""
    assert run("export", "sqlite", odd, tmp_path / "d.sqlite").exit_code == 0
    return contextlib.closing(sqlite3.connect(tmp_path / "d.sqlite"))


def test_sqlite_has_ids_of_the_site(database: "contextlib.closing[sqlite3.Connection]") -> None:
    """A tag has the id of the site's table of tags; one that it lacks has a negative id, never another tag's."""
    with database as db:
        found = dict(db.execute("SELECT name, id FROM tags").fetchall())
        assert {name: found[name] for name in IDS} == IDS
        assert all(id_ < 0 for name, id_ in found.items() if name not in IDS)
        assert "nobody_has_it" not in found
        assert db.execute("SELECT post_count FROM tags WHERE name = 'saber'").fetchone() == (3,)
        assert db.execute("SELECT is_deprecated FROM tags WHERE name = 'old_tag'").fetchone() == (1,)


def test_sqlite_has_every_column_and_post(database: "contextlib.closing[sqlite3.Connection]", odd: Path) -> None:
    """All columns of the site are there, and posts without a file with their reason."""
    with database as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(posts)")]
        assert set(SITE_COLUMNS) <= set(columns)
        assert [row[0] for row in db.execute("SELECT id FROM posts ORDER BY id")] == sorted(TAGS)
        assert db.execute("SELECT path FROM posts WHERE id = 3").fetchone() == (None,)
        assert db.execute("SELECT status, reason FROM files WHERE id = 3").fetchone() == ("withheld", "restricted")
        for id_, path in db.execute("SELECT id, path FROM posts WHERE path IS NOT NULL").fetchall():
            assert (odd / path).is_file(), id_


def test_sqlite_has_only_rows_of_its_posts(odd: Path, tmp_path: Path, run: Run) -> None:
    """Notes and pools of posts that were not selected are not there; every foreign key holds; the file is sound."""
    assert run("export", "sqlite", odd, tmp_path / "d.sqlite", "--all", "saber", "--only-with-file").exit_code == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "d.sqlite")) as db:
        assert db.execute("SELECT id FROM posts ORDER BY id").fetchall() == [(2,), (1002,), (2003,)]
        assert db.execute("SELECT post_id FROM notes ORDER BY id").fetchall() == [(2,), (1002,)]
        assert db.execute("SELECT id, name FROM pools").fetchall() == [(5, "a_pool")]
        assert db.execute("SELECT pool_id, position, post_id FROM pool_posts").fetchall() == [(5, 1, 1002)]
        assert db.execute("SELECT count(*) FROM artist_commentaries").fetchone() == (0,)
        aliases = db.execute("SELECT antecedent_name FROM tag_aliases ORDER BY id").fetchall()
        assert aliases == [("arturia",), ("azure_hair",), ("gone",)]
        assert not db.execute("SELECT name FROM sqlite_master WHERE name = 'forum_posts'").fetchall()
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_sqlite_finds_text(database: "contextlib.closing[sqlite3.Connection]") -> None:
    """Full-text search finds tags by their words and commentaries by theirs; the views answer."""
    with database as db:
        found = db.execute("SELECT t.name FROM tags_fts f JOIN tags t ON t.id = f.rowid WHERE tags_fts MATCH 'hair'")
        assert sorted(row[0] for row in found) == ["black_hair", "blue_hair"]
        query = "SELECT rowid FROM artist_commentaries_fts WHERE artist_commentaries_fts MATCH 'spring'"
        assert db.execute(query).fetchall() == [(1,)]
        query = "SELECT tag, category FROM post_tag_names WHERE post_id = 2003 ORDER BY 1"
        expected = [("1girl", "general"), ("highres", "meta"), ("rin", "character"), ("saber", "character")]
        assert db.execute(query).fetchall() == [*expected, ("solo", "general")]
        assert db.execute("SELECT id FROM missing_files").fetchall() == [(3,)]
        assert (
            len(db.execute("SELECT * FROM top_tags").fetchall()) == db.execute("SELECT max(rowid) FROM tags").arraysize
            or 1
        )


def test_datasette_metadata_names_the_tables(odd: Path, tmp_path: Path, run: Run) -> None:
    """``metadata.yml`` is YAML about the database beside it, by the name that datasette gives it."""
    run("export", "sqlite", odd, tmp_path / "booru.sqlite")
    about = yaml.safe_load((tmp_path / "booru.sqlite.metadata.yml").read_text())
    with contextlib.closing(sqlite3.connect(tmp_path / "booru.sqlite")) as db:
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        for name, facts in about["databases"]["booru"]["tables"].items():
            columns = {row[1] for row in db.execute(f"PRAGMA table_info({name})")}
            wanted = {*facts.get("facets", ()), *filter(None, (facts.get("label_column"), facts.get("sort_desc")))}
            assert name not in tables or wanted <= columns, name


def test_duckdb_has_the_same_rows(odd: Path, tmp_path: Path, run: Run) -> None:
    """Posts with all columns and lists, files, tags with their ids, and side tables of these posts."""
    assert run("export", "duckdb", odd, tmp_path / "d.duckdb", "--all", "saber").exit_code == 0
    with duckdb.connect(str(tmp_path / "d.duckdb"), read_only=True) as db:
        assert db.execute("SELECT id FROM posts ORDER BY id").fetchall() == [(2,), (1002,), (2003,)]
        assert db.execute("SELECT id FROM tags WHERE name = 'saber'").fetchall() == [(4000,)]
        assert db.execute("SELECT count(*) FROM notes").fetchall() == [(2,)]
        assert db.execute("SELECT tags[1].name FROM posts WHERE id = 1002").fetchall() == [("1girl",)]


def test_autocomplete_reads_tags(odd: Path, tmp_path: Path, run: Run) -> None:
    """A line is name, category, count and quoted aliases, most posts first; deprecated tags are apart."""
    assert run("export", "tags-csv", odd, tmp_path / "tags.csv").exit_code == 0
    rows = list(csv.reader((tmp_path / "tags.csv").read_text().splitlines()))
    assert [len(row) for row in rows] == [4] * len(rows)
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["saber"] == ["4", "3", "arturia"]
    assert by_name["blue_hair"] == ["0", "2", "azure_hair"]
    assert [int(row[2]) for row in rows] == sorted((int(row[2]) for row in rows), reverse=True)
    assert "old_tag" not in by_name
    assert (tmp_path / "tags.csv.deprecated.csv").read_text() == "old_tag,0,1,\n"
    run("export", "tags-csv", odd, tmp_path / "m.csv", "--deprecated", "mark", "--header", "--min-posts", 1)
    assert "old_tag,0,1,,deprecated\n" in (tmp_path / "m.csv").read_text()


def test_random_prompt_is_made_of_tags(odd: Path, tmp_path: Path, run: Run) -> None:
    """As random_tags_prompt.py does: lines cut at commas, those of category 0, one name or alias of each."""
    run("export", "tags-csv", odd, tmp_path / "danbooru.csv")
    data = [line.strip().split(",") for line in (tmp_path / "danbooru.csv").read_text().splitlines()]
    data = sorted(data, key=lambda fields: int(fields[2]), reverse=True)
    names = [[fields[0], *fields[3:]] for fields in data if fields[1][0] == "0"]
    prompt = [random.choice([name for name in some if name]).strip('"') for some in names]
    general = {tag for tags in TAGS.values() for tag in tags["general"].split()}
    assert set(prompt) <= general | {"azure_hair"}


def test_tagger_rows_are_classes(odd: Path, tmp_path: Path, run: Run) -> None:
    """Row N of ``selected_tags.csv`` is class N; ratings come first; every post is in exactly one split, for ever."""
    assert run("export", "tagger", odd, tmp_path / "t", "--min-posts", 2).exit_code == 0
    rows = list(csv.DictReader((tmp_path / "t/selected_tags.csv").read_text().splitlines()))
    assert list(rows[0]) == ["tag_id", "name", "category", "count"]
    assert [row["category"] for row in rows] == ["9"] * 4 + ["0"] * 3 + ["4"]
    assert [row["name"] for row in rows[:4]] == ["general", "sensitive", "questionable", "explicit"]
    assert {row["name"]: int(row["tag_id"]) for row in rows[4:]} == {
        name: IDS[name] for name in ("1girl", "blue_hair", "solo", "saber")
    }
    found: dict[int, set[str]] = {}
    for name in ("train", "validation", "test"):
        for row in pq.read_table(tmp_path / f"t/{name}.parquet").to_pylist():
            assert (odd / row["path"]).is_file()
            assert row["id"] not in found
            found[row["id"]] = {rows[number]["name"] for number in row["classes"]}
    assert found[2003] == {"sensitive", "1girl", "solo", "saber"}
    assert sorted(found) == [1, 2, 1002, 2003]
    assert run("export", "tagger", odd, tmp_path / "n", "--splits", "90,20").exit_code == 2


def test_classification_has_a_folder_per_tag(odd: Path, tmp_path: Path, run: Run) -> None:
    """A post lies in the folder of its only class; posts with several or none are left out by name."""
    classes = "saber,rin,hatsune_miku_(append)"
    assert run("export", "classification", odd, tmp_path / "c", "--classes", classes).exit_code == 0
    images = sorted(path.relative_to(tmp_path / "c").as_posix() for path in (tmp_path / "c").rglob("*.jpg"))
    assert images == ["hatsune_miku_(append)/1.jpg", "saber/1002.jpg", "saber/2.jpg"]
    assert (tmp_path / "c/left_out.csv").read_text().splitlines() == ["id,reason", "2003,several_classes"]
    run(
        "export",
        "classification",
        odd,
        tmp_path / "s",
        "--category",
        "copyright",
        "--min-posts",
        1,
        "--splits",
        "50,25,25",
    )
    assert {path.parent.name for path in (tmp_path / "s").rglob("*.jpg")} == {"fate%2Fstay_night"}
    assert {path.parent.parent.name for path in (tmp_path / "s").rglob("*.jpg")} <= {"train", "validation", "test"}


def test_hakubooru_has_its_own_numbers(odd: Path, tmp_path: Path, run: Run) -> None:
    """Categories and ratings are places in its lists; no column that it needs is null; tars are where it looks."""
    assert run("export", "hakubooru", odd, tmp_path / "h").exit_code == 0
    types = ["general", "artist", "character", "copyright", "meta"]
    with contextlib.closing(sqlite3.connect(tmp_path / "h/danbooru.db")) as db:
        assert db.execute("SELECT type FROM tag WHERE name = 'saber'").fetchone() == (types.index("character"),)
        assert db.execute("SELECT type FROM tag WHERE name = 'fate/stay_night'").fetchone() == (
            types.index("copyright"),
        )
        query = "SELECT post_id FROM posttagrelation JOIN tag ON tag.id = tag_id WHERE name = 'saber' ORDER BY 1"
        assert db.execute(query).fetchall() == [(2,), (1002,), (2003,)]
        assert db.execute("SELECT DISTINCT rating FROM post").fetchall() == [(0,)]  # safe, of 2021
        assert db.execute(
            "SELECT count(*) FROM post WHERE updated_at < created_at OR updated_at IS NULL"
        ).fetchone() == (0,)
    assert sorted(path.name for path in (tmp_path / "h/images").iterdir()) == [
        f"data-{1000 + number}.tar" for number in (1, 2, 3)
    ]


def test_deepdanbooru_takes_cut_offs(odd: Path, tmp_path: Path, run: Run) -> None:
    """Tags of fewer posts are not in ``tags.txt``, general ones come before characters, ratings last or not at all."""
    assert run("export", "deepdanbooru", odd, tmp_path / "d", "--min-posts", 2, "--tag-limit", 2).exit_code == 0
    tags = (tmp_path / "d/tags.txt").read_text().splitlines()
    assert tags[:-4] == ["1girl", "blue_hair", "saber"] or tags[:-4] == ["1girl", "solo", "saber"]
    assert tags[-4:] == ["rating:general", "rating:sensitive", "rating:questionable", "rating:explicit"]
    run("export", "deepdanbooru", odd, tmp_path / "n", "--no-rating-tags")
    assert (tmp_path / "n/tags.txt").read_text() == ""

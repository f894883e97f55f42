"""Exports hold what was selected, in the form that their readers open."""

import contextlib
import csv
import hashlib
import json
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import pytest

from danbooru_pipeline.consume import export
from danbooru_pipeline.consume.exports import deepdanbooru
from danbooru_pipeline.consume.exports.wanted import WithoutFiles
from danbooru_pipeline.consume.select import Selection, select
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline_tests.support.trees import contents


def test_sqlite_answers_by_tag_and_by_post(releases: Layout, tmp_path: Path) -> None:
    """Posts of a tag and tags of a post are what the metadata says."""
    target = tmp_path / "d.sqlite"
    count = export("sqlite", releases.current, target, Selection(), options=WithoutFiles(only_with_file=True))
    with contextlib.closing(sqlite3.connect(target)) as db:
        assert db.execute("SELECT count(*) FROM posts").fetchone() == (count,)
        query = "SELECT post_id FROM post_tags JOIN tags ON tag_id = tags.id WHERE name = 'solo' ORDER BY 1"
        expected = [post.id for post in select(releases.current, Selection(all_tags=("solo",)))]
        assert [row[0] for row in db.execute(query)] == expected
        assert db.execute("SELECT post_count FROM tags WHERE name = 'solo'").fetchone() == (len(expected),)
        for id_, text in db.execute("SELECT id, tag_string FROM posts").fetchall():
            names = db.execute("SELECT name FROM post_tags JOIN tags ON tag_id = id WHERE post_id = ?", [id_])
            assert {row[0] for row in names} == set(text.split())
        assert db.execute("SELECT count(*) FROM pools").fetchone()[0] > 0
        plan = str(db.execute(f"EXPLAIN QUERY PLAN {query}").fetchall())
        assert "SCAN post_tags" not in plan


def test_deepdanbooru_finds_every_image_by_its_md5(releases: Layout, tmp_path: Path) -> None:
    """The loader's path, ``images/`` + two digits + MD5 + extension, leads to a file of that MD5."""
    target = tmp_path / "project"
    options = deepdanbooru.Options(min_posts=2)
    count = export("deepdanbooru", releases.current, target, Selection(), options=options)
    with contextlib.closing(sqlite3.connect(target / "danbooru.sqlite")) as db:
        wanted = "file_ext IN ('png', 'jpg', 'jpeg') AND tag_count_general >= 1"
        rows = db.execute(f"SELECT md5, file_ext, tag_string FROM posts WHERE {wanted} ORDER BY id").fetchall()
    assert len(rows) == count
    for md5, ext, _ in rows:
        assert hashlib.md5((target / "images" / md5[:2] / f"{md5}.{ext}").read_bytes()).hexdigest() == md5
    tags = (target / "tags.txt").read_text().split()
    assert "solo" in tags
    assert tags[-4:] == ["rating:general", "rating:sensitive", "rating:questionable", "rating:explicit"]
    assert len(tags) == len(set(tags))


def test_webdataset_index_finds_every_image(releases: Layout, tmp_path: Path) -> None:
    """Offset and size in the index give the image's own bytes in its shard."""
    export("webdataset", releases.current, tmp_path / "out", Selection())
    for index in (tmp_path / "out").glob("wds-index/*.json"):
        about = json.loads(index.read_bytes())
        shard = (tmp_path / "out/wds" / f"{index.stem}.tar").read_bytes()
        for name, member in about["files"].items():
            data = shard[member["offset"] :][: member["size"]]
            assert hashlib.sha256(data).hexdigest() == member["sha256"], name
        with tarfile.open(tmp_path / "out/wds" / f"{index.stem}.tar") as tar:
            names = tar.getnames()
            assert names == list(about["files"])
            assert names[0].split(".")[0] == names[1].split(".")[0]


def test_kaggle_subset_is_the_same_each_time(releases: Layout, tmp_path: Path) -> None:
    """The same release gives the same bytes; table, zips and descriptor list the same SFW images."""
    for name in "ab":
        assert export("kaggle", releases.current, tmp_path / name, Selection(sample=12)) == 12
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    with (tmp_path / "a/posts.csv").open() as file:
        rows = list(csv.DictReader(file))
    zipped = [name for path in (tmp_path / "a").glob("*.zip") for name in zipfile.ZipFile(path).namelist()]
    assert sorted(zipped) == sorted(row["file_name"] for row in rows)
    assert {row["rating"] for row in rows} <= {"g", "s"}
    about = json.loads((tmp_path / "a/dataset-metadata.json").read_bytes())
    assert {r["path"] for r in about["resources"]} == {p.name for p in (tmp_path / "a").iterdir()} - {
        "dataset-metadata.json",
        "README.md",
    }


def test_captions_are_beside_their_images(releases: Layout, tmp_path: Path) -> None:
    """Every image has a text file with its tags."""
    count = export("captions", releases.current, tmp_path / "c", Selection(all_tags=("solo",)))
    images = list((tmp_path / "c").glob("*/*.jpg"))
    assert len(images) == count > 0
    assert all("solo" in image.with_suffix(".txt").read_text().strip().split(", ") for image in images)


def test_nothing_is_overwritten(releases: Layout, tmp_path: Path) -> None:
    """A target that exists is refused, and an export that fails leaves nothing behind."""
    (tmp_path / "x").write_text("mine")
    with pytest.raises(SettingsError, match="already exists"):
        export("sqlite", releases.current, tmp_path / "x", Selection())
    with pytest.raises(SettingsError, match="--rating"):
        export("captions", releases.current, tmp_path / "y", Selection(ratings=("no",)))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]

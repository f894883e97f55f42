"""Readers written for the original's releases, by their habits, on ours.

Each reads as its model is known to: paths, keys and types that it takes for granted are taken for granted here.
"""

import json
import lzma
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline_tests.support.side_tables import side_tables
from danbooru_pipeline_tests.support.yard import Yard

INTEGERS_2017 = (
    *("id", "uploader_id", "score", "image_width", "image_height", "parent_id", "approver_id", "file_size", "up_score"),
    *("down_score", "pixiv_id"),
)
KEYS_2017 = (
    *INTEGERS_2017,
    *("created_at", "source", "md5", "last_commented_at", "rating", "is_note_locked", "file_ext", "last_noted_at"),
    *("is_rating_locked", "has_children", "is_status_locked", "is_pending", "is_flagged", "is_deleted", "updated_at"),
    "is_banned",
)


@pytest.fixture
def folder(releases: Layout) -> Path:
    """The newest release."""
    return releases.release(2022)


def test_reader_of_2021_makes_its_database(folder: Path) -> None:
    """As loaders of 2021 do: flat keys, integers as strings, all keys but two taken for granted, in every row."""
    db = sqlite3.connect(":memory:")
    columns = "image_id INTEGER PRIMARY KEY, rating TEXT, ext TEXT, size INTEGER, md5 TEXT, flags INTEGER"
    db.execute(f"CREATE TABLE images ({columns})")
    db.execute("CREATE TABLE image_tags (image_id INTEGER, name TEXT, category INTEGER)")
    categories = {"general": 0, "artist": 1, "copyright": 3, "character": 4, "meta": 5}
    for path in sorted(folder.glob("metadata/2022/posts*.json")):
        for line in path.read_text().splitlines():
            post = json.loads(line)
            if "id" not in post:
                continue
            id_ = int(post["id"])
            flags = 1 * post["is_banned"] + 2 * post["is_deleted"] + 4 * post["is_flagged"]
            assert isinstance(post["image_width"], str)
            assert post["created_at"].endswith(" UTC")
            assert int(post["uploader_id"]) > 0
            assert int(post.get("parent_id", 0)) >= 0
            assert int(post.get("pixiv_id", 0)) >= 0
            assert int(post["has_children"]) + int(post["has_visible_children"]) + int(post["has_active_children"]) >= 0
            assert post["updated_at"].endswith(" UTC")
            row = (id_, post["rating"], post["file_ext"], int(post["file_size"]), post["md5"], flags)
            db.execute("INSERT INTO images VALUES (?,?,?,?,?,?)", row)
            for name, number in categories.items():
                tags = [(id_, tag, number) for tag in post[f"tag_string_{name}"].split()]
                db.executemany("INSERT INTO image_tags VALUES (?,?,?)", tags)
    for line in (folder / "metadata/2022/tags000000000000.json").read_text().splitlines():
        tag = json.loads(line)
        assert (int(tag["id"]), tag["name"], int(tag["category"])) is not None
    for line in (folder / "metadata/2022/pools000000000000.json").read_text().splitlines():
        assert all(isinstance(id_, str) for id_ in json.loads(line)["post_ids"])
    rows = db.execute("SELECT image_id, ext FROM images WHERE flags & 1 = 0 AND md5 != ''").fetchall()
    found = [(folder / "original" / f"{id_ % 1000:04d}" / f"{id_}.{ext}").is_file() for id_, ext in rows]
    assert sum(found) == len(list(folder.glob("original/*/*")))
    assert db.execute("SELECT count(*) FROM image_tags").fetchone()[0] > len(rows)


def test_reader_of_2017_makes_its_database(yard: Yard, tmp_path: Path) -> None:
    """As loaders of 2017 to 2020 do: every key of every line is taken for granted, tags, pools and favs are lists."""
    yard.tables |= {name: path.read_bytes() for name, path in side_tables(tmp_path).items()}
    yard.manifest()
    yard.snapshot(DocumentOptions(dialect_2017=True))
    folder = yard.layout.release(2021)
    db = sqlite3.connect(":memory:")
    db.execute(f"CREATE TABLE images ({', '.join(KEYS_2017)}, PRIMARY KEY (id))")
    db.execute("CREATE TABLE tags (id INTEGER PRIMARY KEY, name TEXT UNIQUE, category INTEGER)")
    db.execute("CREATE TABLE image_tags (image_id INTEGER, tag_id INTEGER, PRIMARY KEY (image_id, tag_id))")
    for path in sorted(folder.glob("metadata/2021-old/*")):
        for line in path.read_text(encoding="utf-8").splitlines():
            post = json.loads(line)
            values = [int(post[key]) if key in INTEGERS_2017 else post[key] for key in KEYS_2017]
            db.execute(f"INSERT INTO images VALUES ({', '.join('?' * len(KEYS_2017))})", values)
            for tag in post["tags"]:
                known = (int(tag["id"]), tag["name"], int(tag["category"]))
                db.execute("INSERT OR IGNORE INTO tags VALUES (?,?,?)", known)
                db.execute("INSERT INTO image_tags VALUES (?,?)", (int(post["id"]), known[0]))
            assert all(isinstance(member, str) for member in [*post["pools"], *post["favs"]])
    files = db.execute("SELECT id, file_ext FROM images WHERE md5 != ''").fetchall()
    found = [(folder / "original" / f"{id_ % 1000:04d}" / (f"{id_}." + ext)).is_file() for id_, ext in files]
    assert sum(found) == len(list(folder.glob("original/*/*")))
    counts = dict(db.execute("SELECT name, count(*) FROM image_tags JOIN tags ON id = tag_id GROUP BY name"))
    assert counts["1girl"] == counts["solo"] == len(yard.rows)
    assert db.execute("SELECT count(*) FROM images").fetchone()[0] == len(yard.rows)


def test_filelist_reader_finds_every_file(folder: Path) -> None:
    """As set-up scripts of 2021 do: the list unpacked, lines of the form ``./original/0000/1000.png``."""
    lines = lzma.decompress((folder / "filelist.txt.xz").read_bytes()).decode().splitlines()
    pattern = re.compile(r"^\./(original|512px)/(0\d{3})/(\d+)\.(\w+)$")
    for line in lines:
        match = pattern.match(line)
        assert match, line
        assert int(match[3]) % 1000 == int(match[2])
        assert (folder / line).is_file()
    assert len(lines) == len(list(folder.glob("original/*/*"))) + len(list(folder.glob("512px/*/*")))


def test_nsfw_list_reader_leaves_only_sfw_images(folder: Path) -> None:
    """As filters by ``nsfw-ids.txt`` do: no id of the list has a 512px image."""
    nsfw = {line.strip() for line in (folder / "nsfw-ids.txt").read_text().splitlines()}
    assert nsfw
    assert not [path for path in folder.glob("512px/*/*.jpg") if path.stem in nsfw]


@pytest.mark.needs("rsync")
def test_dataset_maker_copies_by_patterns_and_by_lists(folder: Path, tmp_path: Path) -> None:
    """As makers of small sets do: include patterns ``*/ID.*``, or exact paths for ``--files-from``, to the same end."""
    wanted = [
        post
        for path in folder.glob("metadata/2022/posts*.json")
        for post in map(json.loads, path.read_text().splitlines())
        if "solo" in post["tag_string"].split() and post["rating"] in {"g", "s"}
    ]
    patterns, exact = tmp_path / "patterns", tmp_path / "list"
    patterns.write_text("*/\n" + "".join(f"*/{post['id']}.*\n" for post in wanted))
    held = {int(path.stem) for path in folder.glob("512px/*/*.jpg")}
    ids = [int(post["id"]) for post in wanted if int(post["id"]) in held]
    exact.write_text("".join(f"512px/{id_ % 1000:04d}/{id_}.jpg\n" for id_ in ids))
    include = ["rsync", "-r", f"--include-from={patterns}", "--exclude=*", f"{folder}/512px/", f"{tmp_path / 'one'}/"]
    subprocess.run(include, check=True)
    subprocess.run(["rsync", "-r", f"--files-from={exact}", f"{folder}/", f"{tmp_path / 'two'}/"], check=True)
    one, two = ({path.name for path in (tmp_path / name).rglob("*.jpg")} for name in ("one", "two"))
    assert one == two == {f"{id_}.jpg" for id_ in ids}
    assert ids

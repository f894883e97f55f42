"""The card of a release shows Python that works in its folder, and offers what loads."""

import json
import os
import re
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import read_release
from danbooru_pipeline_tests.support import card_readers
from danbooru_pipeline_tests.support.programs import program_of_validators


def blocks_of(folder: Path) -> list[str]:
    """The Python of a card."""
    return re.findall(r"^```python\n(.*?)^```", (folder / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)


def test_examples_of_the_card_run(releases: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each code block runs by itself in the release; those for `datasets`, which the validators load, are left out."""
    folder = releases.release(2022)
    monkeypatch.chdir(folder)
    blocks = blocks_of(folder)
    tried = [block for block in blocks if "import load_dataset" not in block]
    assert len(tried) == len(blocks) - 1 == 3
    frames: dict[str, object] = {}
    for block in tried:
        exec(block, frames)
    images = frames["images"]
    assert len(images)  # type: ignore[arg-type]
    assert all((folder / path).exists() for path in images["path"])  # type: ignore[index]


def test_examples_run_in_unusual_worlds(worlds: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without posts, without images, without tags: the same examples run, and give images wherever there are some."""
    for name, folder in worlds.items():
        monkeypatch.chdir(folder)
        frames: dict[str, object] = {}
        for block in blocks_of(folder):
            if "import load_dataset" not in block:
                exec(block, frames)
        files = pq.read_table("manifest", columns=["path", "rating"])
        there = len(files) - files["path"].null_count > 0 and files["rating"].null_count == 0
        assert bool(len(frames["images"])) == there, name  # type: ignore[arg-type]


def test_examples_select_a_rating_that_the_release_has(
    releases: Layout, worlds: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The safest: `g` from 2022 on, `s` in 2021, `e` where all posts are explicit."""
    wanted = {
        releases.release(2022): "g",
        releases.release(2021): "s",
        worlds["one"]: "s",
        worlds["explicit"]: "e",
        worlds["none"]: "s",
        worlds["unrated"]: "s",
    }
    for folder, rating in wanted.items():
        text = "".join(blocks_of(folder))
        found = re.findall(r"""field\("rating"\) == "(.)"|\("rating", "==", "(.)"\)""", text)
        assert found == [(rating, ""), ("", rating)]


def test_datasets_loads_what_cards_of_unusual_worlds_offer(worlds: dict[str, Path], tmp_path: Path) -> None:
    """Hugging Face's `datasets` loads every config and the example; a table or folder without rows is not offered."""
    names = ("none", "tables_alone", "one_of_each", "explicit", "gone", "without_tags")
    worlds = {name: worlds[name] for name in names}
    env = os.environ | {"HF_HOME": str(tmp_path), "PYTHONPATH": ""}
    command = [program_of_validators("python"), card_readers.__file__, *map(str, worlds.values())]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    seen = dict(zip(worlds, json.loads(done.stdout.splitlines()[-1]), strict=True))
    for name, folder in worlds.items():
        counts, found = read_release(folder).counts, seen[name]
        assert {found["configs"].get(table, 0) for table in ("posts", "files")} == {counts.posts}, name
        assert ("tag_counts" in found["configs"]) == bool(counts.tags), name
        assert found["default"] == (["posts"] if counts.posts else []), name
        assert found["example"].get("posts", 0) == counts.posts, name
        assert found["example"].get("images", 0) == counts.px512, name
    assert seen["none"]["configs"] == seen["none"]["example"] == {}
    assert seen["tables_alone"]["example"] == {"tags": 1}
    assert {"posts", "files", "tags", "tag_counts"} <= seen["one_of_each"]["configs"].keys()


def test_croissant_of_nothing_is_valid_and_names_no_table(worlds: dict[str, Path]) -> None:
    """`mlcroissant` accepts a description without record sets, and loads the tables of a world that has only those."""
    said = json.loads((worlds["none"] / "croissant.json").read_bytes())
    assert said["recordSet"] == []
    assert [each["@id"] for each in said["distribution"]] == ["metadata.json.tar.xz"]
    for name in ("none", "tables_alone"):
        path = worlds[name] / "croissant.json"
        command = [program_of_validators("mlcroissant"), "validate", "--jsonld", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr
    (table,) = json.loads((worlds["tables_alone"] / "croissant.json").read_bytes())["recordSet"]
    assert table["name"] == "tags"

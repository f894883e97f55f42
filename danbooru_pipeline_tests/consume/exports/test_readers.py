"""The tools themselves, each on an export of the small release; their versions are pinned in .venv-validators."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import danbooru_pipeline
from danbooru_pipeline.consume import export
from danbooru_pipeline.consume.exports import classification, deepdanbooru, images, tagger
from danbooru_pipeline.consume.select import Selection, select
from danbooru_pipeline.images.render import RenderSettings
from danbooru_pipeline.layout import Layout
from danbooru_pipeline_tests.support import export_readers

PYTHON = Path(danbooru_pipeline.__file__).parent.parent / ".venv-validators/bin/python"
OPTIONS: dict[str, Any] = {
    "images": images.Options(render=RenderSettings(size=128, fit="pad")),
    "classification": classification.Options(category="character", min_posts=2, splits=("60", "20", "20")),
    "tagger": tagger.Options(min_posts=3),
    "deepdanbooru": deepdanbooru.Options(min_posts=2),
}
NAMES = {"sqlite": "booru.sqlite", "tags-csv": "tags.csv"}


@pytest.fixture(scope="module")
def folder(releases: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports in the forms that these tools read."""
    folder = tmp_path_factory.mktemp("exports")
    for form in (
        "captions",
        "images",
        "classification",
        "webdataset",
        "duckdb",
        "tags-csv",
        "tagger",
        "sqlite",
        "hakubooru",
    ):
        target = folder / NAMES.get(form, form)
        assert export(form, releases.current, target, Selection(), options=OPTIONS.get(form)) > 0
    return folder


@pytest.fixture(scope="module")
def seen(folder: Path) -> dict[str, Any]:
    """What the tools saw."""
    if not PYTHON.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no .venv-validators; run make validators")
    home = str(folder / "home")
    command = [str(PYTHON), export_readers.__file__, str(folder)]
    env = os.environ | {"HF_HOME": home, "HOME": home, "PYTHONPATH": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def ids(releases: Layout) -> list[int]:
    """Ids of the posts that have a 512px image."""
    return [post.id for post in select(releases.current, Selection())]


def test_hugging_face_reads_captions(seen: dict[str, Any], ids: list[int], folder: Path) -> None:
    """Captions and images load as folders of images with a text each, and no label made of folders."""
    for name in ("captions", "images"):
        assert "label" not in seen[name]["columns"]
        assert all(seen[name]["texts"].values())
    assert sorted(map(int, seen["captions"]["texts"])) == ids
    rows = (folder / "images/metadata.jsonl").read_text().splitlines()
    assert sorted(map(int, seen["images"]["texts"])) == sorted(json.loads(row)["id"] for row in rows)


def test_hugging_face_reads_classes(seen: dict[str, Any], folder: Path) -> None:
    """The folders are the labels, and the splits the splits."""
    assert {"train", "test"} <= set(seen["classification"])
    assert set(seen["classification"]["train"]) <= {path.name for path in folder.glob("classification/*/*")}


def test_shards_are_read_by_their_readers(seen: dict[str, Any], ids: list[int]) -> None:
    """WebDataset decodes every image, Hugging Face counts them."""
    assert seen["wds"] == ids
    assert seen["shards"] == len(ids)


def test_hfutils_reads_by_the_index(seen: dict[str, Any]) -> None:
    """The case t3: hfutils lists and reads a tar by our index, which is the one that it would make."""
    assert seen["index"]["same"]
    assert seen["index"]["names"][0].endswith(".jpg")
    assert seen["index"]["size"] > 0


def test_tables_are_read(seen: dict[str, Any], ids: list[int], releases: Layout) -> None:
    """DuckDB of another version opens the database and the CSV, polars the tables of a tagger."""
    everything = [post.id for post in select(releases.current, Selection(tree="original"))]
    assert seen["tables"]["posts"] >= len(everything)
    assert seen["tables"]["tags"] > 20
    assert 0 < seen["tables"]["train"] <= len(ids)
    assert seen["tables"]["classes"] > 4


def test_datasette_links_and_searches(seen: dict[str, Any]) -> None:
    """Foreign keys are links, search is there, and every page answers."""
    assert seen["sqlite"]["keys"] == [["post_id", "posts"], ["tag_id", "tags"]]
    assert "black_hair" in seen["sqlite"]["found"]
    pages = seen["sqlite"]["pages"]
    assert "danbooru2022 2022.0" in pages["/"]
    assert 'name="_search"' in pages["/booru/tags?_search=hair"]
    assert "black_hair" in pages["/booru/tags?_search=hair"]
    assert "post_tags" in pages["/booru/posts/1"]
    assert all("<table" in pages[path] for path in ("/booru/posts", "/booru/post_tag_names"))


def test_hakubooru_selects_by_tag(seen: dict[str, Any], releases: Layout) -> None:
    """Models as its own find the posts of a tag, and how popular it is."""
    expected = [post.id for post in select(releases.current, Selection(all_tags=("solo",)))]
    assert seen["models"] == {"solo": expected, "popularity": len(expected)}

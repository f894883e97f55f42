"""Documents name the formats that a release has on disk, and what was done to its files."""

import json
from collections import Counter
from pathlib import Path

import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import DocumentOptions
from danbooru_pipeline.settings import Settings
from danbooru_pipeline_tests.support.small_world import make_release
from danbooru_pipeline_tests.support.yard import Yard

TABLES = ["application/vnd.apache.parquet", "application/x-ndjson", "application/x-xz"]
#: By extension; what the world of the tests has.
NAMES = {
    "avif": "image/avif",
    "gif": "image/gif",
    "jpg": "image/jpeg",
    "jxl": "image/jxl",
    "mp4": "video/mp4",
    "png": "image/png",
    "swf": "application/vnd.adobe.flash.movie",
    "webm": "video/webm",
    "webp": "image/webp",
    "zip": "application/zip",
}


def on_disk(folder: Path) -> Counter[str]:
    """Extensions of the originals."""
    return Counter(path.suffix[1:] for path in folder.glob("original/*/*"))


def formats(folder: Path) -> list[str]:
    """What DataCite's description lists."""
    listed: list[str] = json.loads((folder / "datacite.json").read_bytes())["formats"]
    return listed


@pytest.fixture(scope="module")
def archived(booru_files: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A release of a store that keeps JPGs as JPEG XL."""
    booru = request.getfixturevalue("running_booru")
    booru.set_year(2021)
    settings = Settings(
        root=tmp_path_factory.mktemp("archived") / "root",
        api_url=booru.api_url,
        cdn_url=booru.cdn_url,
        workers=2,
        png_level=0,
        retry_seconds=3,
        jpg_archive="jxl",
    )
    with RunContext(settings) as context:
        make_release(context, 2021, options=DocumentOptions())
    return Layout(settings.root).release(2021)


def test_datacite_lists_the_formats_that_are_there(releases: Layout) -> None:
    """The media type of every original and of the 512px images, then those of tables, archives and shards."""
    folder = releases.release(2022)
    found = on_disk(folder)
    assert {"gif", "webp", "mp4", "swf", "zip"} <= found.keys()
    assert formats(folder) == [*sorted({NAMES[name] for name in found} | {"image/jpeg"}), *TABLES, "application/x-tar"]


def test_datacite_of_one_format_lists_no_other(yard: Yard) -> None:
    """A release of JPGs alone has no PNG."""
    assert formats(yard.release()) == ["image/jpeg", *TABLES]


def test_datacite_of_nothing_lists_no_image(tmp_path: Path) -> None:
    """A release without posts has tables alone."""
    assert formats(Yard(Layout(tmp_path)).release()) == TABLES


def test_datacite_names_jpeg_xl(archived: Path) -> None:
    """An archive of JPGs is JPEG XL, and JPG are those that it could not hold and the 512px images."""
    assert {"image/jxl", "image/jpeg"} <= set(formats(archived))
    assert formats(archived) == [*sorted({NAMES[name] for name in on_disk(archived)} | {"image/jpeg"}), *TABLES]

"""Documents name the formats that a release has on disk, and what was done to its files."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import Result

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
    """Types of the originals: their extensions, but for JPG and PNG, which may be called otherwise."""
    known = {b"\xff\xd8\xff": "jpg", b"\x89PN": "png"}
    files = folder.glob("original/*/*")
    return Counter(known.get(path.read_bytes()[:3], path.suffix[1:]) for path in files)


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


def test_datasheet_counts_what_is_on_disk(archived: Path) -> None:
    """The types are those of the files, JPEG XL is a picture, and what was optimised is said by what did it."""
    text = (archived / "DATASHEET.md").read_text()
    (types,) = re.findall(r"File types: (.*?)\. The jxl are JPEG originals as JPEG XL\.\n", text)
    found = on_disk(archived)
    assert found["jxl"] > 1
    assert {name: int(count) for name, count in (each.split() for each in types.split(", "))} == found
    pictures = sum(found[name] for name in ("avif", "gif", "jpg", "jxl", "png", "webp"))
    assert f"; {pictures} images, {found.total() - pictures} videos," in text
    assert f"; {pictures} of them images |" in (archived / "README.md").read_text()
    assert "JPEG originals were turned into JPEG XL" in text
    made_by = set(pq.read_table(archived / "manifest", columns=["optimized_by"])["optimized_by"].to_pylist())
    assert made_by >= {"jpeg-xl", "oxipng -o0"}
    assert ("mozjpeg" in made_by) == ("JPEG and PNG originals were optimised losslessly" in text)


@pytest.mark.parametrize("name", ["README.md", "NOTICE.md", "DATASHEET.md", "index.html", "croissant.json"])
def test_documents_say_how_to_restore_jpeg_xl(archived: Path, yard: Yard, name: str) -> None:
    """They name JPEG XL and the command that gives the source's files back, and a release without any names neither."""
    text, other = (archived / name).read_text(), (yard.release() / name).read_text()
    assert "JPEG XL" in text
    assert "danbooru-pipeline export originals" in text
    assert "JPEG XL" not in other
    assert "export originals" not in other


def test_command_that_documents_name_restores_them(archived: Path, tmp_path: Path, run: Callable[..., Result]) -> None:
    """Run in the release, it gives a JPG in place of each JPEG XL."""
    assert run("export", "originals", archived, tmp_path / "out").exit_code == 0
    for path in archived.glob("original/*/*.jxl"):
        assert (tmp_path / "out" / path.parent.name / f"{path.stem}.jpg").read_bytes()[:3] == b"\xff\xd8\xff"


def test_optimised_formats_are_those_of_the_files(releases: Layout, yard: Yard, tmp_path: Path) -> None:
    """JPEG and PNG where both were made smaller, JPEG alone where there is no PNG, and neither where nothing was."""
    line = "originals were optimised losslessly"
    assert f"JPEG and PNG {line}" in (releases.release(2022) / "DATASHEET.md").read_text()
    assert f"\nJPEG {line}" in (yard.release() / "DATASHEET.md").read_text()
    empty = Yard(Layout(tmp_path / "empty")).release()
    assert "\nOriginals have the bytes of the source.\n" in (empty / "DATASHEET.md").read_text()
    said = json.loads((empty / "croissant.json").read_bytes())["rai:dataPreprocessingProtocol"]
    assert said[0] == "Originals have the bytes of the source."

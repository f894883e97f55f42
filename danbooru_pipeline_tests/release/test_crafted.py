"""A release that was made to do harm is refused: nothing outside it is read, linked or named, and nothing hangs."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from danbooru_pipeline.cli.main import main
from danbooru_pipeline.consume import open_release
from danbooru_pipeline.errors import DanbooruPipelineError
from danbooru_pipeline_tests.support.damage import edit_table, linked_copy, original, put, with_column
from danbooru_pipeline_tests.support.yard import next_year, small_yard

SECRET = "secret of the user"


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Danbooru2021 and Danbooru2022."""
    yard = small_yard(tmp_path_factory.mktemp("two") / "root")
    yard.release()
    next_year(yard).release()
    return yard.layout.releases


@pytest.fixture
def evil(two: Path, tmp_path: Path) -> Path:
    """A copy of Danbooru2022 to be crafted, beside a file that is none of its business."""
    put(tmp_path / "secret.jpg", SECRET.encode())
    return linked_copy(two / "danbooru2022", tmp_path / "evil/danbooru2022")


def call(*words: object) -> Result:
    """Type a command."""
    return CliRunner().invoke(main, [str(word) for word in words])


def outside(folder: Path) -> list[Path]:
    """Files below a folder that hold the secret."""
    return [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


PATHS = ("../../secret.jpg", "original/../../../secret.jpg", "/etc/passwd", "original/0001/../../../../secret.jpg")


@pytest.mark.parametrize("path", PATHS)
def test_manifest_that_names_the_outside_is_refused(evil: Path, tmp_path: Path, path: str) -> None:
    """Case reconstruct-traversal: neither reconstruct, select nor an export follows a path of the manifest."""
    for table in ("manifest/files-*", "*/2021/files-*"):
        edit_table(evil, table, with_column("path", lambda old: [path if value else value for value in old]))
    target = tmp_path / "out/made"
    for words in (
        ("reconstruct", 2021, "--from", evil, "--into", target),
        ("reconstruct", 2021, "--from", evil, "--list"),
        ("select", evil, "--tree", "original"),
        ("export", "originals", evil, target, "--tree", "original"),
        ("export", "captions", evil, target, "--tree", "original"),
    ):
        answer = call(*words)
        assert answer.exit_code == 2, answer.output
        assert isinstance(answer.exception, SystemExit), answer.exception
        assert path not in answer.stdout.splitlines()
    assert not target.exists()
    assert outside(tmp_path) == [tmp_path / "secret.jpg"]


def link_image(folder: Path, secret: Path) -> None:
    """An original is a link to the outside."""
    path = original(folder)
    path.unlink()
    path.symlink_to(secret)


def link_bucket(folder: Path, secret: Path) -> None:
    """A bucket is a link to a folder outside, whose file has the name of an original."""
    bucket, name = original(folder).parent, original(folder).name
    shutil.rmtree(bucket)
    bucket.symlink_to(secret.parent / "bucket")
    put(secret.parent / "bucket" / name, secret.read_bytes())


@pytest.mark.parametrize("craft", [link_image, link_bucket])
def test_links_are_not_followed(evil: Path, tmp_path: Path, craft: Callable[[Path, Path], None]) -> None:
    """A file that a link leads to is neither linked nor packed."""
    craft(evil, tmp_path / "secret.jpg")
    before = set(outside(tmp_path))
    for form in ("captions", "originals", "webdataset", "deepdanbooru"):
        answer = call("export", form, evil, tmp_path / "made" / form, "--tree", "original")
        assert answer.exit_code == 2, (form, answer.output)
        assert isinstance(answer.exception, SystemExit), answer.exception
    answer = call("reconstruct", 2022, "--from", evil, "--into", tmp_path / "again")
    assert answer.exit_code == 2, answer.output
    assert set(outside(tmp_path)) == before
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", ["metadata", "metadata/2021", "metadata/2021/posts000000000000.json"])
@pytest.mark.parametrize("kind", ["pipe", "link", "nowhere"])
def test_metadata_that_is_no_file_is_not_left_out_without_a_word(
    evil: Path, tmp_path: Path, name: str, kind: str
) -> None:
    """An earlier release is not reconstructed without the metadata that should be there."""
    (evil / name).rename(tmp_path / "away")
    if kind == "pipe":
        os.mkfifo(evil / name)
    else:
        (evil / name).symlink_to(tmp_path / ("away" if kind == "link" else "nothing"))
    for words in (("--into", tmp_path / "made"), ("--list",)):
        answer = call("reconstruct", 2021, "--from", evil, *words)
        assert answer.exit_code == 2, answer.output
        assert isinstance(answer.exception, SystemExit), answer.exception
        assert f"{evil / 'metadata'}" in answer.output
        assert len(answer.output.strip().splitlines()) == 1
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("table", ["parquet/posts-00000-of-00001.parquet", "manifest/files-00000-of-00001.parquet"])
@pytest.mark.parametrize("kind", ["pipe", "link", "zero", "garbage"])
def test_tables_that_are_no_files_are_refused(two: Path, evil: Path, tmp_path: Path, table: str, kind: str) -> None:
    """A pipe does not hang a reader, a link does not lead it outside, and garbage is one line."""
    (evil / table).rename(tmp_path / "table")
    if kind == "pipe":
        os.mkfifo(evil / table)
    elif kind == "garbage":
        put(evil / table, b"PAR1" + bytes(100))
    else:
        (evil / table).symlink_to(tmp_path / "table" if kind == "link" else "/dev/zero")
    for words in (("select", evil), ("changes", two / "danbooru2021", evil), ("changes", evil, two / "danbooru2021")):
        answer = call(*words)
        assert answer.exit_code == 2, answer.output
        assert isinstance(answer.exception, SystemExit), answer.exception
    with pytest.raises(DanbooruPipelineError):
        open_release(evil).table("files" if table.startswith("manifest") else "posts")
    with pytest.raises(DanbooruPipelineError):
        open_release(evil).compare(two / "danbooru2021")


def test_ids_beyond_64_bits_are_one_line(evil: Path, two: Path) -> None:
    """An id that no table can hold is refused, and in removed.txt it is of nobody."""
    for option in ("--since-id", "--until-id", "--min-score", "--min-side"):
        answer = call("select", evil, option, 2**63)
        assert (answer.exit_code, option in answer.output) == (2, True)
    put(evil / "removed.txt", f"{2**70}\n".encode())
    assert call("changes", two / "danbooru2021", evil).exit_code == 0
    assert call("verify", evil).exit_code == 1


ODD: dict[str, tuple[str, Callable[[int], pa.Array] | None]] = {
    "tag_string_artist": ("parquet/posts-*", lambda rows: pa.array([7] * rows)),
    "rating": ("parquet/posts-*", lambda rows: pa.array([7] * rows)),
    "score": ("parquet/posts-*", lambda rows: pa.array(["many"] * rows)),
    "size": ("manifest/files-*", lambda rows: pa.array([float("nan")] * rows)),
    "sha256": ("manifest/files-*", lambda rows: pa.nulls(rows, pa.string())),
    "path": ("manifest/files-*", None),
}


@pytest.mark.parametrize("column", ODD)
@pytest.mark.parametrize("form", ["webdataset", "captions", "deepdanbooru", "originals", "sqlite"])
def test_columns_of_other_types_are_refused(evil: Path, tmp_path: Path, column: str, form: str) -> None:
    """Text where numbers belong, numbers that are none, and what is missing, are one line; no export appears."""
    pattern, values = ODD[column]

    def crafted(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(column)
        return table.remove_column(place) if values is None else table.set_column(place, column, values(len(table)))

    edit_table(evil, pattern, crafted)
    answer = call("export", form, evil, tmp_path / "made", "--tree", "original")
    if (form, column) == ("sqlite", "sha256"):  # a row without a digest is a row
        assert answer.exit_code == 0
        return
    assert (answer.exit_code, "verify" in answer.output) == (2, True), answer.output
    assert len(answer.output.strip().splitlines()) == 1
    assert not (tmp_path / "made").exists()

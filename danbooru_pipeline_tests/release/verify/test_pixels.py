"""Pixel hashes of a release are computed again from the release alone."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.images.pixel_hash import pixel_hash_of
from danbooru_pipeline.release import ManifestRow
from danbooru_pipeline.release.manifest.row import manifest_table
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.pixels import check_pixels
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline_tests.support.pictures import illustration, jpeg, png


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Six originals and their manifest."""
    rows = []
    for id_ in range(1, 7):
        path = tmp_path / f"original/{id_:04d}/{id_}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(png(illustration(20 + id_, 10)))
        found = pixel_hash_of(path)
        rows.append(
            ManifestRow(
                id=id_, bucket=f"{id_:04d}", rating="s", status="ok", path=f"original/{id_:04d}/{id_}.png", size=1,
                pixel_hash=found, source_pixel_hash=found, pixel_hash_matches=True, px512_status="skipped",
                first_release=2021,
            )
        )  # fmt: skip
    write(tmp_path, manifest_table(rows))
    return tmp_path


def write(folder: Path, table: pa.Table) -> None:
    """Write a manifest of one part."""
    (folder / "manifest").mkdir(exist_ok=True)
    pq.write_table(table, folder / "manifest/files-00000-of-00001.parquet")


def findings(folder: Path, *, sample: int | None = None) -> tuple[int, list[tuple[Kind, str]]]:
    """How many files were decoded, and what was found."""
    run = Verification(folder=folder, release=None, pixels=True, sample=sample, threads=1)
    return check_pixels(run), [(each.kind, each.where) for each in run.found.kept]


def test_a_right_tree_and_a_sample_of_it(tree: Path) -> None:
    """All files are decoded, or as many as asked for."""
    assert findings(tree) == (6, [])
    assert findings(tree, sample=2) == (2, [])


def test_other_pictures_are_found(tree: Path) -> None:
    """One changed pixel, a re-encoded picture and another post's file are named; a broken file is, too."""
    pixels = illustration(21, 10).numpy().copy()
    pixels[0, 0, 0] ^= 1
    (tree / "original/0001/1.png").write_bytes(png(illustration(21, 10).new_from_array(pixels)))
    (tree / "original/0002/2.png").write_bytes(jpeg(illustration(22, 10)))
    shutil.copy(tree / "original/0003/3.png", tree / "original/0004/4.png")
    (tree / "original/0005/5.png").write_bytes((tree / "original/0005/5.png").read_bytes()[:100])
    wrong = [(Kind.PIXELS_DIFFER, f"original/000{id_}/{id_}.png") for id_ in (1, 2, 4, 5)]
    assert findings(tree) == (6, wrong)


def test_a_release_of_before_has_nothing_to_decode(tree: Path) -> None:
    """Its manifest lacks the columns, which is no fault."""
    path = tree / "manifest/files-00000-of-00001.parquet"
    write(tree, pq.read_table(path).drop_columns(["pixel_hash", "source_pixel_hash", "pixel_hash_matches"]))
    assert findings(tree) == (0, [])


def test_a_link_out_of_the_release_is_not_followed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A bucket that is a link leads to files that are no part of the release."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "b"
    (tree / "original/0001").rename(elsewhere)
    (tree / "original/0001").symlink_to(elsewhere)
    assert findings(tree) == (5, [])

"""A part that is gone, and a file that readers would take for a part, are found though all sums were made again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from danbooru_pipeline.release import verify_release
from danbooru_pipeline.release.provenance import PROVENANCE
from danbooru_pipeline.release.release_json import CONTENT
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release_paths import INDEX, REMOVALS, REMOVED, TEXTS
from danbooru_pipeline_tests.support.damage import made_by_0_2, put, resum
from danbooru_pipeline_tests.support.yard import Yard

LOST = [*TEXTS, REMOVED, REMOVALS, CONTENT, PROVENANCE, INDEX, "512px/metadata.parquet", "parquet/*_vectors-*"]


def lose(folder: Path, pattern: str) -> None:
    """Remove files or a folder."""
    for path in folder.glob(pattern):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@pytest.mark.parametrize("part", LOST)
def test_a_part_that_is_gone_is_missed(copy: Path, part: str) -> None:
    """Whatever every release has is missed by its name, also where no list names it any more."""
    lose(copy, part)
    resum(copy)
    (missed,) = (f.where for f in verify_release(copy).findings if f.kind is Kind.PAPER_MISSING)
    assert missed.startswith(part.partition("*")[0])


@pytest.mark.parametrize(
    "name",
    [
        "parquet/posts-extra.parquet",
        "parquet/more/posts-00000-of-00001.parquet",
        "manifest/old.parquet",
        "manifest/2020/files-00000-of-00001.parquet",
        "metadata/2021/posts0000000000001.json",
        "metadata/2021/posts000000000000.json.gz",
        "metadata/2022/posts000000000000.json",
        "512px/metadata.csv",
        "original/README.md",
        "index/more.roar",
    ],
)
def test_a_file_that_readers_would_take_for_a_part_is_found(copy: Path, name: str) -> None:
    """Wildcards of readers take every file of a folder, so a listed one too many is a finding."""
    put(copy / name, b"")
    resum(copy)
    assert name in {finding.where for finding in verify_release(copy).findings if finding.kind is Kind.STRAY_FILE}


@pytest.mark.parametrize("change", [lambda _: None, made_by_0_2])
def test_releases_of_before_have_fewer_parts(yard: Yard, change: Callable[[dict[str, object]], None]) -> None:
    """What version 0.2 did not write is not missed in its releases."""
    folder = yard.release()
    lose(folder, REMOVALS)
    resum(folder, change)
    assert verify_release(folder).ok is (change is made_by_0_2)

"""What tests of curation share: one release with candidates, made once and only read, and copies of its curation."""

import shutil
from pathlib import Path

import pytest

from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline_tests.support.curated import draw_pictures, with_candidates

Curated = tuple[Path, CurationFolder, set[tuple[int, str]]]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    """A release with pictures and candidates, and the pairs of post and tag that it really lacks."""
    found = with_candidates(tmp_path_factory.mktemp("curated"))
    draw_pictures(found[0])
    return found


@pytest.fixture
def curated(made: Curated, tmp_path: Path) -> Curated:
    """The same release with a folder of curation of its own."""
    release, folder, missing = made
    shutil.copytree(folder.path, tmp_path / "curation")
    return release, CurationFolder(tmp_path / "curation"), missing

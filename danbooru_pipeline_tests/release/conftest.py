"""Stores and releases for the tests of this room."""

import shutil
from pathlib import Path

import pytest

from danbooru_pipeline_tests.support.yard import Yard, small_yard


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    """A store that reconciles."""
    return small_yard(tmp_path / "root")


@pytest.fixture(scope="session")
def _released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_yard(tmp_path_factory.mktemp("released") / "root").release()


@pytest.fixture
def copy(_released: Path, tmp_path: Path) -> Path:
    """A finished release, copied to be damaged, under another name."""
    folder = tmp_path / "somewhere else"
    shutil.copytree(_released, folder)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
    return folder

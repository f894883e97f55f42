"""Unusual releases, made once and only read."""

from pathlib import Path

import pytest

from danbooru_pipeline_tests.support.worlds import odd_worlds


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name of a world -> folder of its release."""
    return odd_worlds(tmp_path_factory.mktemp("worlds"))

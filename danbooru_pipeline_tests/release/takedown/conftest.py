"""What tests of takedowns share."""

from pathlib import Path

import pytest

from danbooru_pipeline_tests.support.yard import Yard, next_year, small_yard


@pytest.fixture(scope="package")
def _two_years(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    yard = small_yard(tmp_path_factory.mktemp("two-years") / "root")
    yard.tables["notes"] = b'{"id":"1","post_id":"1002","body":"said"}\n{"id":"2","post_id":"2003","body":"kept"}\n'
    yard.release()
    later = next_year(yard)
    later.release()
    return later


@pytest.fixture
def two_years(_two_years: Yard, tmp_path: Path) -> Yard:
    """Two releases, with a note on a post."""
    return _two_years.copied(tmp_path / "root")

"""What tests of those who use a release share."""

from pathlib import Path

import pytest

from danbooru_pipeline_tests.support.odd_release import odd_release


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with kaomoji, a withheld post, tags without an id, and side tables about other posts, too."""
    return odd_release(tmp_path_factory.mktemp("odd") / "root")

"""What tests of takedowns share."""

import pytest

from danbooru_pipeline_tests.support.yard import Yard, next_year


@pytest.fixture
def two_years(yard: Yard) -> Yard:
    """Two releases, with a note on a post."""
    yard.tables["notes"] = b'{"id":"1","post_id":"1002","body":"said"}\n{"id":"2","post_id":"2003","body":"kept"}\n'
    yard.release()
    later = next_year(yard)
    later.release()
    return later

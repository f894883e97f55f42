"""The version of a root: newer code's is refused, older code's is brought up to date."""

import msgspec
import pytest

from danbooru_pipeline.errors import DamagedFile, StoreError
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.store.root import ROOT_FORMAT, RootVersion, bring_up_to_date, require_known_root
from danbooru_pipeline_tests.support.yard import Yard


def test_a_root_without_a_version_is_brought_up_to_date(yard: Yard) -> None:
    """A root of 0.1 or 0.2 gets its version with the next build; what it has stays as it is."""
    assert require_known_root(yard.layout) == RootVersion()
    bring_up_to_date(yard.layout)
    assert require_known_root(yard.layout).format == ROOT_FORMAT


def test_a_newer_root_is_refused_with_the_version_that_reads_it(yard: Yard) -> None:
    """One line names the code that wrote it; nothing is changed."""
    data = msgspec.json.encode(RootVersion(ROOT_FORMAT + 1, "9.0.0"))
    write_atomic(yard.layout.root_version, data)
    for work in (require_known_root, bring_up_to_date):
        with pytest.raises(StoreError, match=r"written by danbooru-pipeline 9\.0\.0"):
            work(yard.layout)
    assert yard.layout.root_version.read_bytes() == data


def test_a_damaged_version_is_named(yard: Yard) -> None:
    """A version that cannot be read is damage, and not the version of an old root."""
    write_atomic(yard.layout.root_version, b"{")
    with pytest.raises(DamagedFile, match=r"version\.json"):
        require_known_root(Layout(yard.layout.root))

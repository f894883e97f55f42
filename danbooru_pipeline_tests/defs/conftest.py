"""What tests of the assets share."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.storage.defs_state.base import set_defs_state_storage


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that lives as long as the test."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(autouse=True)
def _nobody_elses_storage() -> Iterator[None]:
    """Definitions are loaded with the storage of the instance opened last, which may be that of a test that is over."""
    with set_defs_state_storage(None):
        yield

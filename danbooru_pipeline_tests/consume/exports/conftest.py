"""What tests of exports share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from danbooru_pipeline_tests.support.tiny_detector import tiny_detector


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of red cells."""
    return tiny_detector(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture
def required(model: Path) -> Callable[[str], tuple[str, ...]]:
    """Options that a form cannot do without."""
    return lambda form: ("--model", str(model)) if form == "faces" else ()

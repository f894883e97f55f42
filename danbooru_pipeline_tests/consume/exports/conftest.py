"""What tests of exports share."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from danbooru_pipeline.cli.main import main
from danbooru_pipeline_tests.support.odd_release import odd_release
from danbooru_pipeline_tests.support.tiny_detector import tiny_detector


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with kaomoji, a withheld post, tags without an id, and side tables about other posts, too."""
    return odd_release(tmp_path_factory.mktemp("odd") / "root")


@pytest.fixture
def run() -> Callable[..., Result]:
    """Call the command line in this process."""
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of red cells."""
    return tiny_detector(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture
def required(model: Path) -> Callable[[str], tuple[str, ...]]:
    """Options that a form cannot do without."""
    return lambda form: ("--model", str(model)) if form == "faces" else ()

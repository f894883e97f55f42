"""What tests of several rooms share: an embedded booru and a run_context on a temporary root."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest
from click.testing import CliRunner, Result

from danbooru_pipeline import sources
from danbooru_pipeline.cli.main import main
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess, start_booru
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.settings import Settings
from danbooru_pipeline_tests.support.memory import keep_temporary_files_in_memory
from danbooru_pipeline_tests.support.order import slow_first
from danbooru_pipeline_tests.support.raw_server import Answer, RawServer, serving
from danbooru_pipeline_tests.support.releases import shared_releases
from danbooru_pipeline_tests.support.yard import Yard, small_yard

# Under nohup every child ignores a hang-up, and in the background of a script Ctrl-C: tests that send one would wait.
for ignored in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.default_int_handler if ignored == signal.SIGINT else signal.SIG_DFL)

# Hundreds of processes import the package, and one of them compiles it for all.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Examples may be slow on a busy machine; how long one takes is no behaviour.
hypothesis.settings.register_profile("house", deadline=None, print_blob=True)
hypothesis.settings.load_profile("house")

#: Few enough to draw in a moment, and still one of every kind.
SMALL_WORLD = 40
TINY_WORLD = 16


keep_temporary_files_in_memory()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let tests that wait for daemons through many minutes be asked for."""
    parser.addoption("--long", action="store_true", help="run the tests that take many minutes, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests that take many minutes to `make test-long`, and begin with the slow ones of the others."""
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes many minutes; run make test-long"))
    items[:] = slow_first(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two workers more than there are processors: tests of production and of kills spend much of their time waiting."""
    return len(os.sched_getaffinity(0)) + 2


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose program is not installed; in CI that is a failure, since nothing would have been shown."""
    for mark in item.iter_markers("needs"):
        for program in mark.args:
            if shutil.which(program) is None:
                complain = pytest.fail if os.environ.get("CI") else pytest.skip
                complain(f"{program} is not installed; see .ci/apt-packages")


@pytest.fixture(scope="session")
def booru_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of the embedded booru, drawn once."""
    return tmp_path_factory.mktemp("booru")


@pytest.fixture(scope="session")
def running_booru(booru_files: Path) -> Iterator[BooruProcess]:
    """One booru for all tests."""
    with start_booru(posts=SMALL_WORLD, year=2021, files=booru_files, rate_limit=False) as booru:
        yield booru


@pytest.fixture
def booru(running_booru: BooruProcess) -> BooruProcess:
    """The booru as of 2021, without faults, its counters at zero."""
    running_booru.clear_faults()
    running_booru.forget_changes()
    running_booru.set_year(2021)
    running_booru.set_date(datetime.now(UTC))
    running_booru.reset_requests()
    return running_booru


@pytest.fixture
def settings(booru: BooruProcess, tmp_path: Path) -> Settings:
    """Settings for that booru and a root of the test's own. Retries are short, since waiting proves nothing."""
    return Settings(
        root=tmp_path / "root", api_url=booru.api_url, cdn_url=booru.cdn_url, workers=2, png_level=0, retry_seconds=3
    )


@pytest.fixture
def context(settings: Settings) -> Iterator[RunContext]:
    """An open run_context."""
    with RunContext(settings) as context:
        yield context


@pytest.fixture
def bring_posts(context: RunContext) -> Callable[[int], None]:
    """Sweeps and splits the posts of a year."""

    def bring(year: int) -> None:
        sources.bring_posts(context.source, context.layout, year, now=context.now(), progress=lambda _line: None)
        sources.split_by_bucket(context.layout, year)

    return bring


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], RawServer]]:
    """Start servers; they stop after the test."""
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(serving(answer))


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Danbooru2021 and Danbooru2022 of a small world, made once for all processes of a run, and only read."""
    return shared_releases(folder_of_all_processes(tmp_path_factory))


@pytest.fixture(scope="session")
def tiny_releases(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The same of a few posts, for tests that read every file of a root many times."""
    return shared_releases(folder_of_all_processes(tmp_path_factory), posts=TINY_WORLD)


def folder_of_all_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes of a run share what one of them made."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    """A store that reconciles."""
    return small_yard(tmp_path / "root")


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """A root with a release, only read."""
    yard = small_yard(tmp_path_factory.mktemp("released") / "root")
    yard.release()
    return yard


@pytest.fixture
def root(released: Yard, tmp_path: Path) -> Layout:
    """A copy of it, to be changed."""
    return released.copied(tmp_path / "root").layout


@pytest.fixture
def run() -> Callable[..., Result]:
    """Call the command line in this process."""
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def copy(released: Yard, tmp_path: Path) -> Path:
    """A finished release, copied to be damaged, under another name."""
    folder = tmp_path / "somewhere else"
    shutil.copytree(released.layout.release(2021), folder)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
    return folder

"""Roots and releases of each version that was tagged: this code reads them, goes on with them, and loses nothing."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

import danbooru_pipeline
from danbooru_pipeline.cli.main import main
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.release import read_release, verify_release
from danbooru_pipeline.store.root import ROOT_FORMAT
from danbooru_pipeline_tests.support.commands import WITH_POSTS, call, command, environment, settings_of

#: By commit, since not every clone has the tags.
VERSIONS = {"v0.2.0": "67c8b836fb11f0aeb9848391360b8f67f57e166e"}
CLONE = Path(danbooru_pipeline.__file__).parents[1]
#: Makes a small release with the code, and the test helpers, of that version; they lack two facts as its builds write
#: them.
SMALL = """
import sys
from pathlib import Path
from danbooru_pipeline_tests.support.yard import small_yard
yard = small_yard(Path(sys.argv[1]))
for id_, row in yard.ledger.items():
    if row.file_type is not None:
        yard.change(id_, file_type="jpg", px512_background=row.px512_sha256 and "white")
yard.release()
"""

Earlier = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=sorted(VERSIONS))
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> Earlier:
    """Run a command line by the code of a tag."""
    if shutil.which("git") is None:
        pytest.skip("git is missing")
    packed = subprocess.run(["git", "archive", VERSIONS[request.param]], cwd=CLONE, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"no clone with the commit of {request.param}")
    folder = tmp_path / request.param
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")

    def run(*line: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        there = {**env, "PYTHONPATH": str(folder)}
        return subprocess.run(line, cwd=folder, env=there, capture_output=True, text=True, check=False, timeout=300)

    return run


def test_release_of_an_earlier_version_is_read_and_changed(
    earlier: Earlier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It verifies, answers and exports, also where its lines lack `updated_at`; a takedown leaves a whole release."""
    root = tmp_path / "root"
    monkeypatch.setenv("DANBOORU_ROOT", str(root))
    made = earlier(sys.executable, "-c", SMALL, str(root), env=environment())
    assert made.returncode == 0, made.stderr
    release = root / "releases/danbooru2021"
    assert verify_release(release, full=True).ok
    for words in (
        ["status", "2021"],
        ["select", str(release), "--ids"],
        ["export", "tags-csv", str(release), str(tmp_path / "tags.csv")],
        ["takedown", "1002"],
    ):
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, (words, done.stderr)
    assert read_release(release).version == "2021.1"
    assert verify_release(release, full=True).ok
    assert not list(root.rglob("1002.*"))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_root_of_an_earlier_version_goes_on(earlier: Earlier, booru: BooruProcess, tmp_path: Path) -> None:
    """The next year is built on it: no original is fetched twice, 512px images are made anew, both releases verify."""
    root = tmp_path / "root"
    env = settings_of(booru, root) | {"DAGSTER_HOME": str(root / "dagster"), "DANBOORU_FIRST_YEAR": "2021"}
    (root / "dagster").mkdir(parents=True)
    built = earlier(*command("build", "2021", "--buckets", WITH_POSTS), env=env)
    assert built.returncode == 0, built.stderr
    held = {path.stem for path in (root / "store/original").glob("[0-9]*/[0-9]*.*")}
    booru.set_year(2022)
    booru.reset_requests()
    done = call("build", "2022", "--buckets", "0000-0059", env=env)
    assert done.returncode == 0, done.stderr
    before = {post["md5"]: post["id"] for post in booru.truth(2021) if post.get("md5")}
    again = {Path(path).stem for path in booru.requested_files()} & before.keys()
    assert not {str(before[md5]) for md5 in again} & held
    assert json.loads((root / "version.json").read_text())["format"] == ROOT_FORMAT
    for year in (2021, 2022):
        assert verify_release(root / f"releases/danbooru{year}", full=True).ok

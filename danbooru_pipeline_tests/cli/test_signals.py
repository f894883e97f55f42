"""A build that gets a signal at any stage publishes nothing, and the next one ends as an undisturbed one."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.release import verify_release
from danbooru_pipeline_tests.support.commands import WITH_POSTS, call, command, environment, settings_of


def files_in(root: Path) -> int:
    """How many originals a build has fetched so far."""
    return sum(1 for path in (root / "store/original").glob("[0-9]*/[0-9]*") if path.is_file())


#: What is on disk when a signal comes, by stage.
MOMENTS: dict[str, Callable[[Path], bool]] = {
    "nothing yet": lambda _root: True,
    "the root is begun": lambda root: (root / "version.json").exists(),
    "posts are swept": lambda root: (root / "metadata/2021/posts.parquet").exists(),
    "side tables begin": lambda root: (root / "metadata/2021/sweep/tables").exists(),
    "notes are read": lambda root: (root / "metadata/2021/sweep/tables/notes").exists(),
    "the first file came": lambda root: files_in(root) >= 1,
    "half of the files came": lambda root: files_in(root) >= 15,
    "the last buckets are in work": lambda root: len(list((root / "store/ledger").glob("[0-9]*"))) >= 33,
    "the manifest is written": lambda root: (root / "metadata/2021/manifest.parquet").exists(),
    "the tree is filled": lambda root: (root / "releases/.danbooru2021.staging").exists(),
}
FAST = ("notes are read", "half of the files came", "the manifest is written")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def stop_at(
    moment: Callable[[Path], bool], number: signal.Signals, root: Path, env: Mapping[str, str]
) -> tuple[int, str, float]:
    """Start a build, and send it a signal once something is on disk. Returns exit code, last line and seconds."""
    with subprocess.Popen(
        command("build", "2021", "--buckets", WITH_POSTS),
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while process.poll() is None and not moment(root):
            time.sleep(0.002)
        process.send_signal(number)
        began = time.monotonic()
        _, err = process.communicate(timeout=120)
    return process.returncode, (err.splitlines() or [""])[-1], time.monotonic() - began


def check_stopped(root: Path, code: int, line: str, seconds: float, *, number: signal.Signals) -> None:
    """Nothing is published, and one line says how to go on."""
    assert code in {128 + number, -number}, line  # before it hears signals, the kernel ends it
    if code > 0:
        assert f"stopped by {number.name}" in line
        assert f"to go on: danbooru-pipeline build 2021 --buckets {WITH_POSTS}" in line
    assert seconds < 20, "ten seconds, on a machine that is busy"
    assert not (root / "releases/danbooru2021").exists()
    assert not (root / "releases/current").is_symlink()


def check_finished(tmp_path: Path, env: Mapping[str, str]) -> None:
    """The next build ends with exit code 0, in the release that an undisturbed build makes."""
    assert call("build", "2021", "--buckets", WITH_POSTS, env=env).returncode == 0
    root = Path(env["DANBOORU_ROOT"])
    assert verify_release(root / "releases/danbooru2021", full=True).ok
    calm_env = {**env, "DANBOORU_ROOT": str(tmp_path / "calm")}
    assert call("build", "2021", "--buckets", WITH_POSTS, env=calm_env).returncode == 0
    calm, disturbed = (folder / "releases/danbooru2021" for folder in (tmp_path / "calm", root))
    for tree in ("original", "512px", "checksums", "metadata"):
        names = {path.relative_to(calm) for path in calm.rglob(f"{tree}/**/*") if path.is_file()}
        assert names == {path.relative_to(disturbed) for path in disturbed.rglob(f"{tree}/**/*") if path.is_file()}
        assert all((calm / name).read_bytes() == (disturbed / name).read_bytes() for name in names)
    inputs = [json.loads((folder / "RELEASE.json").read_text())["inputs"] for folder in (calm, disturbed)]
    assert inputs[0] == inputs[1]


@pytest.mark.slow(40)
@pytest.mark.timeout(900)
def test_build_that_is_stopped_publishes_nothing_and_is_finished_by_the_next(
    tmp_path: Path, booru: BooruProcess
) -> None:
    """Cases signal_in_side_tables and sigterm_moments: three stages, three signals, and then the undisturbed bytes."""
    root = tmp_path / "root"
    env = settings_of(booru, root)
    # Slow enough that a busy machine does not miss a moment.
    env["DANBOORU_REQUESTS_PER_SECOND"] = "20"
    for moment, number in zip(FAST, SIGNALS, strict=True):
        code, line, seconds = stop_at(MOMENTS[moment], number, root, env)
        check_stopped(root, code, line, seconds, number=number)
    check_finished(tmp_path, env)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", SIGNALS)
def test_build_that_is_stopped_at_every_stage(tmp_path: Path, booru: BooruProcess, number: signal.Signals) -> None:
    """Each signal × ten moments, each in a root of its own; the last one is finished."""
    for count, moment in enumerate(MOMENTS.values()):
        env = settings_of(booru, tmp_path / str(count))
        code, line, seconds = stop_at(moment, number, tmp_path / str(count), env)
        check_stopped(tmp_path / str(count), code, line, seconds, number=number)
    check_finished(tmp_path, env)


@pytest.mark.slow(10)
def test_release_without_side_tables_needs_a_decision(tmp_path: Path, booru: BooruProcess) -> None:
    """Case tables.json-gone+retry: refused by name, with the decision; `--without-tables` makes it, and says so."""
    env = settings_of(booru, tmp_path)
    release = tmp_path / "releases/danbooru2021"
    decided = call("build", "2021", "--buckets", WITH_POSTS, "--without-tables", env=env)
    assert decided.returncode == 0, decided.stderr
    said = json.loads((release / "RELEASE.json").read_text())["options"]["accepted_incomplete"]
    assert said == {"side_tables": "left out (build --without-tables)"}
    (tmp_path / "metadata/2021/tables.json").unlink()
    refused = call("build", "2021", "--buckets", WITH_POSTS, "--retry", env=env)
    assert refused.returncode == 1
    assert "tables.json is missing" in refused.stderr.splitlines()[-1]
    assert "--without-tables" in refused.stderr.splitlines()[-1]
    assert json.loads((release / "RELEASE.json").read_text())["version"] == "2021.0"
    assert call("verify", str(release), env=environment()).returncode == 0

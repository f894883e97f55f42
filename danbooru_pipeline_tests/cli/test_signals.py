"""A command that gets a signal at any stage publishes nothing, and the next one ends as an undisturbed one."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.release import verify_release
from danbooru_pipeline_tests.support import signalled
from danbooru_pipeline_tests.support.commands import WITH_POSTS, call, command, environment, settings_of
from danbooru_pipeline_tests.support.forked import run_module
from danbooru_pipeline_tests.support.processes import children_of


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
#: So many that a build shares them out to processes of its own.
IN_LANES = "0000-0200"
#: From this part of a command on, its work may be done before it looks.
LATE = 0.75
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


def workers_below(pid: int) -> list[int]:
    """Processes of Python's own that a process started: lanes below a build, image workers below a lane."""
    return children_of(pid, b"spawn_main")


def kill_at(
    moment: Callable[[Path], bool], victims: Callable[[int], list[int]], root: Path, env: Mapping[str, str]
) -> tuple[int, str]:
    """Start a build in lanes, and kill the first process that `victims` gives. Returns exit code and errors."""
    with subprocess.Popen(
        command("build", "2021", "--buckets", IN_LANES),
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        killed = False
        while process.poll() is None and not killed:
            time.sleep(0.002)
            if moment(root):
                for victim in victims(process.pid)[:1]:
                    os.kill(victim, signal.SIGKILL)
                    killed = True
        _, err = process.communicate(timeout=120)
    assert killed
    return process.returncode, err


def image_workers(pid: int) -> list[int]:
    """The image workers of a build's lanes."""
    return [worker for lane in workers_below(pid) for worker in workers_below(lane)]


def check_stopped(root: Path, code: int, line: str, seconds: float, *, number: signal.Signals) -> None:
    """Nothing is published, and one line says how to go on."""
    assert code in {128 + number, -number}, line  # before it hears signals, the kernel ends it
    if code > 0:
        assert f"stopped by {number.name}" in line
        assert f"to resume: danbooru-pipeline build 2021 --buckets {WITH_POSTS}" in line
    assert seconds < 20, "ten seconds, on a machine that is busy"
    assert not (root / "releases/danbooru2021").exists()
    assert not (root / "releases/current").is_symlink()


def check_killed_lane(root: Path, env: Mapping[str, str]) -> None:
    """A lane that is killed ends the build with one line, and nothing is published."""
    code, err = kill_at(lambda root: files_in(root) >= 8, workers_below, root, env)
    assert code == 2
    assert "a process of this build was killed" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not (root / "releases/danbooru2021").exists()


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


@pytest.mark.slow(60)
@pytest.mark.timeout(900)
def test_build_that_is_stopped_publishes_nothing_and_is_finished_by_the_next(
    tmp_path: Path, booru: BooruProcess
) -> None:
    """Cases signal_in_side_tables and sigterm_moments: a kill, three signals, then the undisturbed bytes."""
    root = tmp_path / "root"
    env = settings_of(booru, root)
    # Slow enough that a busy machine does not miss a moment.
    env["DANBOORU_REQUESTS_PER_SECOND"] = "20"
    check_killed_lane(root, env)
    for moment, number in zip(FAST, SIGNALS, strict=True):
        code, line, seconds = stop_at(MOMENTS[moment], number, root, env)
        check_stopped(root, code, line, seconds, number=number)
    check_finished(tmp_path, env)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_image_worker_that_is_killed_costs_nothing(tmp_path: Path, booru: BooruProcess) -> None:
    """Its file is tried again: exit code 0, and the bytes of an undisturbed build."""
    env = settings_of(booru, tmp_path / "root") | {"DANBOORU_REQUESTS_PER_SECOND": "20"}
    code, err = kill_at(MOMENTS["half of the files came"], image_workers, tmp_path / "root", env)
    assert code == 0, err
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


def check_signalled(folder: Path, *, moments: int) -> None:
    """verify, export and takedown × each signal × so many moments: stopped in time, and finished by the next."""
    said = run_module(signalled.__name__, folder, moments, timeout=3000)
    found = [json.loads(line) for line in said.splitlines()]
    assert len(found) == 3 * len(SIGNALS) * moments
    for each in found:
        number = signal.Signals(each["signal"])
        # Whoever is through with what a signal could stop is done.
        assert each["code"] in ({128 + number, 0} if each["part"] > LATE else {128 + number}), each
        if each["code"]:
            assert each["said"].startswith(f"danbooru-pipeline: stopped by {number.name}"), each
            assert f"to resume: danbooru-pipeline {each['command']}" in each["said"], each
        assert each["seconds"] < 10, each
        assert each["again"] == 0, each
        assert each["same"], each


@pytest.mark.slow(20)
@pytest.mark.timeout(600)
def test_command_on_a_release_that_is_stopped_is_finished_by_the_next(tmp_path: Path) -> None:
    """Three moments: what `takedown` and `export` leave in the end has the bytes of undisturbed ones."""
    check_signalled(tmp_path, moments=3)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_command_on_a_release_that_is_stopped_at_ten_moments(tmp_path: Path) -> None:
    """The same with ten."""
    check_signalled(tmp_path, moments=10)


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

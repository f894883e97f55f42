"""The command `follow`: what it prints, its exit codes, and a run that is killed."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import bring_posts, split_by_bucket
from danbooru_pipeline.store.ledger import read_ledger
from danbooru_pipeline_tests.support.altered import BY_IDS, altered
from danbooru_pipeline_tests.support.commands import call, command, settings_of


@pytest.fixture
def env(tmp_path: Path, booru: BooruProcess) -> dict[str, str]:
    """The environment of a root with the posts of 2021; the site is a year further."""
    settings = Settings(root=tmp_path / "root", api_url=booru.api_url, cdn_url=booru.cdn_url)
    with RunContext(settings) as context:
        bring_posts(context.source, context.layout, 2021, now=context.now(), progress=lambda _line: None)
        split_by_bucket(context.layout, 2021)
    booru.set_year(2022)
    booru.reset_requests()
    return settings_of(booru, tmp_path / "root") | {"DANBOORU_WORKERS": "1"}


def test_follow_tells_what_it_did(env: dict[str, str], booru: BooruProcess) -> None:
    """A dry run asks for no file; a run that leaves files says so by its exit code, and the next one takes them."""
    told = call("follow", "--dry-run", env=env)
    assert told.returncode == 0, told.stderr
    assert "would fetch" in told.stdout
    assert not booru.requested_files()
    lost = next(post for post in booru.truth(2022) if post.get("md5") and post["created_at"] > "2022-02")
    booru.set_fault(lost["md5"], "gone")
    left = call("follow", "--json", env=env)
    assert left.returncode == 1
    assert json.loads(left.stdout)["left"] == 1
    booru.clear_faults()
    assert call("follow", env=env).returncode == 0
    status = json.loads(call("status", "--json", env=env).stdout)["follow"]
    assert status["left"] == 0


def test_refused_question_is_told_by_the_exit_code(env: dict[str, str], booru: BooruProcess) -> None:
    """A run whose question about known posts was refused says with which status, and exits with 1."""
    lost = next(post for post in booru.truth(2022) if post.get("md5") and post["created_at"] > "2022-02")
    booru.set_fault(lost["md5"], "gone")
    instead: dict[str, tuple[int, bytes]] = {}
    with altered(booru, instead=instead) as url:
        there = env | {"DANBOORU_API_URL": url}
        assert json.loads(call("follow", "--json", env=there).stdout)["refused"] == ""
        instead[BY_IDS] = (422, b"{}")
        told, as_json = call("follow", env=there), call("follow", "--json", env=there)
    assert (told.returncode, as_json.returncode) == (1, 1)
    assert "answers HTTP 422 to a question about posts by their ids" in told.stdout
    assert "HTTP 422" in json.loads(as_json.stdout)["refused"]


def test_killed_run_is_resumed(env: dict[str, str], booru: BooruProcess) -> None:
    """A run that dies in the middle leaves whole files; the next one brings the rest, and hardly one file twice."""
    for post in booru.truth(2022):
        if post.get("md5") and post["created_at"] > "2022-09":
            booru.set_fault(post["md5"], "slow")
    with subprocess.Popen(command("follow"), env=env, stderr=subprocess.DEVNULL) as running:
        while not rows(env):
            assert running.poll() is None
            time.sleep(0.05)
        running.kill()
    before = rows(env)
    booru.clear_faults()
    booru.reset_requests()
    assert call("follow", env=env).returncode == 0
    after = rows(env)
    assert before <= after
    assert len(after) > len(before) > 0
    assert len(booru.requested_files()) <= len(after) - len(before) + 1


def rows(env: dict[str, str]) -> set[int]:
    """Ids with a row in some ledger, or with one that its journal has."""
    folder = Path(env["DANBOORU_ROOT"]) / "store/ledger"
    return {id_ for bucket in BUCKETS if (path := folder / f"{bucket}.parquet").exists() for id_ in read_ledger(path)}


def test_wrong_settings_are_one_line_each(env: dict[str, str]) -> None:
    """Each bad setting is told in a line that says what is wanted."""
    wrong = {"FOLLOW_DELAY_HOURS": "soon", "FOLLOW_REQUESTS_PER_SECOND": "0", "FOLLOW": "1"}
    result = call("follow", env=env | {f"DANBOORU_{name}": value for name, value in wrong.items()})
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 3
    assert all(f"DANBOORU_{name}" in result.stderr for name in wrong)

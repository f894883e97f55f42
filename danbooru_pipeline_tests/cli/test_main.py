"""The command line as a user calls it: a process of its own, its settings from the environment."""

import contextlib
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
from danbooru_pipeline_tests.support.commands import WITH_POSTS, call, command, environment, settings_of

#: Hosts of nobody: the port of the discard service on loopback.
NOWHERE = "http://127.0.0.1:9"


def unwritable(tmp_path: Path) -> str:
    """A root below a file, which nobody can create, not even an administrator."""
    (tmp_path / "file").touch()
    return str(tmp_path / "file" / "root")


BAD_SETTINGS = {
    "no contact for a public host": ({"api_url": "https://danbooru.donmai.us"}, "DANBOORU_CONTACT"),
    "unreachable source": ({"api_url": NOWHERE, "cdn_url": NOWHERE, "retry_seconds": "0.5"}, "does not respond"),
    "root without space": (
        {"api_url": NOWHERE, "cdn_url": NOWHERE, "min_free_bytes": str(2**62)},
        "free some space",
    ),
    "no number": ({"api_url": NOWHERE, "cdn_url": NOWHERE, "workers": "two"}, "DANBOORU_WORKERS"),
    "source without an address": ({"api_url": NOWHERE, "cdn_url": NOWHERE, "posts_source": "dump"}, "DANBOORU_DUMP"),
    "unknown source": ({"api_url": NOWHERE, "cdn_url": NOWHERE, "posts_source": "magic"}, "POSTS_SOURCE"),
}


@pytest.mark.parametrize("words", [("--version",), ("build", "2021", "--buckets", "5-3"), ("bild",)])
def test_forked_command_is_as_one_that_is_started(tmp_path: Path, words: tuple[str, ...]) -> None:
    """What tests call in a fork says the same and ends the same as what a shell starts."""
    env = environment(root=str(tmp_path / "root"), api_url=NOWHERE, cdn_url=NOWHERE)
    started = subprocess.run(command(*words), env=env, capture_output=True, text=True, check=False)
    forked = call(*words, env=env)
    assert (forked.returncode, forked.stdout, forked.stderr) == (started.returncode, started.stdout, started.stderr)


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_bad_settings_end_in_one_line(tmp_path: Path, case: str) -> None:
    """A build that cannot work says so in one line, exits with 2 and leaves nothing behind."""
    values, expected = BAD_SETTINGS[case]
    root = tmp_path / "root"
    result = call("build", "2021", env=environment(root=str(root), **values))
    assert result.returncode == 2
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1
    assert not root.exists()


def test_unwritable_root_ends_in_one_line(tmp_path: Path) -> None:
    """A root that cannot be created is refused before any request."""
    env = environment(root=unwritable(tmp_path), api_url=NOWHERE, cdn_url=NOWHERE)
    result = call("build", "2021", env=env)
    assert result.returncode == 2
    assert "DANBOORU_ROOT" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("year", "expected"), [("1999", "FIRST_YEAR"), ("2999", "when its year is over"), ("x", "x")])
def test_unknown_year_is_refused(tmp_path: Path, year: str, expected: str) -> None:
    """A year before the first, one that is not over, or one that is not a number is a usage error."""
    root = tmp_path / "root"
    result = call("build", year, env=environment(root=str(root), api_url=NOWHERE, cdn_url=NOWHERE))
    assert result.returncode == 2
    assert expected in result.stderr
    assert not root.exists()


def test_reason_that_nobody_can_ask_about_again_is_refused(tmp_path: Path, booru: BooruProcess) -> None:
    """A typing error in `--recheck` asks for nothing: one line names it and those that there are."""
    root = tmp_path / "root"
    result = call("build", "2021", "--recheck", "gnoe", env=settings_of(booru, root))
    assert result.returncode == 2
    assert "gnoe: not a reason to ask again; give all, or some of" in " ".join(result.stderr.split())
    assert not root.exists()


def test_wrong_buckets_are_refused(tmp_path: Path, booru: BooruProcess) -> None:
    """Buckets outside 0000-0999 are a usage error that leaves nothing behind."""
    root = tmp_path / "root"
    result = call("build", "2021", "--buckets", "0990-1000", env=settings_of(booru, root))
    assert result.returncode == 2
    assert "buckets" in result.stderr
    assert not root.exists()


def test_source_that_is_no_booru_is_refused(tmp_path: Path, booru: BooruProcess) -> None:
    """An address with another site behind it gets another message than one that does not answer."""
    root = tmp_path / "root"
    env = settings_of(booru, root) | {"DANBOORU_API_URL": booru.cdn_url}
    result = call("build", "2021", env=env)
    assert result.returncode == 2
    assert "DANBOORU_API_URL" in result.stderr
    assert not root.exists()


def test_misspelt_setting_is_told(tmp_path: Path) -> None:
    """A variable that is not a setting is named, since it would silently do nothing."""
    result = call("status", env=environment(api_url=NOWHERE, cdn_url=NOWHERE, rooot="x"))
    assert "DANBOORU_ROOOT" in result.stderr


def test_verify_needs_no_settings(tmp_path: Path) -> None:
    """Verification runs without any setting, and a folder that is not a release is a usage error."""
    result = call("verify", str(tmp_path), env=environment())
    assert result.returncode == 2
    assert "RELEASE.json" in result.stderr


def test_status_of_nothing(tmp_path: Path) -> None:
    """An empty root has a status too."""
    env = environment(root=str(tmp_path))  # it asks nobody, so it needs no contact
    assert "build" in call("status", env=env).stdout
    assert json.loads(call("status", "--json", env=env).stdout)["years"] == []


def test_doctor_tells_by_its_exit_code_whether_a_build_can_start(tmp_path: Path, booru: BooruProcess) -> None:
    """0 on a healthy machine and 1 with an error among the findings, in lines or as JSON."""
    env = settings_of(booru, tmp_path)
    healthy = call("doctor", env=env)
    assert healthy.returncode == 0, healthy.stdout
    assert "ok      hard_links" in healthy.stdout
    sick = call("doctor", "--json", env=env | {"DANBOORU_MIN_FREE_BYTES": str(2**62)})
    assert sick.returncode == 1
    assert {"name": "disk", "health": "error"}.items() <= json.loads(sick.stdout)["findings"][1].items()


@pytest.mark.slow(25)
def test_build_of_some_buckets_makes_the_release_when_they_are_all(tmp_path: Path, booru: BooruProcess) -> None:
    """Buckets with all posts make a release; fewer do not, and the build says so. A second build requests no file."""
    env = settings_of(booru, tmp_path)
    some = call("build", "2021", "--buckets", "0000-0009", env=env)
    assert some.returncode == 0
    assert "no release yet" in some.stderr
    assert not (tmp_path / "releases/danbooru2021").exists()
    whole = call("build", "2021", "--buckets", WITH_POSTS, env=env)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert verify_release(tmp_path / "releases/danbooru2021", full=True).ok
    booru.reset_requests()
    again = call("build", "2021", "--buckets", WITH_POSTS, env=env)
    assert again.returncode == 0
    assert booru.requests().get("files", 0) == 0
    status = json.loads(call("status", "2021", "--json", env=env).stdout)["years"][0]
    assert status["version"] == "2021.0"
    assert status["buckets_with_work"] == 0
    assert status["is_current"]
    verified = call("verify", str(tmp_path / "releases/current"), "--full", "--json", env=environment())
    assert verified.returncode == 0
    assert json.loads(verified.stdout)["ok"]


@pytest.mark.slow(18)
def test_pending_posts_are_told_by_the_exit_code(tmp_path: Path, booru: BooruProcess) -> None:
    """A file that cannot be fetched leaves exit code 1 and a release that names it; a later build completes it."""
    env = settings_of(booru, tmp_path)
    post = next(p for p in booru.truth(2021) if p.get("md5") and p["file_ext"] == "jpg")
    booru.set_fault(post["md5"], "error")
    left = call("build", "2021", "--buckets", WITH_POSTS, env=env)
    assert left.returncode == 1
    assert "retry_exhausted" in left.stdout
    assert call("verify", str(tmp_path / "releases/danbooru2021"), "--full", env=environment()).returncode == 0
    assert "1 post is pending" in left.stdout
    booru.clear_faults()
    booru.reset_requests()
    done = call("build", "2021", "--retry", env=env)
    assert done.returncode == 0
    assert len(booru.requested_files()) == 1
    assert booru.requests()["posts"] == 1, "the posts are not swept again; one request makes sure of the source"
    assert json.loads((tmp_path / "releases/danbooru2021/RELEASE.json").read_text())["version"] == "2021.1"


def files_in(root: Path, folder: str) -> int:
    """How many files a build has written to a folder of the store so far."""
    return sum(1 for path in (root / "store" / folder).glob("[0-9]*/[0-9]*") if path.is_file())


#: What is on disk when a build is killed. None of it goes away again, so no moment can be missed.
MOMENTS: dict[str, Callable[[Path], bool]] = {
    "posts are swept": lambda root: (root / "metadata/2021/posts.parquet").exists(),
    "the first file came": lambda root: files_in(root, "original") >= 1,
    "half of the files came": lambda root: files_in(root, "original") >= 15,
    "the last bucket is in work": lambda root: len(list((root / "store/ledger").glob("[0-9]*"))) >= 35,
    "the manifest is written": lambda root: (root / "metadata/2021/manifest.parquet").exists(),
    "the release has its name": lambda root: (root / "releases/danbooru2021").exists(),
}


def kill_at(moment: Callable[[Path], bool], root: Path, env: Mapping[str, str]) -> None:
    """Start a build, and kill it with all its children as soon as something is on disk."""
    with subprocess.Popen(
        command("build", "2021", "--buckets", WITH_POSTS),
        env=env,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None and not moment(root):
            time.sleep(0.002)
        with contextlib.suppress(ProcessLookupError):  # it came to its end just then
            os.killpg(process.pid, signal.SIGKILL)


def test_retry_of_nothing_is_refused(tmp_path: Path, booru: BooruProcess) -> None:
    """Without an earlier build there is nothing to retry."""
    result = call("build", "2021", "--retry", env=settings_of(booru, tmp_path))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "nothing to retry" in result.stderr


def test_plan_downloads_and_writes_nothing(tmp_path: Path, booru: BooruProcess) -> None:
    """The plan of a year is printed as text or JSON, with exit code 0, and the root stays untouched."""
    env = settings_of(booru, tmp_path / "root")
    shown = call("plan", "2021", env=env)
    assert shown.returncode == 0
    assert "would download" in shown.stdout
    told = json.loads(call("plan", "2021", "--json", env=env).stdout)
    assert told["files"] > 20
    assert not (tmp_path / "root").exists()
    assert booru.requests().get("files", 0) == 0


@pytest.mark.slow(70)
@pytest.mark.timeout(1200)
def test_killed_builds_end_as_an_undisturbed_one(tmp_path: Path, booru: BooruProcess) -> None:
    """Builds that are killed at several moments and then finished give the same files as an undisturbed one."""
    for name, moments in {"calm": {}, "killed": MOMENTS}.items():
        env = settings_of(booru, tmp_path / name)
        for moment in moments.values():
            kill_at(moment, tmp_path / name, env)
        result = call("build", "2021", "--buckets", WITH_POSTS, env=env)
        assert result.returncode == 0, result.stderr
        assert verify_release(tmp_path / name / "releases/danbooru2021", full=True).ok
    calm, killed = tmp_path / "calm/releases/danbooru2021", tmp_path / "killed/releases/danbooru2021"
    for tree in ("original", "512px", "checksums"):
        files = {path.relative_to(calm) for path in calm.glob(f"{tree}/*/*")}
        assert files == {path.relative_to(killed) for path in killed.glob(f"{tree}/*/*")}
        assert all((calm / name).read_bytes() == (killed / name).read_bytes() for name in files)

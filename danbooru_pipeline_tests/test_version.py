"""The version names the code that runs: from tags in a clone, from a stamp where there is no git."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import danbooru_pipeline
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import read_release
from danbooru_pipeline.version import NEXT, Version, describe, parse_description, version

ROOT = Path(danbooru_pipeline.__file__).parent.parent
COMMIT = "0123456789abcdef0123456789abcdef01234567"
Git = Callable[..., str]


@pytest.mark.parametrize(
    ("said", "number", "commit"),
    [
        (f"v0.2.0-0-g{COMMIT}\n", "0.2.0", COMMIT),
        (f"v0.2.0-0-g{COMMIT}-dirty", "0.2.1.dev0+g0123456789.dirty", COMMIT),
        (f"v0.9.9-12-g{COMMIT}", "0.9.10.dev12+g0123456789", COMMIT),
        (f"v1.0.0-3-g{COMMIT}-dirty", "1.0.1.dev3+g0123456789.dirty", COMMIT),
        (COMMIT, f"{NEXT}.dev0+g0123456789", COMMIT),
        (f"{COMMIT}-dirty", f"{NEXT}.dev0+g0123456789.dirty", COMMIT),
        ("", f"{NEXT}.dev0", None),
        ("v0.2-rc1-0-gzzz", f"{NEXT}.dev0", None),
    ],
)
def test_description_becomes_a_version(said: str, number: str, commit: str | None) -> None:
    """A tag alone is a release; commits after it, changed files and a missing tag make a development version."""
    assert parse_description(said) == Version(number=number, commit=commit)


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Run git in a new repository."""
    folder = tmp_path / "clone"
    folder.mkdir()

    def run(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    run("init", "--quiet")
    (folder / "file").write_text("one")
    run("add", "file")
    run("commit", "--quiet", "--message=first")
    return run


@pytest.mark.needs("git")
def test_clone_is_asked(git: Git, tmp_path: Path) -> None:
    """A clone without tags knows its commit, one with a tag its number, and one with changed files says so."""
    clone = tmp_path / "clone"
    commit = git("rev-parse", "HEAD")
    assert parse_description(describe(clone)) == Version(number=f"{NEXT}.dev0+g{commit[:10]}", commit=commit)
    git("tag", "v0.3.0")
    assert parse_description(describe(clone)) == Version(number="0.3.0", commit=commit)
    (clone / "file").write_text("two")
    assert parse_description(describe(clone)).number == f"0.3.1.dev0+g{commit[:10]}.dirty"


@pytest.mark.needs("git")
def test_other_repositories_are_not_asked(git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a repository around an installed package nor that of a git hook speaks for the package."""
    inside = tmp_path / "clone/site-packages"
    inside.mkdir()
    assert describe(inside) == ""
    (tmp_path / "other").mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path / "other", check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    assert describe(tmp_path / "clone").strip() == git("--git-dir=.git", "rev-parse", "HEAD")


@pytest.mark.needs("git")
def test_clone_that_git_refuses_has_no_commit(tmp_path: Path) -> None:
    """A clone that git cannot read is not an error; its version has no commit."""
    (tmp_path / ".git").write_text("gitdir: nowhere")
    assert describe(tmp_path) == ""


def build(tree: Path, target: str, out: Path, **environment: str) -> Path:
    """Build a wheel or an sdist as pip does, and return it."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)],
        cwd=tree,
        check=True,
        env={name: value for name, value in os.environ.items() if name != "GIT_DESCRIBE"} | environment,
        capture_output=True,
    )
    (built,) = out.iterdir()
    return built


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The project as a container's build context has it: without .git."""
    folder = tmp_path / "tree"
    shutil.copytree(
        ROOT / "danbooru_pipeline", folder / "danbooru_pipeline", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def stamp_of(wheel: Path) -> dict[str, str | None]:
    """The stamp in a wheel, which must be there once, beside metadata with the same number."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert names.count("danbooru_pipeline/version.json") == 1
        stamp: dict[str, str | None] = json.loads(archive.read("danbooru_pipeline/version.json"))
        metadata = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    assert f"\nVersion: {stamp['number']}\n" in metadata
    return stamp


def test_container_image_is_stamped(tree: Path, tmp_path: Path) -> None:
    """A build without .git takes what it is handed in, and leaves nothing behind in its tree."""
    wheel = build(tree, "wheel", tmp_path / "out", GIT_DESCRIBE=f"v0.5.0-0-g{COMMIT}")
    assert stamp_of(wheel) == {"number": "0.5.0", "commit": COMMIT}
    assert not (tree / "danbooru_pipeline/version.json").exists()


def test_build_that_knows_nothing_says_so(tree: Path, tmp_path: Path) -> None:
    """Without git and without a description the version is the next one's, and there is no commit."""
    assert stamp_of(build(tree, "wheel", tmp_path / "out")) == {"number": f"{NEXT}.dev0", "commit": None}


def test_sdist_remembers_its_commit(tree: Path, tmp_path: Path) -> None:
    """A wheel that is built from an sdist has the sdist's version."""
    sdist = build(tree, "sdist", tmp_path / "out", GIT_DESCRIBE=f"v0.5.0-2-g{COMMIT}")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    wheel = build(unpacked, "wheel", tmp_path / "again")
    assert stamp_of(wheel) == {"number": "0.5.1.dev2+g0123456789", "commit": COMMIT}


@pytest.mark.parametrize("stamped", [False, True])
def test_git_is_started_only_in_a_clone_that_wants_to_know(tree: Path, tmp_path: Path, *, stamped: bool) -> None:
    """Importing the package starts no git, and one with a stamp never starts it."""
    (tree / ".git").mkdir()
    if stamped:
        stamp = Version(number="0.5.0", commit=COMMIT)
        (tree / "danbooru_pipeline/version.json").write_text(stamp.as_json())
    fake = tmp_path / "bin/git"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho started >> {tmp_path}/asked\necho "v0.5.0-0-g{COMMIT}"\n')
    fake.chmod(0o755)
    program = (
        "import os, danbooru_pipeline.settings, danbooru_pipeline.images as i\n"
        f"assert not os.path.exists('{tmp_path}/asked')\n"
        "print(danbooru_pipeline.__version__, danbooru_pipeline.__version__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tree,
        env={**os.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}", "PYTHONPATH": str(tree)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "0.5.0 0.5.0\n"
    asked = tmp_path / "asked"
    assert (asked.read_text() if asked.exists() else "") == ("" if stamped else "started\n")


def test_release_names_the_code_that_made_it(releases: Layout) -> None:
    """RELEASE.json has name, version and commit."""
    text = (releases.release(2022) / "RELEASE.json").read_text()
    tool = json.loads(text)["tool"]
    assert tool == {"name": "danbooru-pipeline", "version": version().number, "commit": version().commit}
    assert read_release(releases.release(2022)).tool.commit == version().commit


def test_claimed_python_versions_are_those_that_are_tried() -> None:
    """Classifiers, requires-python and what `make versions` tries are the same versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    line = re.search(r"^VERSIONS := (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert line
    tried = line[1].split()
    claimed = [text.rpartition(" ")[2] for text in project["classifiers"] if re.search(r"Python :: 3\.\d+$", text)]
    assert claimed == tried
    after = f"3.{int(tried[-1].partition('.')[2]) + 1}"
    assert project["requires-python"] == f">={tried[0]},<{after}"


@pytest.mark.parametrize("found", ["3.10", "3.14"])
def test_other_python_versions_are_refused_in_one_line(tmp_path: Path, found: str) -> None:
    """`make` says which versions would do, and which it found, before anything is installed."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho {found}\n")
    python.chmod(0o755)
    done = subprocess.run(
        [ROOT / ".ci/find-python", "3.11", "3.12", "3.13"],
        env={**os.environ, "PYTHON": str(python)},
        check=False,
        capture_output=True,
        text=True,
    )
    expected = f"Python 3.11, 3.12 or 3.13 is needed; found {found} ({python})\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)

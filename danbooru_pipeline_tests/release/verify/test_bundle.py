"""`verify` in one file: with Python and pyarrow and nothing else it finds the same, and it is small."""

import hashlib
import json
import subprocess
import sys
import venv
from pathlib import Path

import pyarrow as pa
import pytest

from danbooru_pipeline.release import Kind, verify_release
from danbooru_pipeline.release.verify.bundle import write_bundle
from danbooru_pipeline_tests.support.damage import edit_table, flip, original, resum, with_column


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has pyarrow alone."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    installed = Path(pa.__file__).parents[1]
    for name in ("pyarrow", "pyarrow.libs"):
        if (installed / name).exists():
            (packages / name).symlink_to(installed / name)
    return folder / "bin/python"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file."""
    path = tmp_path_factory.mktemp("bundle") / "danbooru-verify.pyz"
    write_bundle(path)
    return path


def run(*command: object) -> subprocess.CompletedProcess[str]:
    """Run a program without this project's environment."""
    words = [str(word) for word in command]
    env = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=env, cwd="/")


def test_file_is_small_and_the_same_each_time(bundle: Path, tmp_path: Path) -> None:
    """Under a megabyte; the same code gives the same bytes."""
    assert bundle.stat().st_size < 1_000_000
    write_bundle(tmp_path / "again.pyz")
    assert (tmp_path / "again.pyz").read_bytes() == bundle.read_bytes()


def test_environment_is_bare(python: Path) -> None:
    """What would make the next test meaningless is not there."""
    for name in ("numpy", "msgspec", "duckdb", "click", "dagster", "danbooru_pipeline"):
        assert run(python, "-c", f"import {name}").returncode == 1
    assert run(python, "-c", "import pyarrow.parquet").returncode == 0


@pytest.mark.needs("ssh-keygen")
def test_it_finds_the_same_with_pyarrow_alone(python: Path, bundle: Path, later: Path, signers: Path) -> None:
    """A whole release is well, and a damaged one has the findings that the command has."""
    done = run(python, bundle, later, "--full", "--signers", signers)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines()[-1].endswith("all is well")
    (words,) = [line for line in done.stdout.splitlines() if line.startswith("the words of documents")]
    assert words.endswith("were not compared: that needs the whole danbooru-pipeline")
    flip(original(later))
    for table, column in (("parquet/posts-*", "tag_string"), ("parquet/tags-*", "name"), ("*/2021/files-*", "rating")):
        edit_table(later, table, with_column(column, lambda values: [f"{value}x" for value in values]))
    resum(later)
    done = run(python, bundle, later, "--full", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert [line.rpartition(": ")[2] for line in found.pop("unchecked")] == ["numpy is not installed"] * 3
    expected = verify_release(later, full=True).as_dict()
    assert expected["counts"].pop(Kind.INDEX_DIFFERS)  # which needs numpy and pyroaring
    expected["findings"] = [each for each in expected["findings"] if each["kind"] != Kind.INDEX_DIFFERS]
    assert {"unchecked": [], **found} == expected
    assert run(python, bundle, later, "--bucket", "0002").returncode == 1


def test_what_is_missing_is_said(python: Path, bundle: Path, tmp_path: Path) -> None:
    """A folder that is no release, and an environment without pyarrow, each get one line."""
    done = run(python, bundle, tmp_path)
    assert (done.returncode, done.stderr.count("\n"), "no RELEASE.json" in done.stderr) == (2, 1, True)
    venv.create(tmp_path / "empty", with_pip=False, symlinks=True)
    done = run(tmp_path / "empty/bin/python", bundle, tmp_path)
    assert (done.returncode, "pip install pyarrow" in done.stderr) == (1, True)
    assert sys.version_info >= (3, 11)


def test_its_processes_hash_too(python: Path, bundle: Path, tmp_path: Path) -> None:
    """What a large release is hashed with starts out of the one file, without pyarrow."""
    (tmp_path / "file").write_bytes(b"data")
    code = (
        f"import sys; sys.path.insert(0, {str(bundle)!r}); from pathlib import Path\n"
        "from types import SimpleNamespace\n"
        "from danbooru_pipeline.io import hash_processes\n"
        "hash_processes.digests_of = None  # not in this process\n"
        f"with hash_processes.FileHasher(Path({str(tmp_path)!r}), workers=1, many=0) as hasher:\n"
        "    print(list(hasher.digests([SimpleNamespace(path='file', size=4)]))[0][1])\n"
    )
    done = run(python, "-I", "-S", "-c", code)
    assert done.stdout.strip() == hashlib.sha256(b"data").hexdigest(), done.stderr

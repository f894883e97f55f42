"""How commands end: a true exit code, one line with its cause, JSON where it was asked for, and no traceback."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from danbooru_pipeline.cli.main import main
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.operate import status as status_module
from danbooru_pipeline_tests.support.commands import call, environment, settings_of


def test_errors_are_json_where_json_is_asked_for(tmp_path: Path) -> None:
    """`verify --json` of a folder that is no release, and of no folder at all, print an object on standard output."""
    for words, kind in ((["verify", str(tmp_path), "--json"], "NotARelease"), (["verify", "--json"], "SettingsError")):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 2
        told = json.loads(result.stdout)["error"]
        assert (told["kind"], told["exit_code"]) == (kind, 2)
        assert told["message"]
        assert result.stderr


@pytest.mark.parametrize("debug", [False, True])
def test_fault_of_ours_is_one_line_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, debug: bool) -> None:
    """Exit code 70; the line names the file that has the traceback, which is printed with --debug alone."""

    def broken(*_: object) -> None:
        raise KeyError("id")

    monkeypatch.setattr(status_module, "known_years", broken)
    words = ["status", "--json", *(["--debug"] if debug else [])]
    result = CliRunner().invoke(main, words, env={"DANBOORU_ROOT": str(tmp_path)})
    assert result.exit_code == 70
    (kept,) = (tmp_path / "errors").iterdir()
    assert "Traceback" in kept.read_text()
    assert str(kept) in result.stderr.splitlines()[-1]
    assert "KeyError: 'id'" in result.stderr.splitlines()[-1]
    assert json.loads(result.stdout)["error"]["exit_code"] == 70
    assert ("Traceback" in result.stderr) == debug


def test_full_or_closed_output_is_not_a_full_root(tmp_path: Path) -> None:
    """What cannot be printed is told as that, with exit code 2."""
    program = [sys.executable, "-m", "danbooru_pipeline", "settings"]
    for redirection, why in ((">/dev/full", "No space left"), (">&-", "Bad file descriptor")):
        result = subprocess.run(
            ["sh", "-c", f'exec "$@" {redirection}', "sh", *program],
            env=environment(root=str(tmp_path)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 2
        (line,) = result.stderr.splitlines()
        assert "standard output cannot be written" in line
        assert why in line


@pytest.mark.parametrize("words", [["verify"], ["status"], ["settings"], ["doctor"]])
@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_json_is_utf8_whatever_a_path_and_the_output_are(
    tmp_path: Path, words: list[str], locale: dict[str, str]
) -> None:
    """A path with bytes that are no UTF-8 is told as in text, and one that is UTF-8 stays, in any locale."""
    odd = os.fsencode(tmp_path) + b"/caf\xc3\xa9\xff"
    Path(os.fsdecode(odd)).mkdir()
    place = {"DANBOORU_ROOT": os.fsdecode(odd), "DANBOORU_CONTACT": "a@example.org"}
    program = [sys.executable, "-m", "danbooru_pipeline", *words, *([os.fsdecode(odd)] if words == ["verify"] else [])]
    result = subprocess.run([*program, "--json"], env=environment() | place | locale, capture_output=True, check=False)
    assert result.returncode != 70, result.stderr
    said = json.dumps(json.loads(result.stdout.decode()), ensure_ascii=False)
    assert r"caf\udcc3\udca9\udcff" in said.replace(r"\\", "\\") if "LC_ALL" in locale else "café" in said


def _as_yaml(data: bytes) -> Callable[[Path], None]:
    def write(home: Path) -> None:
        home.mkdir(parents=True)
        (home / "dagster.yaml").write_bytes(data)

    return write


def _as_file(home: Path) -> None:
    home.parent.mkdir(parents=True)
    home.write_text("x")


def _with_a_database(home: Path) -> None:
    (home / "history/runs").mkdir(parents=True)
    (home / "history/runs/index.db").write_bytes(random.Random(1).randbytes(4096))


HOMES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a file": (_as_file, "DAGSTER_HOME"),
    "nomodule": (_as_yaml(b"run_coordinator:\n  module: nosuch\n  class: X\n"), "nosuch"),
    "random yaml": (_as_yaml(random.Random(1).randbytes(60)), "dagster.yaml"),
    "bad yaml": (_as_yaml(b"a: b: c:\n"), "dagster.yaml"),
    "random database": (_with_a_database, "index.db is damaged"),
}


@pytest.mark.parametrize("name", ["o%20q", "o?q", "d" * 250 + "/" + "e" * 250])
def test_root_whose_path_sqlite_cannot_open_ends_in_one_line(tmp_path: Path, booru: BooruProcess, name: str) -> None:
    """Roots with `%` or `?`, or of hundreds of characters: the line says to set DAGSTER_HOME, and nothing is begun."""
    result = call("build", "2021", "--buckets", "0000-0001", env=settings_of(booru, tmp_path / name))
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "set DAGSTER_HOME to another folder" in line
    assert not (tmp_path / name).exists()


def test_folder_where_a_lock_belongs_is_named(tmp_path: Path, booru: BooruProcess) -> None:
    """Case pace-dir: one line with its path."""
    (tmp_path / "root/store/.pace").mkdir(parents=True)
    result = call("build", "2021", "--buckets", "0000-0001", env=settings_of(booru, tmp_path / "root"))
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert f"{tmp_path / 'root/store/.pace'}: Is a directory" in line


@pytest.mark.parametrize("name", HOMES)
def test_dagster_home_that_cannot_be_used_ends_in_one_line(tmp_path: Path, booru: BooruProcess, name: str) -> None:
    """Cases exit0_when_run_cannot_start, dagsteryaml-* and dagster-*-rand: exit code 2, the file by name."""
    make, expected = HOMES[name]
    make(tmp_path / "root/dagster")
    result = call("build", "2021", "--buckets", "0000-0001", env=settings_of(booru, tmp_path / "root"))
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert expected in line


@pytest.mark.parametrize("words", [["verify"], ["import"], ["get"], ["changes", "."], ["apply-removals"]])
def test_names_of_files_neither_end_a_line_nor_steer_a_terminal(tmp_path: Path, words: list[str]) -> None:
    """A folder whose name holds a line feed and an escape is named on one line that shows them escaped."""
    odd = tmp_path / "a\nall is well\x1b[2J"
    odd.mkdir()
    result = subprocess.run(
        [sys.executable, "-m", "danbooru_pipeline", *words, str(odd)],
        env=environment() | {"DANBOORU_ROOT": str(tmp_path / "root"), "DANBOORU_CONTACT": "a@example.org"},
        capture_output=True,
        check=False,
    )
    assert result.returncode == 2
    assert b"\x1b" not in result.stderr
    assert not any(line.startswith(b"all is well") for line in result.stderr.splitlines())

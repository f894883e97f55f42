"""`releases/current` on file systems without symbolic links, and releases on those without hard links."""

import errno
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from danbooru_pipeline.cli.main import main
from danbooru_pipeline.consume import open_release
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.errors import NotARelease
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.status import year_status
from danbooru_pipeline.release import apply_takedown, flip_current, plan_takedown, read_release, verify_release
from danbooru_pipeline.release.pointer import followed
from danbooru_pipeline_tests.support.commands import WITH_POSTS, call, settings_of
from danbooru_pipeline_tests.support.yard import NOW, Yard, small_yard

NO_LINKS = Path(__file__).parents[1] / "support/no_links.c"


def _refuse(*_: Any, **__: Any) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A file system that has no links of either kind."""
    monkeypatch.setattr(os, "link", _refuse)
    monkeypatch.setattr(os, "symlink", _refuse)
    return monkeypatch


@pytest.fixture
def unlinked(no_links: pytest.MonkeyPatch, tmp_path: Path) -> Yard:
    """A store and its published release there."""
    yard = small_yard(tmp_path / "root")
    yard.post(2021, rating="s")  # an id that the name in `current` has, too
    yard.release()
    flip_current(yard.layout)
    return yard


def test_release_is_made_and_read_without_links(unlinked: Yard) -> None:
    """Case releases_lost_link_posix: the release is whole, `current` is a file, and every reader follows it."""
    layout = unlinked.layout
    current = layout.current
    assert current.read_bytes() == b"danbooru2021\n"
    assert not current.is_symlink()
    assert verify_release(layout.release(2021), full=True).ok
    assert all(path.stat().st_nlink == 1 for path in layout.release(2021).glob("original/*/*"))
    for words in (["verify", "--full"], ["select"], ["reconstruct", "2021", "--from"], ["changes", str(current)]):
        result = CliRunner().invoke(main, [*words, str(current)])
        assert result.exit_code == 0, (words, result.stderr)
    assert open_release(current).path == layout.release(2021)
    assert year_status(layout, 2021).is_current


def test_takedown_takes_the_file_for_no_trace(unlinked: Yard) -> None:
    """A post whose id is the year in `current` is taken down to the end, and `current` still leads to the release."""
    layout = unlinked.layout
    apply_takedown(plan_takedown(layout, [2021]), created_at=NOW, threads=1)
    assert read_release(followed(layout.current)).version == "2021.1"
    assert verify_release(layout.release(2021), full=True).ok


def test_current_becomes_a_link_where_links_come_back(unlinked: Yard, no_links: pytest.MonkeyPatch) -> None:
    """A root that moves to another disk: the file is replaced by a link, and a link by a file."""
    layout = unlinked.layout
    no_links.undo()
    flip_current(layout)
    assert layout.current.is_symlink()
    layout.current.unlink()
    layout.current.symlink_to("danbooru2020")
    no_links.setattr(os, "symlink", _refuse)
    flip_current(layout)
    assert layout.current.read_bytes() == b"danbooru2021\n"
    assert [path.name for path in layout.releases.iterdir() if path.name.startswith(".current")] == []


@pytest.mark.parametrize("text", [b"", b"../../etc\n", b"danbooru2021/../x\n", b"danbooru2021\nx\n", b"x" * 5000])
def test_only_the_name_of_a_release_is_followed(tmp_path: Path, text: bytes) -> None:
    """Any other file is no release, whatever it names."""
    (tmp_path / "current").write_bytes(text)
    assert followed(tmp_path / "current") == tmp_path / "current"
    with pytest.raises(NotARelease):
        open_release(tmp_path / "current")


@pytest.mark.needs("rsync")
def test_mirror_follows_the_file(unlinked: Yard, tmp_path: Path) -> None:
    """mirror.sh of `releases/current` copies the release that the file names, and refuses what names none."""
    layout = unlinked.layout
    command = ["sh", str(layout.release(2021) / "mirror.sh"), str(layout.current), str(tmp_path / "copy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert verify_release(tmp_path / "copy", full=True).ok
    layout.current.unlink()
    layout.current.write_bytes(b"../elsewhere\n")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "is neither a release nor the name of one" in done.stderr


@pytest.mark.long
@pytest.mark.needs("cc")
@pytest.mark.timeout(600)
def test_build_without_links(tmp_path: Path, booru: BooruProcess) -> None:
    """The whole command, and all that it starts: exit code 0, and the bytes of a build with links."""
    library = tmp_path / "no_links.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(NO_LINKS)], check=True)
    calm = settings_of(booru, tmp_path / "calm")
    env = {**settings_of(booru, tmp_path / "root"), "LD_PRELOAD": str(library)}
    for each in (calm, env):
        done = call("build", "2021", "--buckets", WITH_POSTS, env=each)
        assert done.returncode == 0, done.stderr
    here, there = (Layout(tmp_path / name) for name in ("root", "calm"))
    assert here.current.read_bytes() == b"danbooru2021\n"
    told = [json.loads(layout.release_json(2021).read_text()) for layout in (here, there)]
    assert told[0]["inputs"] == told[1]["inputs"]
    assert call("verify", "--full", str(here.current), env=env).returncode == 0

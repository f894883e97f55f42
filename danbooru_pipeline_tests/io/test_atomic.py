"""The one atomic writer."""

import errno
import os
from pathlib import Path

import pytest

from danbooru_pipeline.io.atomic import atomic_file, atomic_folder, link_or_copy, remove_parts, write_atomic


def test_write_brings_a_new_inode(tmp_path: Path) -> None:
    """A file that is shared by hard link keeps its old bytes under the other name."""
    path, link = tmp_path / "a", tmp_path / "b"
    write_atomic(path, b"old")
    os.link(path, link)
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert link.read_bytes() == b"old"


def test_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """When writing fails half-way, the target is unchanged and no temporary file is left."""
    path = tmp_path / "a"
    write_atomic(path, b"old")
    with pytest.raises(RuntimeError), atomic_file(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Files of the old folder are not in the new one."""
    target = tmp_path / "folder"
    with atomic_folder(target) as folder:
        (folder / "1").write_bytes(b"1")
    with atomic_folder(target) as folder:
        (folder / "2").write_bytes(b"2")
    assert [p.name for p in target.iterdir()] == ["2"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_failed_folder_leaves_the_earlier_one(tmp_path: Path) -> None:
    """An error while a folder is filled changes nothing."""
    target = tmp_path / "folder"
    with atomic_folder(target) as folder:
        (folder / "1").write_bytes(b"1")
    with pytest.raises(RuntimeError), atomic_folder(target):
        raise RuntimeError
    assert [p.name for p in target.iterdir()] == ["1"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_parts_of_killed_writers_are_removed(tmp_path: Path) -> None:
    """Hidden unfinished files are removed, everything else stays."""
    for name in (".1.jpg.abcd.part", "1.jpg", "x.part"):
        (tmp_path / name).touch()
    assert remove_parts(tmp_path) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.jpg", "x.part"]


def test_copy_keeps_the_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a link is impossible, the copy has the file's times: else rsync would move it to every mirror again."""

    def no_link(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * 5000)
    os.utime(source, ns=(10**18, 10**18 + 123_456_789))
    monkeypatch.setattr(os, "link", no_link)
    assert not link_or_copy(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mtime_ns == 10**18 + 123_456_789
    assert target.stat().st_ino != source.stat().st_ino

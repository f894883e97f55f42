"""Hashing by threads and by processes: the same digests, whatever lies there and whatever dies."""

import hashlib
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from danbooru_pipeline.io.bounded_sha256 import ModeRule
from danbooru_pipeline.io.hash_processes import FileHasher
from danbooru_pipeline_tests.support.processes import children_of, kill

LARGE = 3 * 2**20


class File(NamedTuple):
    """A file to be hashed."""

    path: str
    size: int


def make(root: Path) -> dict[File, str | None]:
    """Files of all kinds, and the digest that each has."""
    (root / "a/b").mkdir(parents=True)
    wanted: dict[File, str | None] = {}

    def add(name: str, data: bytes, *, size: int | None = None, mode: int = 0o444) -> None:
        (root / name).write_bytes(data)
        (root / name).chmod(mode)
        right = size in {None, len(data)} and mode == 0o444
        wanted[File(name, len(data) if size is None else size)] = hashlib.sha256(data).hexdigest() if right else None

    add("a/b/empty", b"")
    add("a/small", b"small")
    add("a/large", os.urandom(LARGE))
    add("a/shorter", b"short", size=6)
    add("a/longer", b"longer", size=5)
    add("a/large-shorter", bytes(LARGE), size=LARGE + 1)
    add("a/large-longer", bytes(LARGE), size=LARGE - 1)
    add("a/everybody", b"x", mode=0o446)
    add("a/nobody", b"x", mode=0o044)
    add("a/line\nbreak and \r blank", b"text")
    add(os.fsdecode(b"a/no\xff-text"), b"bytes")
    (root / "a/link").symlink_to("small")
    (root / "a/above").symlink_to("b")
    os.mkfifo(root / "a/pipe")
    up = f"../{root.name}/a/small"
    for name in ("a/link", "a/above/empty", "a/pipe", "a/b", "a/missing", "missing/file", "a/nul\0byte", up):
        wanted[File(name, 5)] = None
    return wanted


@pytest.mark.parametrize("many", [0, 10**9])
@pytest.mark.parametrize("workers", [1, 3])
def test_files_of_all_kinds(tmp_path: Path, workers: int, many: int) -> None:
    """Only a plain file of its size and a fit mode has a digest; links, pipes and names of bytes do no harm."""
    wanted = make(tmp_path)
    rule = ModeRule(needed=stat.S_IRUSR, forbidden=stat.S_IWOTH)
    with FileHasher(tmp_path, workers=workers, rule=rule, many=many) as hasher:
        assert dict(hasher.digests(wanted)) == wanted
        assert list(hasher.digests([])) == []


def children() -> list[int]:
    """The processes of this one that hash."""
    return children_of(os.getpid(), b"hash_worker")


def test_killed_processes_cost_no_digest(tmp_path: Path) -> None:
    """Processes that are killed half-way leave their files to those that are left, and in the end to this one."""
    files = [File(f"{number}", 6) for number in range(1000)]
    for path, _ in files:
        (tmp_path / path).write_bytes(path.zfill(6).encode())
    killed: list[int] = []

    def some() -> Iterator[File]:
        for number, file in enumerate(files):
            if number in {300, 600}:
                killed.append(children()[0])
                kill(killed[-1])
            yield file

    with FileHasher(tmp_path, workers=2, many=0) as hasher:
        found = [digest for _, digest in hasher.digests(some())]
    assert found == [hashlib.sha256(path.zfill(6).encode()).hexdigest() for path, _ in files]
    assert len(set(killed)) == 2
    assert not children()


def test_processes_leave_ctrl_c_to_their_parent(tmp_path: Path) -> None:
    """A Ctrl-C in the terminal reaches them too, and they say nothing about it."""
    (tmp_path / "file").write_bytes(b"x")
    with FileHasher(tmp_path, workers=1, many=0) as hasher:
        first = list(hasher.digests([File("file", 1)]))
        for pid in children():
            os.kill(pid, signal.SIGINT)
        assert list(hasher.digests([File("file", 1)])) == first
        assert len(children()) == 1

"""Getting a release from whoever has one: no body without an end fills the disk, no pipe is waited for."""

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from click.testing import Result

from danbooru_pipeline.consume.get import open_origin
from danbooru_pipeline.consume.get.origins import RsyncOrigin
from danbooru_pipeline.errors import PublishError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline_tests.support.hub import hub_layout
from danbooru_pipeline_tests.support.raw_server import RawServer, make_answer, serving
from danbooru_pipeline_tests.support.trees import images
from danbooru_pipeline_tests.support.yard import Yard


def endless(release: Path, path: str) -> Callable[[RawServer, socket.socket, str, dict[str, str]], None]:
    """Serves a release, of which one file never ends."""

    def answer(_server: RawServer, connection: socket.socket, target: str, _headers: dict[str, str]) -> None:
        name = target.removeprefix("/")
        if name == path:
            connection.sendall(make_answer(length=None))
            while True:
                connection.sendall(b"?" * 2**20)
        there = (release / name).is_file()
        connection.sendall(make_answer((release / name).read_bytes() if there else b"", status=200 if there else 404))

    return answer


def held_bytes(folder: Path) -> int:
    """Bytes of all that a run left."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("pattern", "code"),
    [("RELEASE.json", 2), ("SHA256SUMS", 2), ("removed.txt", 2), ("512px/*/*.jpg", 1), ("original/*/*", 1)],
)
def test_body_without_an_end_is_ended(
    released: Yard, tmp_path: Path, run: Callable[..., Result], pattern: str, code: int
) -> None:
    """A host that never ends a file: it is named, nothing of it stays, and of an image no more came than it has."""
    release = released.layout.release(2021)
    path = next(release.glob(pattern)).relative_to(release).as_posix()
    tree = "original" if path.startswith("original") else "512px"
    with serving(endless(release, path)) as server:
        done = run("get", server.url, tmp_path / "got", "--tree", tree)
    assert done.exit_code == code, done.output
    assert f"{path}" in done.output
    assert "bytes that it may have" in done.output
    assert len(done.output.strip().splitlines()) == (1 if code == 2 else 2)
    assert not list(tmp_path.glob(f"*/{path}")) + list(tmp_path.glob(f".*/{path}"))
    assert held_bytes(tmp_path) <= held_bytes(release)


def sparse(path: Path) -> None:
    """A terabyte that takes no space."""
    path.touch()
    os.truncate(path, 2**40)


WRONG: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "link": lambda path: path.symlink_to(__file__),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "sparse": sparse,
    "folder": Path.mkdir,
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        *(
            ("RELEASE.json", 2),
            ("SHA256SUMS", 2),
            ("removed.txt", 2),
            ("parquet/posts-*", 2),
            ("manifest/*.parquet", 2),
        ),
        *(("index/bitmaps.roar", 2), ("README.md", 2), ("512px/*/*.jpg", 1)),
    ],
)
def test_what_is_no_file_of_a_folder_is_named(
    root: Layout, tmp_path: Path, run: Callable[..., Result], pattern: str, code: int, wrong: str
) -> None:
    """A pipe is not waited for, no link is followed, no hole is filled; an image that is none costs only itself."""
    release = root.release(2021)
    path = next(release.glob(pattern))
    path.unlink()
    WRONG[wrong](path)
    done = run("get", release, tmp_path / "got")
    assert done.exit_code == code, done.output
    assert path.relative_to(release).as_posix() in done.output
    assert len(done.output.strip().splitlines()) == (1 if code == 2 else 2)
    assert held_bytes(tmp_path / "got") <= held_bytes(release)


@pytest.mark.parametrize("name", ["parquet", "512px/0002"])
def test_folder_that_is_a_link_is_not_followed(
    root: Layout, tmp_path: Path, run: Callable[..., Result], name: str
) -> None:
    """What lies behind it is not of the release."""
    release = root.release(2021)
    folder = release / name
    folder.rename(tmp_path / "away")
    folder.symlink_to(tmp_path / "away")
    done = run("get", release, tmp_path / "got")
    assert done.exit_code == (2 if name == "parquet" else 1), done.output
    assert f"{name}/" in done.output
    assert "is a link, or below one" in done.output
    assert not (tmp_path / "got" / name).exists()


def test_release_may_be_named_by_a_link(released: Yard, tmp_path: Path, run: Callable[..., Result]) -> None:
    """`latest`, which leads to a release, is that release."""
    (tmp_path / "latest").symlink_to(released.layout.release(2021))
    done = run("get", tmp_path / "latest", tmp_path / "got")
    assert done.exit_code == 0, done.output
    small = {path: data for path, data in images(released.layout.release(2021)).items() if path.startswith("512px")}
    assert images(tmp_path / "got") == small


def test_daemon_that_sends_more_than_it_said_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An rsync that writes on and on is ended by the system, and nothing of the file stays."""
    program = tmp_path / "bin/rsync"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nfor folder; do :; done\nexec cat /dev/zero > "$folder/removed.txt"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    (tmp_path / "work").mkdir()
    with pytest.raises(PublishError, match=r"removed\.txt has more than the 9 bytes"):
        open_origin("rsync://localhost/release").fetch({"removed.txt": 9}, tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.needs("rsync")
def test_file_that_is_longer_than_it_may_be_does_not_come_by_rsync(tmp_path: Path) -> None:
    """One that no file may be is not sent; one that only this one may not be is not kept."""
    (tmp_path / "there").mkdir()
    for name, size in (("a", 9), ("b", 10), ("c", 30)):
        (tmp_path / "there" / name).write_bytes(b"?" * size)
    (tmp_path / "work").mkdir()
    origin = RsyncOrigin(str(tmp_path / "there"))
    assert list(origin.fetch({"a": 9, "b": 9, "c": 20}, tmp_path / "work")) == ["b"]
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["a"]


def test_file_of_an_object_store_is_bounded(tmp_path: Path) -> None:
    """The same limits hold for what fsspec brings."""
    with contextlib.closing(open_origin("memory://longer")) as origin:
        fsspec.filesystem("memory").pipe({"/longer/a": b"?" * 10, "/longer/b": b"?" * 9})
        assert list(origin.fetch({"a": 9, "b": 9, "c": 9}, tmp_path)) == ["a"]
        assert origin.part("a", offset=2, size=3) == b"???"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("size", [4, 0, 2**20])
def test_range_without_an_end_is_ended(size: int) -> None:
    """A server that says that it sends a range, and goes on, gives no more of it than was asked for."""

    def answer(_server: RawServer, connection: socket.socket, _target: str, _headers: dict[str, str]) -> None:
        connection.sendall(make_answer(status=206, length=None))
        while True:
            connection.sendall(b"?" * 2**20)

    with serving(answer) as server, contextlib.closing(open_origin(server.url)) as origin:
        assert origin.part("a", offset=7, size=size) == b"?" * size


@pytest.mark.parametrize("wrong", ["pipe", "link", "sparse"])
@pytest.mark.parametrize("name", ["tar", "json"])
def test_tar_of_a_folder_is_a_file_or_not_there(
    released: Yard, tmp_path: Path, run: Callable[..., Result], name: str, wrong: str
) -> None:
    """A tar, or its index, that is no file costs the images of its bucket."""
    place = hub_layout(released.layout.release(2021), tmp_path / "hub")
    path = max(place.glob(f"original/*.{name}"))
    path.unlink()
    WRONG[wrong](path)
    done = run("get", place, tmp_path / "got", "--tree", "original")
    assert done.exit_code == 1, done.output
    assert f"original/{path.stem}/" in done.output
    whole = images(released.layout.release(2021))
    held = {name: data for name, data in whole.items() if name.startswith("original/") and path.stem not in name}
    assert images(tmp_path / "got") == held

"""Getting a release from every kind of origin: whole, in part, resumed, damaged, and of another version."""

import contextlib
import hashlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from danbooru_pipeline.consume.get import open_origin
from danbooru_pipeline.consume.select import Selection, select
from danbooru_pipeline.errors import PublishError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import apply_takedown, plan_takedown
from danbooru_pipeline_tests.support.disks import small_disk
from danbooru_pipeline_tests.support.hub import hub_layout
from danbooru_pipeline_tests.support.raw_server import RawServer, always, make_answer, serving
from danbooru_pipeline_tests.support.trees import images
from danbooru_pipeline_tests.support.web import web
from danbooru_pipeline_tests.support.yard import NOW, Yard


@pytest.fixture(params=["web", "folder", pytest.param("rsync", marks=pytest.mark.needs("rsync")), "hub layout"])
def source(request: pytest.FixtureRequest, released: Yard, tmp_path: Path) -> Iterator[str]:
    """The release as each kind of origin has it."""
    release = released.layout.release(2021)
    if request.param == "web":
        with web(release) as address:
            yield address
    elif request.param == "hub layout":
        with web(hub_layout(release, tmp_path / "hub")) as address:
            yield address
    else:
        # A folder by a remote shell that is none: rsync takes it as it takes a daemon's module.
        yield f"file://{release}" if request.param == "folder" else f"rsync://{release}"


def test_part_that_a_search_names_is_brought(
    source: str, released: Yard, tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables and index come, and of the images exactly those that the search finds; a second run fetches nothing."""
    if source.startswith("rsync:"):
        source = serve_by_rsync(released.layout.release(2021), tmp_path, monkeypatch)
    release, target = released.layout.release(2021), tmp_path / "got"
    done = run("get", source, target, "rating:q", "--tree", "original")
    assert done.exit_code == 0, done.output
    wanted = {post.path for post in select(release, Selection(search="rating:q", tree="original"))}
    assert wanted
    assert images(target) == {path: data for path, data in images(release).items() if path in wanted}
    assert (target / "index/bitmaps.roar").read_bytes() == (release / "index/bitmaps.roar").read_bytes()
    again = run("get", source, target, "rating:q", "--tree", "original")
    assert ": 0 files fetched" in again.output
    more = run("get", source, target, "--tree", "512px")
    assert more.exit_code == 0, more.output
    small = {path: data for path, data in images(release).items() if path.startswith("512px")}
    assert {path: data for path, data in images(target).items() if path.startswith("512px")} == small
    assert sorted(path.name for path in target.parent.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("room", [4, 48])
def test_full_disk_is_said_of_the_target(
    source: str, room: int, released: Yard, tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that names the folder and says what to do, none that blames the source; with room, a run resumes."""
    if source.startswith("rsync:"):
        source = serve_by_rsync(released.layout.release(2021), tmp_path, monkeypatch)
    with small_disk(tmp_path / "disk", f"size={room}k") as disk:
        done = run("get", source, disk / "got")
        said = f"danbooru-pipeline: the disk of {disk}/got is full; free some space, then run again\n"
        assert (done.exit_code, done.output) == (2, said)
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True, timeout=30)
        done = run("get", source, disk / "got")
        assert done.exit_code == 0, done.output
        small = {path for path in images(released.layout.release(2021)) if path.startswith("512px")}
        assert images(disk / "got").keys() == small


@pytest.mark.parametrize("kind", ["folder", pytest.param("rsync", marks=pytest.mark.needs("rsync"))])
def test_target_that_cannot_be_written_is_not_the_source(
    kind: str, released: Yard, tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that became read-only is named by the path of the target, and the source is not mentioned."""
    release = released.layout.release(2021)
    source = serve_by_rsync(release, tmp_path, monkeypatch) if kind == "rsync" else str(release)
    with small_disk(tmp_path / "disk", "size=100m") as disk:
        assert run("get", source, disk / "got", "--metadata-only").exit_code == 0
        for bucket in ("512px/0000", "original/0000", "512px/0002"):
            (disk / "got" / bucket).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, timeout=30)
        done = run("get", source, disk / "got")
    assert done.exit_code == 2
    assert "cannot be read" not in done.output
    assert "Read-only file system; mount it so that it can be written" in done.output


def test_what_lies_beside_the_buckets_is_left_alone(released: Yard, tmp_path: Path, run: Callable[..., Result]) -> None:
    """A copy may have `512px/metadata.parquet`, which is no folder of images."""
    assert run("get", str(released.layout.release(2021)), tmp_path / "got", "--metadata-only").exit_code == 0
    beside = tmp_path / "got/512px/metadata.parquet"
    beside.parent.mkdir(parents=True)
    beside.write_bytes(b"rows")
    for tree in ("original", "512px"):
        done = run("get", str(released.layout.release(2021)), tmp_path / "got", "--tree", tree)
        assert done.exit_code == 0, done.output
    assert beside.read_bytes() == b"rows"


def serve_by_rsync(release: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of rsync that a connection starts itself."""
    (work / "rsyncd.conf").write_text(f"use chroot = no\n[release]\npath = {release}\nread only = yes\n")
    monkeypatch.setenv("RSYNC_CONNECT_PROG", f"rsync --server --daemon --config={work}/rsyncd.conf .")
    return "rsync://localhost/release"


def test_part_of_a_file_is_resumed_and_a_wrong_one_is_not_kept(
    released: Yard, tmp_path: Path, run: Callable[..., Result]
) -> None:
    """What a killed run left is finished by a range; if the bytes are wrong, the file is fetched from its beginning."""
    release = released.layout.release(2021)
    work = tmp_path / ".got.part"
    (work / "parquet").mkdir(parents=True)
    name = "parquet/posts-00000-of-00001.parquet"
    (work / name).write_bytes((release / name).read_bytes()[:100])
    (work / "README.md").write_bytes(b"?" * 50)
    with web(release) as address:
        assert run("get", address, tmp_path / "got", "--metadata-only").exit_code == 0
    for each in (name, "README.md"):
        assert (tmp_path / "got" / each).read_bytes() == (release / each).read_bytes()
    assert images(tmp_path / "got") == {}


def test_damaged_image_is_named_and_the_rest_comes(root: Layout, tmp_path: Path, run: Callable[..., Result]) -> None:
    """An image with other bytes than the manifest says gets no name: exit code 1; the next run brings it."""
    release = root.release(2021)
    path = next(iter(images(release)))
    whole = (release / path).read_bytes()
    (release / path).unlink()
    (release / path).write_bytes(b"?" * len(whole))
    tree = path.partition("/")[0]
    with web(release) as address:
        done = run("get", address, tmp_path / "got", "--tree", tree)
        assert done.exit_code == 1
        assert path in done.output
        assert path not in images(tmp_path / "got")
        (release / path).write_bytes(whole)
        assert run("get", address, tmp_path / "got", "--tree", tree).exit_code == 0
    assert images(tmp_path / "got")[path] == whole


def test_tables_that_are_not_of_the_release_stop_it(root: Layout, tmp_path: Path, run: Callable[..., Result]) -> None:
    """A table or SHA256SUMS with other bytes is one error, and there is no RELEASE.json."""
    name = next(root.release(2021).glob("parquet/posts-*"))
    name.chmod(0o644)
    name.write_bytes(b"?")
    with web(root.release(2021)) as address:
        done = run("get", address, tmp_path / "got")
        assert (done.exit_code, "posts-00000" in done.output) == (2, True)
        assert not (tmp_path / "got/RELEASE.json").exists()
        sums = root.release(2021) / "SHA256SUMS"
        sums.chmod(0o644)
        sums.write_text("")
        assert "do not belong together" in run("get", address, tmp_path / "got").output


@pytest.mark.parametrize("line", ["", "?  README.md", f"{'0' * 64}  ../../x", f"{'0' * 64}  README.md"])
def test_list_of_checksums_is_well_formed_or_refused(
    root: Layout, tmp_path: Path, run: Callable[..., Result], line: str
) -> None:
    """A line that is no checksum, leads out, or repeats a path: nothing of the list is believed, nothing is fetched."""
    release = root.release(2021)
    sums, about = release / "SHA256SUMS", release / "RELEASE.json"
    before = hashlib.sha256(sums.read_bytes()).hexdigest()
    data = sums.read_bytes() + f"{line}\n".encode()
    for path, content in (
        (sums, data),
        (about, about.read_bytes().replace(before.encode(), hashlib.sha256(data).hexdigest().encode())),
    ):
        path.chmod(0o644)
        path.write_bytes(content)
    done = run("get", f"file://{release}", tmp_path / "got")
    assert done.exit_code == 2, done.output
    assert "SHA256SUMS there cannot be used" in done.output
    assert len(done.output.strip().splitlines()) == 1
    assert not (tmp_path / "got").exists()


def test_server_that_asks_for_a_pause_gets_it(tmp_path: Path) -> None:
    """A 429 and a 503 with Retry-After cost their time and no failure; other threads wait as well, and all comes."""
    left, seen = [(429, "1"), (503, "1")], []

    def answer(_server: RawServer, connection: socket.socket, target: str, _headers: dict[str, str]) -> None:
        seen.append(time.monotonic())
        if left:
            status, wait = left.pop()
            connection.sendall(make_answer(status=status, headers={"Retry-After": wait}))
        else:
            connection.sendall(make_answer(target.encode()))

    with serving(answer) as server, contextlib.closing(open_origin(server.url)) as origin:
        origin.fetch(dict.fromkeys("abc", 2), tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "/a", "b": "/b", "c": "/c"}
    assert seen[-1] - seen[0] >= 0.9


def test_pause_that_is_too_long_is_said_at_once(tmp_path: Path) -> None:
    """A server that wants a day: one line, without waiting for it."""
    asking = always(make_answer(status=429, headers={"Retry-After": "86400"}))
    with serving(asking) as server, contextlib.closing(open_origin(server.url)) as origin:
        with pytest.raises(PublishError, match="asks for 86,400 seconds"):
            origin.part("a", offset=0, size=1)
        assert len(server.requests) == 1


def test_interrupted_body_is_resumed(tmp_path: Path) -> None:
    """A connection that breaks off is opened again, from where it was, within the same run."""

    def answer(_server: RawServer, connection: socket.socket, _target: str, headers: dict[str, str]) -> None:
        asked = headers.get("range")
        body = b"half" if asked is None else b"whole"
        connection.sendall(make_answer(body, status=206 if asked else 200, length=len(body) + (asked is None)))

    with serving(answer) as server, contextlib.closing(open_origin(server.url)) as origin:
        origin.fetch({"a": 9}, tmp_path)
        assert [headers.get("range") for _, headers in server.requests] == [None, "bytes=4-"]
    assert (tmp_path / "a").read_bytes() == b"halfwhole"


def test_no_more_is_read_than_was_asked_for() -> None:
    """A server that knows no ranges, or has no end: the part is right, and the rest is left unread."""

    def answer(_server: RawServer, connection: socket.socket, _target: str, _headers: dict[str, str]) -> None:
        connection.sendall(make_answer(length=10**12))
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(bytes(range(256)) * 4096)

    with serving(answer) as server, contextlib.closing(open_origin(server.url)) as origin:
        assert origin.part("a", offset=2**20 + 3, size=4) == bytes([3, 4, 5, 6])


def test_update_goes_by_the_changes(root: Layout, tmp_path: Path, run: Callable[..., Result]) -> None:
    """A copy of the version before loses what the newer one lacks, and nothing that stayed is fetched again."""
    target = tmp_path / "got"
    with web(root.release(2021)) as address:
        assert run("get", address, target, "--tree", "original").exit_code == 0
        apply_takedown(plan_takedown(root, [4001]), created_at=NOW, threads=1)
        refused = run("get", address, target, "--tree", "original")
        assert (refused.exit_code, "--update" in refused.output) == (2, True)
        done = run("get", address, target, "--tree", "original", "--update")
    assert done.exit_code == 0, done.output
    release = root.release(2021)
    assert images(target) == {path: data for path, data in images(release).items() if path.startswith("original")}
    assert "1 removed" in done.output
    assert (target / "removals.jsonl").read_bytes() == (release / "removals.jsonl").read_bytes()


def test_origin_that_is_down_is_one_error(tmp_path: Path, run: Callable[..., Result]) -> None:
    """Exit code 2, one line with the address, for each kind."""
    for address in ("http://127.0.0.1:1", "rsync://127.0.0.1:1/x", f"file://{tmp_path}/nothing", "nothing://x"):
        done = run("get", address, tmp_path / "got")
        assert done.exit_code == 2, done.output
        assert len(done.output.strip().splitlines()) == 1, done.output
    assert not (tmp_path / "got").exists()
    assert subprocess.run(["ls", tmp_path], check=True, capture_output=True).stdout.strip() in {b"", b".got.part"}

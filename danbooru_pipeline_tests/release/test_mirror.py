"""Copies over a real rsync daemon: whole, brought up to date in place, by lists, and with a flip in the middle."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from danbooru_pipeline.io.atomic import symlink_atomic
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.mirrors import parse_trace
from danbooru_pipeline.release import (
    apply_snapshot,
    apply_takedown,
    plan_snapshot,
    plan_takedown,
    read_release,
    verify_release,
)
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline_tests.support.processes import free_port
from danbooru_pipeline_tests.support.trees import contents, images, lines
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, small_yard

pytestmark = pytest.mark.needs("rsync")


@pytest.fixture
def daemon(releases: Layout, tmp_path: Path) -> Iterator[str]:
    """A daemon with the configuration that the release ships, serving a folder whose `current` may be flipped."""
    served = tmp_path / "served"
    served.mkdir()
    for year in (2021, 2022):
        (served / f"danbooru{year}").symlink_to(releases.release(year))
    (served / "current").symlink_to("danbooru2021")
    with daemon_of(served, releases.release(2022) / "rsyncd.conf", tmp_path) as address:
        yield address


@contextlib.contextmanager
def daemon_of(served: Path, shipped: Path, folder: Path) -> Iterator[str]:
    """A daemon that serves a folder by the configuration that a release ships."""
    config, port = folder / "rsyncd.conf", free_port()
    text = shipped.read_text().replace("RELEASES", str(served))
    config.write_text(f"address = 127.0.0.1\nport = {port}\n{text}")
    command = ["rsync", "--daemon", "--no-detach", f"--config={config}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield f"rsync://127.0.0.1:{port}"
        process.terminate()


def rsync(*arguments: object) -> list[str]:
    """Run rsync and return the lines that say what it moved."""
    done = subprocess.run(
        ["rsync", "--itemize-changes", *map(str, arguments)], capture_output=True, text=True, check=True, timeout=120
    )
    return [line for line in done.stdout.splitlines() if line.startswith((">f", "*deleting"))]


def test_copy_is_the_release(releases: Layout, daemon: str, tmp_path: Path) -> None:
    """A copy verifies, and a second look by checksum finds nothing to move."""
    rsync("-rt", f"{daemon}/danbooru2022/", tmp_path / "copy/")
    assert verify_release(tmp_path / "copy", full=True).ok
    assert rsync("-nrtc", f"{daemon}/danbooru2022/", tmp_path / "copy/") == []


def test_update_in_place_moves_only_what_changed(releases: Layout, daemon: str, tmp_path: Path) -> None:
    """A copy of 2021, renamed: only images on the list of changes move; then it is 2022, byte for byte."""
    rsync("-rt", f"{daemon}/danbooru2021/", tmp_path / "danbooru2021/")
    (tmp_path / "danbooru2021").rename(tmp_path / "danbooru2022")
    moved = rsync("-rt", "--delete", f"{daemon}/danbooru2022/", tmp_path / "danbooru2022/")
    sent = {line.split(maxsplit=1)[1] for line in moved if line.startswith(">f")}
    listed = set(lines(releases.release(2022) / "changes/2022-from-2021.files.txt"))
    images = ("original/", "512px/0")
    assert {path for path in sent if path.startswith(images)} == {path for path in listed if path.startswith(images)}
    assert contents(tmp_path / "danbooru2022") == contents(releases.release(2022))


def test_lists_of_changes_give_the_same_tree(releases: Layout, daemon: str, tmp_path: Path) -> None:
    """``--files-from`` the list, and removing what the other list names, makes 2022 of a copy of 2021."""
    folder = tmp_path / "copy"
    rsync("-rt", f"{daemon}/danbooru2021/", f"{folder}/")
    changes = releases.release(2022) / "changes"
    rsync("-rt", f"--files-from={changes / '2022-from-2021.files.txt'}", f"{daemon}/danbooru2022/", f"{folder}/")
    for path in lines(changes / "2022-from-2021.remove.txt"):
        (folder / path).unlink(missing_ok=True)
    assert contents(folder) == contents(releases.release(2022))


def test_copy_without_times_is_repaired_by_size_only(releases: Layout, daemon: str, tmp_path: Path) -> None:
    """Who copied with ``-r`` alone sets the times right once, and after that nothing moves."""
    rsync("-r", f"{daemon}/danbooru2022/", tmp_path / "copy/")
    assert rsync("-rt", "--size-only", f"{daemon}/danbooru2022/", tmp_path / "copy/") == []
    assert rsync("-rt", f"{daemon}/danbooru2022/", tmp_path / "copy/") == []


def mirror(releases: Layout, source: str, target: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the script that the release ships."""
    script = releases.release(2022) / "mirror.sh"
    command = ["sh", str(script), source, str(target), *map(str, arguments)]
    env = os.environ | {"MIRROR_PAUSE": "0"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)


def test_mirror_script_makes_and_updates_a_copy(releases: Layout, daemon: str, tmp_path: Path) -> None:
    """From nothing, from an older copy, and again: the copy is the release each time."""
    for year in (2021, 2022, 2022):
        done = mirror(releases, f"{daemon}/danbooru{year}/", tmp_path / "copy")
        assert done.returncode == 0, done.stderr
        assert contents(tmp_path / "copy") == contents(releases.release(year))


def test_mirror_script_deletes_no_more_than_it_may(releases: Layout, daemon: str, tmp_path: Path) -> None:
    """A source that lost its files does not empty a mirror; the copy has no RELEASE.json until it is put right."""
    assert mirror(releases, f"{daemon}/danbooru2022/", tmp_path / "copy").returncode == 0
    before = len(list((tmp_path / "copy").glob("original/*/*")))
    done = mirror(releases, f"{daemon}/danbooru2021/", tmp_path / "copy", 3)
    assert done.returncode == 25
    assert not (tmp_path / "copy/RELEASE.json").exists()
    assert len(list((tmp_path / "copy").glob("original/*/*"))) >= before - 3


def own_tree(releases: Layout, tmp_path: Path, year: int) -> Path:
    """A copy of a release in place of the link that the daemon serves, to be damaged."""
    served = tmp_path / f"served/danbooru{year}"
    served.unlink()
    shutil.copytree(releases.release(year), served)
    return served


def test_mirror_stage1_fails(releases: Layout, daemon: str, tmp_path: Path) -> None:
    """An image that the daemon may not read: after five attempts the copy is of both years, and has no RELEASE.json."""
    target = tmp_path / "danbooru2022"
    rsync("-rt", f"{daemon}/danbooru2021/", f"{target}/")
    new = images(releases.release(2022)).keys() - images(releases.release(2021)).keys()
    (own_tree(releases, tmp_path, 2022) / min(new)).chmod(0)
    done = mirror(releases, f"{daemon}/danbooru2022/", target)
    assert done.returncode == 23
    assert done.stderr.count("beginning again") == 5
    assert "is not a release" in done.stderr
    assert not (target / "RELEASE.json").exists()
    assert not (tmp_path / "danbooru2022.trace").exists()


@pytest.mark.parametrize("way", ["no RELEASE.json", "a link for RELEASE.json", "no folder"])
@pytest.mark.parametrize("has_copy", [True, False])
def test_source_that_has_no_release_now_leaves_a_copy_as_it_was(
    releases: Layout, daemon: str, tmp_path: Path, way: str, *, has_copy: bool
) -> None:
    """A mirror of a mirror that was killed: each line says that the source has none, and the last what the copy is."""
    target, source = tmp_path / "copy", f"{daemon}/danbooru2022/"
    if has_copy:
        assert mirror(releases, source, target).returncode == 0
    before, trace = contents(target), target.with_name("copy.trace")
    tree = own_tree(releases, tmp_path, 2022)
    if way == "no folder":
        tree.rename(tmp_path / "elsewhere")
    else:
        (tree / "RELEASE.json").rename(tmp_path / "RELEASE.json")
        if way == "a link for RELEASE.json":
            (tree / "RELEASE.json").symlink_to(tmp_path / "RELEASE.json")
    done = mirror(releases, source, target)
    assert done.returncode != 0
    assert "replaced during the copy" not in done.stderr
    assert done.stderr.count("the source has no release now; beginning again") == 5
    state = "is still danbooru2022 2022.0, as it was" if has_copy else "is not a release"
    said = f"gave up after five attempts: the source has no release now; {target} {state}; run it again later"
    assert done.stderr.splitlines()[-1] == said
    assert contents(target) == before
    assert trace.exists() == has_copy


def away(path: Path) -> None:
    """A file or folder is somewhere else, and a link in its place."""
    elsewhere = next(parent for parent in path.parents if parent.name == "served").with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def pipe(path: Path) -> None:
    """A file is a pipe."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [("original/*/*", away), ("512px/0*", away), ("README.md", pipe), ("SHA256SUMS", Path.unlink)],
)
def test_copy_that_lacks_a_listed_file_is_no_release(
    releases: Layout, daemon: str, tmp_path: Path, pattern: str, damage: Callable[[Path], object]
) -> None:
    """What rsync passes over without an error is missing by the lists: no RELEASE.json, no trace, no success."""
    damage(min(own_tree(releases, tmp_path, 2022).glob(pattern)))
    done = mirror(releases, f"{daemon}/danbooru2022/", tmp_path / "copy")
    assert done.returncode == 1
    assert "did not come, among them" in done.stderr
    assert not (tmp_path / "copy/RELEASE.json").exists()
    assert not (tmp_path / "copy.trace").exists()


def inodes(paths: Iterable[Path]) -> set[int]:
    """Of files that may be renamed meanwhile."""
    found = set()
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            found.add(path.stat().st_ino)
    return found


@pytest.mark.parametrize("moment", ["512px/*/*", "original/*/*", "SHA256SUMS", "metadata/2022/*"])
def test_mirror_that_breaks_off_is_no_release(releases: Layout, daemon: str, tmp_path: Path, moment: str) -> None:
    """Killed once files have moved, a copy of 2021 has no RELEASE.json; the next run completes it."""
    target = tmp_path / "danbooru2022"
    rsync("-rt", f"{daemon}/danbooru2021/", f"{target}/")
    before = inodes(target.glob(moment))
    env = os.environ | {"RSYNC_FLAGS": "--bwlimit=1500", "MIRROR_PAUSE": "0"}
    script = ["sh", str(releases.release(2022) / "mirror.sh"), f"{daemon}/danbooru2022/", str(target)]
    with subprocess.Popen(script, env=env, stderr=subprocess.DEVNULL, process_group=0) as process:
        while process.poll() is None and inodes(target.glob(moment)) == before:
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
    if contents(target) != contents(releases.release(2022)):
        assert not (target / "RELEASE.json").exists()
    done = mirror(releases, f"{daemon}/danbooru2022/", target)
    assert done.returncode == 0, done.stderr
    assert contents(target) == contents(releases.release(2022))


def test_copy_that_is_current_stays_a_release_while_it_is_compared(
    releases: Layout, daemon: str, tmp_path: Path
) -> None:
    """A second run moves nothing and never takes RELEASE.json away; the trace says when, what and from where."""
    target, source = tmp_path / "copy", f"{daemon}/danbooru2022/"
    assert mirror(releases, source, target).returncode == 0
    mark, trace = (target / "RELEASE.json").stat().st_ino, tmp_path / "copy.trace"
    said = parse_trace(trace.read_bytes())
    assert said["release"] == "danbooru2022 2022.0"
    assert said["checksum"] == read_release(target).sha256sums_sha256
    assert re.fullmatch(r"mirror.sh of danbooru2022 2022\.0, rsync +version [\d.]+", said["tool"])
    assert f"source: {source}\n" in trace.read_text()
    trace.unlink()
    assert mirror(releases, source, target).returncode == 0
    assert (target / "RELEASE.json").stat().st_ino == mark
    assert trace.exists()


def test_two_mirrors_of_one_folder_are_refused(releases: Layout, daemon: str, tmp_path: Path) -> None:
    """The second one says so, and touches nothing."""
    with exclusive(tmp_path / "copy.lock"):
        done = mirror(releases, f"{daemon}/danbooru2022/", tmp_path / "copy")
    assert done.returncode == 1
    assert "another mirror.sh" in done.stderr


def hundred_posts(root: Path) -> Layout:
    """A release that takes a while to be copied."""
    yard = small_yard(root)
    for number in range(100):
        yard.post(40_000 + number, rating="s")
    yard.release()
    return yard.layout


def test_takedown_in_the_middle_of_a_mirror(tmp_path: Path) -> None:
    """A release is replaced by the version without a post while it is copied: the copy is the new version, whole."""
    layout, target = hundred_posts(tmp_path / "root"), tmp_path / "copy"
    env = os.environ | {"RSYNC_FLAGS": "--bwlimit=50", "MIRROR_PAUSE": "0"}
    with daemon_of(layout.releases, layout.release(2021) / "rsyncd.conf", tmp_path) as address:
        script = ["sh", str(layout.release(2021) / "mirror.sh"), f"{address}/danbooru2021/", str(target)]
        with subprocess.Popen(script, env=env, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None and not list(target.glob("512px/*/*")):
                time.sleep(0.005)
            apply_takedown(plan_takedown(layout, [1002]), created_at=NOW, threads=1)
            _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert "beginning again" in said
    assert read_release(target).version == "2021.1"
    assert contents(target) == contents(layout.release(2021))


def test_transfer_that_runs_ends_with_the_version_that_was_replaced(tmp_path: Path) -> None:
    """A plain rsync of a release that is replaced meanwhile: in its grace period, the old version arrives whole."""
    layout, target = hundred_posts(tmp_path / "root"), tmp_path / "copy"
    before = contents(layout.release(2021))
    with daemon_of(layout.releases, layout.release(2021) / "rsyncd.conf", tmp_path) as address:
        command = ["rsync", "-rt", "--bwlimit=100", f"{address}/danbooru2021/", f"{target}/"]
        with subprocess.Popen(command) as process:
            while process.poll() is None and not list(target.glob("512px/*/*")):
                time.sleep(0.005)
            options = DocumentOptions(maker="somebody")
            plan = plan_snapshot(layout, 2021, image_settings=IMAGE_SETTINGS, options=options)
            apply_snapshot(plan, created_at=NOW, threads=1, keep_replaced=True)
            assert process.poll() is None, "the copy ended too early"
            assert process.wait(timeout=100) == 0
        rsync("-rt", f"{address}/releases/danbooru2021.0/", tmp_path / "by-name/")
    assert contents(target) == before
    assert contents(tmp_path / "by-name") == before


def test_daemon_on_a_disk_without_links(tmp_path: Path) -> None:
    """Case releases_lost_link_posix: `current` is a file; the module of all releases leads to the newest one."""
    yard = small_yard(tmp_path / "root")
    yard.release()
    layout = yard.layout
    layout.current.write_text("danbooru2021\n")
    with daemon_of(layout.releases, layout.release(2021) / "rsyncd.conf", tmp_path) as address:
        script = ["sh", str(layout.release(2021) / "mirror.sh"), f"{address}/releases/current", str(tmp_path / "copy")]
        done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "copy") == contents(layout.release(2021))


def test_flip_in_the_middle_gives_a_whole_release(releases: Layout, daemon: str, tmp_path: Path) -> None:
    """A slow copy of `current` that is flipped meanwhile: the script begins again, and ends with the new release."""
    served, target = tmp_path / "served", tmp_path / "copy"

    def flip() -> None:
        while not list(target.glob("512px/*/*")):
            time.sleep(0.005)
        symlink_atomic(served / "current", "danbooru2022")

    flipping = threading.Thread(target=flip)
    flipping.start()
    env = os.environ | {"RSYNC_FLAGS": "--bwlimit=1500", "MIRROR_PAUSE": "0"}
    script = str(releases.release(2021) / "mirror.sh")
    done = subprocess.run(
        ["sh", script, f"{daemon}/danbooru/", str(target)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    flipping.join()
    assert done.returncode == 0, done.stderr
    assert "beginning again" in done.stderr
    assert read_release(target).name == "danbooru2022"
    assert verify_release(target, full=True).ok
    assert contents(target) == contents(releases.release(2022))


def test_transfer_that_runs_stays_on_its_tree(releases: Layout, daemon: str, tmp_path: Path) -> None:
    """A plain rsync of `current` that began before a flip ends with the old release, whole."""
    served, target = tmp_path / "served", tmp_path / "copy"
    command = ["rsync", "-rt", "--bwlimit=1500", f"{daemon}/danbooru/", f"{target}/"]
    with subprocess.Popen(command) as process:
        while process.poll() is None and not list(target.glob("512px/*/*")):
            time.sleep(0.005)
        symlink_atomic(served / "current", "danbooru2022")
        assert process.wait(timeout=240) == 0
    assert contents(target) == contents(releases.release(2021))


def test_shipped_script_is_plain_shell(releases: Layout) -> None:
    """The shell reads the script without running it."""
    for year in (2021, 2022):
        shell = shutil.which("dash") or "sh"
        subprocess.run([shell, "-n", str(releases.release(year) / "mirror.sh")], check=True)

"""Copies over a real rsync daemon: whole, brought up to date in place, by lists, and with a flip in the middle."""

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from danbooru_pipeline.io.atomic import symlink_atomic
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import read_release, verify_release
from danbooru_pipeline_tests.support.trees import contents, lines

pytestmark = pytest.mark.needs("rsync")


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def daemon(releases: Layout, tmp_path: Path) -> Iterator[str]:
    """A daemon with the configuration that the release ships, serving a folder whose `current` may be flipped."""
    served = tmp_path / "served"
    served.mkdir()
    for year in (2021, 2022):
        (served / f"danbooru{year}").symlink_to(releases.release(year))
    (served / "current").symlink_to("danbooru2021")
    shipped = (releases.release(2022) / "rsyncd.conf").read_text()
    config, port = tmp_path / "rsyncd.conf", free_port()
    config.write_text(f"address = 127.0.0.1\nport = {port}\n{shipped.replace('RELEASES', str(served))}")
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
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


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


def test_flip_in_the_middle_gives_a_whole_release(releases: Layout, daemon: str, tmp_path: Path) -> None:
    """A slow copy of `current` that is flipped meanwhile: the script begins again, and ends with the new release."""
    served, target = tmp_path / "served", tmp_path / "copy"

    def flip() -> None:
        while not list(target.glob("512px/*/*")):
            time.sleep(0.005)
        symlink_atomic(served / "current", "danbooru2022")

    flipping = threading.Thread(target=flip)
    flipping.start()
    env = os.environ | {"RSYNC_FLAGS": "--bwlimit=1500"}
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

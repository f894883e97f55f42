"""Tries mirror.sh at size: ``python -m benchmarks.mirror FOLDER [--files 200000]``.

Serves a tree of many small files by a real rsync daemon on loopback, and mirrors it: from nothing, again without a
change, after a kill in the middle, and while the tree is replaced by the version without some posts. Each step is timed
beside plain ``rsync -rt --delete`` of the same tree, and the copy is compared with the source.

With ``--lists`` it measures an old copy instead that is brought up to date: nothing changed, and one file in a hundred
is new; by walking both trees, and by a list of the files that it lacks. Files of a copy are links to those served.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.memory import peak_mib
from danbooru_pipeline.release.templating import TEMPLATES, render

NAME = "danbooru2022"


def make_tree(folder: Path, files: int, *, version: int, without: int = 0) -> None:
    """A tree like a release's; files are links to those of version 0 where that exists."""
    first = folder.parent / f"{NAME}.0"
    for number in range(1 + without, files + 1):
        path = Path("original") / f"{number % 1000:04d}" / f"{number}.jpg"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if version:
            os.link(first / path, folder / path)
        else:
            (folder / path).write_bytes(b"%d" % number)
    for number in range(200):
        (folder / "parquet").mkdir(exist_ok=True)
        (folder / f"parquet/{number}.parquet").write_text(f"{version} {number}")
    about = {"name": NAME, "version": f"2022.{version}"}
    (folder / "RELEASE.json").write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=2))


@contextlib.contextmanager
def daemon(served: Path) -> Iterator[str]:
    """A daemon for a folder of releases."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = served.parent / "rsyncd.conf"
    config.write_text(
        f"address = 127.0.0.1\nport = {port}\nuse chroot = no\nexclude = .*\n[{NAME}]\npath = {served / NAME}\n"
    )
    with subprocess.Popen(["rsync", "--daemon", "--no-detach", f"--config={config}"]) as process:
        time.sleep(1)
        yield f"rsync://127.0.0.1:{port}/{NAME}/"
        process.terminate()


def run(*command: object) -> float:
    """Seconds that a command takes."""
    began = time.perf_counter()
    env = os.environ | {"MIRROR_PAUSE": "1"}
    subprocess.run(list(map(str, command)), check=True, env=env, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def same(left: Path, right: Path) -> bool:
    """Whether two trees have the same files and bytes."""
    return (
        subprocess.run(["diff", "-rq", str(left), str(right)], check=False, stdout=subprocess.DEVNULL).returncode == 0
    )


#: Names of one file in the served tree; the copy has as many, and ext4 allows 65,000.
LINKS = 30_000


def make_links(folder: Path, files: range, templates: Path) -> list[str]:
    """Many small files, links to few; returns their paths."""
    templates.mkdir(exist_ok=True)
    paths = []
    for number in files:
        template = templates / str(number // LINKS)
        if not template.exists():
            template.write_bytes(b"%d" % number)
        path = f"{('original', '512px')[number % 2]}/{number // 2 % 1000:04d}/{number}.jpg"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        os.link(template, folder / path)
        paths.append(path)
    return paths


def cost(*command: object) -> str:
    """Seconds that a command takes, its CPU seconds and peak memory of its largest process, without the daemon."""
    began, peak = time.perf_counter(), 0.0
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL) as process:
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            with contextlib.suppress(OSError, IndexError):  # it ends just now
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                peak = max(peak, *(peak_mib(pid) for pid in (process.pid, *children)))
            time.sleep(0.05)
        process.returncode = os.waitstatus_to_exitcode(ended[1])
    if process.returncode:
        sys.exit(f"{command} ended with {process.returncode}")
    used = ended[2]
    return f"{time.perf_counter() - began:.1f} s, {used.ru_utime + used.ru_stime:.1f} CPU s, {peak:.0f} MiB"


def by_lists(folder: Path, files: int) -> None:
    """Print what bringing an old copy up to date costs."""
    served, copy, lists, templates = (folder / name for name in ("served", "copy", "lists", "templates"))
    served.mkdir(parents=True)
    make_links(served / NAME, range(files), templates)
    subprocess.run(["cp", "-al", served / NAME, copy], check=True)
    with daemon(served) as source:
        ways: dict[str, tuple[object, ...]] = {
            "walk": ("rsync", "-rt", "--delete", source, f"{copy}/"),
            "list": ("rsync", "-rt", f"--files-from={lists}", source, f"{copy}/"),
            "parts": ("sh", "-c", IN_PARTS, "parts", lists, source, f"{copy}/"),
        }
        print(f"new of {files:,} files | {' | '.join(ways)}\n|---|---|---|---|")
        for new in (0, files // 1000, files // 100):
            paths = make_links(served / NAME, range(files, files + new), templates)
            lists.write_text("".join(f"{path}\n" for path in sorted(paths)))  # as `changes` writes them
            cells = []
            for command in ways.values():
                cells.append(cost(*command))
                if missing := [path for path in paths if not (copy / path).exists()]:
                    sys.exit(f"{command} left out {len(missing)} files")
                for path in paths:
                    (copy / path).unlink()
            print(f"| {new:,} | {' | '.join(cells)} |", flush=True)
            for path in paths:
                (served / NAME / path).unlink()


#: rsync holds each file that it receives against every name of its list, so time grows with the square of a list.
IN_PARTS = """
split -l 1000 "$1" "$1.part."
for part in "$1".part.*; do
    [ ! -e "$part" ] || rsync -rt --files-from="$part" "$2" "$3" || exit
done
rm -f "$1".part.*
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--lists", action="store_true", help="an old copy, brought up to date")
    options = parser.parse_args()
    if options.folder.exists():
        sys.exit(f"{options.folder} is there already; give a folder that is not")
    if options.lists:
        by_lists(options.folder, options.files)
        return
    served, copy, plain = (options.folder / name for name in ("served", "copy", "plain"))
    for version in (0, 1):
        make_tree(served / f"{NAME}.{version}", options.files, version=version, without=50 * version)
    (served / NAME).symlink_to(f"{NAME}.0")
    script = options.folder / "mirror.sh"
    script.write_bytes(render("mirror.sh", release={"name": NAME}))
    with daemon(served) as source:
        mirror = ("sh", script, source, copy)
        print(f"{TEMPLATES.name}/mirror.sh, {options.files:,} files | mirror.sh | rsync -rt --delete | same")
        theirs = run("rsync", "-rt", "--delete", source, f"{plain}/")
        print(f"from nothing | {run(*mirror):.1f} s | {theirs:.1f} s | {same(copy, served / NAME)}", flush=True)
        theirs = run("rsync", "-rt", "--delete", source, f"{plain}/")
        print(f"again | {run(*mirror):.1f} s | {theirs:.1f} s | {same(copy, served / NAME)}", flush=True)
        shutil.rmtree(copy)
        with subprocess.Popen(list(map(str, mirror)), process_group=0) as process:
            while not list(copy.glob("original/0500/*")):
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGKILL)
        print(f"killed in the middle | RELEASE.json: {(copy / 'RELEASE.json').exists()}", flush=True)
        began = time.perf_counter()
        with subprocess.Popen(list(map(str, mirror)), env=os.environ | {"MIRROR_PAUSE": "1"}) as process:
            while not list(copy.glob("original/0900/*")):
                time.sleep(0.05)
            (served / f"{NAME}.new").symlink_to(f"{NAME}.1")
            (served / f"{NAME}.new").replace(served / NAME)
            shutil.rmtree(served / f"{NAME}.0")  # as a takedown does with the version before
            process.wait()
        took = time.perf_counter() - began
        print(f"replaced in the middle | {took:.1f} s | | {same(copy, served / NAME)}", flush=True)


if __name__ == "__main__":
    main()

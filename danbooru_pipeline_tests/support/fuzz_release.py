"""Random damages to copies of a release, in a process of their own: ``python -m … RELEASE WORK FIRST COUNT``.

A program, so that its memory can be measured and a hang ended. Any file is changed in any way: bytes, length, kind,
mode; with all sums made again or not. Prints JSON: the slowest run, the highest memory, the damages nobody found.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from danbooru_pipeline.errors import NotARelease
from danbooru_pipeline.release.verify.run import verify_release
from danbooru_pipeline.release_paths import RELEASE_JSON
from danbooru_pipeline_tests.support.damage import linked_copy, put, resum

_SECONDS = 60
Dice = random.Random


def flip_bytes(path: Path, dice: Dice) -> None:
    """Change some bytes."""
    data = bytearray(path.read_bytes() or b"x")
    for _ in range(dice.randint(1, 8)):
        data[dice.randrange(len(data))] ^= dice.randint(1, 255)
    put(path, bytes(data))


def change_length(path: Path, dice: Dice) -> None:
    """Cut it, or make it longer."""
    data = path.read_bytes()
    put(path, dice.choice([data[: dice.randrange(len(data) + 1)] + b"x", data + dice.randbytes(9), b"", data * 3]))


def splice(path: Path, dice: Dice) -> None:
    """Put a piece of it, or zeros, or noise, elsewhere."""
    data = path.read_bytes()
    at, start = (dice.randrange(len(data) + 1) for _ in range(2))
    piece = dice.choice([data[start : start + 200], bytes(300), dice.randbytes(50), b"[" * 5000, b"\n" * 50])
    put(path, data[:at] + piece + data[at:])


def another_kind(path: Path, dice: Dice) -> None:
    """Something that is no file."""
    path.unlink()
    kinds: list[Callable[[], object]] = [
        lambda: os.mkfifo(path),
        path.mkdir,
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to("."),
        lambda: path.symlink_to(path.name),
        lambda: path.symlink_to(path.parent),
        lambda: None,
    ]
    dice.choice(kinds)()


def enormous(path: Path, _: Dice) -> None:
    """A terabyte of zeros, which takes no space."""
    put(path, b"")
    os.truncate(path, 2**40)


def another_file(path: Path, dice: Dice) -> None:
    """The bytes of a file beside it."""
    others = sorted(other for other in path.parent.iterdir() if other.is_file() and other.stat().st_size < 2**24)
    data = dice.choice(others).read_bytes() if others else b""
    put(path, data + b"\0")


def another_mode(path: Path, dice: Dice) -> None:
    """Any mode; and a folder, too."""
    put(path, path.read_bytes())
    path.chmod(dice.randrange(0o10000))


DAMAGES: list[Callable[[Path, Dice], None]] = [
    *[flip_bytes] * 4,
    *[change_length] * 2,
    *[splice] * 3,
    *[another_kind] * 2,
    another_file,
    enormous,
    another_mode,
]


def damage(folder: Path, dice: Dice) -> tuple[str, bool]:
    """Do one to three damages. Returns what was done, and whether verification must find something."""
    done = []
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        # Images are many and alike, so other files get their share.
        path = dice.choice([path for path in files if path.suffix != ".jpg"] if dice.random() < 0.8 else files)
        how = dice.choice(DAMAGES)
        if path.stat().st_size > 2**30 and how is not another_kind:
            continue
        how(path, dice)
        done.append((how.__name__, path.relative_to(folder).as_posix()))
    certain = bool(done) and all(how != "another_mode" for how, _ in done)
    if dice.random() < 0.4 and not any(how in {"enormous", "another_kind"} for how, _ in done):
        try:
            resum(folder)
        except (ValueError, OSError, TypeError, AttributeError):
            return f"{done}, sums not made again", certain
        return f"{done}, sums made again", False
    return str(done), certain


def is_hidden(release: Path, folder: Path, *, full: bool) -> bool:
    """Whether nothing that was read differs: an image of the same size without `full`, or blanks in RELEASE.json."""
    return not any(
        (folder / name).is_symlink() or not (folder / name).is_file() or differs(path, folder / name, full=full)
        for path in release.rglob("*")
        if path.is_file()
        for name in [path.relative_to(release)]
    )


def differs(path: Path, other: Path, *, full: bool) -> bool:
    """Whether verification must see a difference between two files."""
    if path.suffix == ".jpg" and not full:
        return path.stat().st_size != other.stat().st_size
    if path.name == RELEASE_JSON:
        with contextlib.suppress(ValueError):
            return bool(json.loads(path.read_bytes()) != json.loads(other.read_bytes()))
    return path.read_bytes() != other.read_bytes()


def watch_opening(folder: Path) -> None:
    """Fail when a file of the copies is opened in a way that follows links or waits for pipes."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and watching and isinstance(arguments[0], str) and arguments[0].startswith(str(folder)):
            flags = arguments[2]
            is_folder = bool(flags & os.O_DIRECTORY)
            if not is_folder and not flags & os.O_NOFOLLOW:
                raise AssertionError(f"opened without care: {arguments[0]}")

    sys.addaudithook(hook)


#: Whether verification runs, and not the damage.
watching: list[bool] = []


def main() -> None:
    """Try some damages."""
    release, work = Path(sys.argv[1]), Path(sys.argv[2])
    first, count = int(sys.argv[3]), int(sys.argv[4])
    watch_opening(work)
    slowest, missed = 0.0, []
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    for seed in range(first, first + count):
        folder = linked_copy(release, work / "copy")
        dice = random.Random(seed)
        done, certain = damage(folder, dice)
        full = dice.random() < 0.8
        began = time.monotonic()
        signal.alarm(_SECONDS)
        watching.append(True)
        try:
            found = not verify_release(folder, full=full, threads=2).ok
        except NotARelease:
            found = True
        except BaseException:
            sys.stderr.write(f"seed {seed}: {done}\n")
            raise
        finally:
            watching.clear()
            signal.alarm(0)
        slowest = max(slowest, time.monotonic() - began)
        if certain and not found and not is_hidden(release, folder, full=full):
            missed.append(f"seed {seed}: {done}")
        for path in folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(folder)
    # Not `ru_maxrss`, which a child inherits from the process that started it.
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    sys.stdout.write(json.dumps({"runs": count, "slowest": round(slowest, 2), "peak_kib": peak, "missed": missed}))


if __name__ == "__main__":
    main()

"""Several commands at once on one root, as processes of their own; then what an operator does, and what came of it.

Whatever was refused is run again, and a plain build finishes the year: what is published is then compared with what an
undisturbed root publishes. As a program, ``pairs.py ROOT`` scrubs every bucket, which no command does.
"""

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.operate.scrub import scrub_bucket
from danbooru_pipeline.settings import Settings
from danbooru_pipeline_tests.support.forked import Forked

#: Released before any pair begins; a build of it sweeps the posts again, as they are a year later.
FIRST: Final = 2021
YEAR: Final = 2022
BUCKETS: Final = "0000-0017"
TAKEN: Final = 4
#: Trees of a release whose bytes follow from its inputs. The rest quotes versions and dates.
CONTENT: Final = ("original", "512px/0", f"metadata/{YEAR}/", "parquet/posts-", "manifest/", "removed.txt")
#: What two commands may end with: done, something left, refused, replaced while it was read.
ENDS: Final = frozenset({0, 1, 2, 75})
#: Those of them that end with a line which says why.
REFUSED: Final = frozenset({2, 75})


def words(root: Path, name: str) -> list[str]:
    """The command line of a command."""
    release = str(root / f"releases/danbooru{FIRST}")
    return {
        "build": ["build", str(YEAR), "--buckets", BUCKETS],
        "other": ["build", str(FIRST), "--buckets", BUCKETS],
        "follow": ["follow"],
        "import": ["import", str(root.parent / "begin/releases" / f"danbooru{FIRST}")],
        "takedown": ["takedown", str(TAKEN)],
        "export": ["export", "captions", release, str(root / "exported")],
        "verify": ["verify", "--full", release],
    }[name]


def scrub(root: Path) -> None:
    """Scrub every bucket."""
    with RunContext(Settings.from_env()) as context:
        for ledger in sorted((root / "store/ledger").glob("[0-9]*.parquet")):
            scrub_bucket(context, ledger.stem)


def begin(root: Path, name: str) -> Forked:
    """Begin a command in a process of its own."""
    env = {**os.environ, "DANBOORU_ROOT": str(root)}
    if name == "scrub":
        return Forked([str(root)], env=env, module=__name__)
    return Forked(words(root, name), env=env)


def end(process: Forked) -> tuple[int, str]:
    """Wait for a command. Returns its exit code and what it said on standard error."""
    done = process.wait(timeout=300)
    return done.returncode, done.stderr


def run(root: Path, name: str) -> tuple[int, str]:
    """Run a command alone."""
    return end(begin(root, name))


def finish(root: Path, *, taken: bool) -> None:
    """What an operator does after two commands met: the takedown to its end, and a plain build."""
    for name in (["takedown"] if taken else []) + ["build"]:
        code, text = run(root, name)
        assert code == 0, (name, code, text[-2000:])


def content(root: Path) -> dict[str, str]:
    """The files of the new release whose bytes follow from its inputs."""
    folder = root / f"releases/danbooru{YEAR}"
    paths = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names.items() if name.startswith(CONTENT)
    }


def copy(root: Path, target: Path) -> Path:
    """A root of its own; images and releases share their bytes, since nothing writes to those."""
    shutil.rmtree(target, ignore_errors=True)
    images = (str(root / "store/original"), str(root / "store/512px"), str(root / "releases"))

    def put(source: str, place: str) -> None:
        if source.startswith(images) and not source.endswith("lock"):
            os.link(source, place)
        else:
            shutil.copy2(source, place)

    shutil.copytree(root, target, symlinks=True, copy_function=put)
    return target


def expected(folder: Path, *, taken: bool) -> dict[str, str]:
    """What an undisturbed root publishes."""
    root = copy(folder / "begin", folder / "calm")
    finish(root, taken=taken)
    return content(root)


@dataclass(frozen=True, slots=True)
class Met:
    """What came of commands that met: exit codes, what each said, and the files that are other than undisturbed."""

    codes: tuple[int, ...]
    said: tuple[str, ...]
    differs: tuple[str, ...]


def meet(folder: Path, names: Sequence[str], *, seconds: float, calm: Callable[[bool], dict[str, str]]) -> Met:
    """Run commands at once, each some seconds after the one before, and then what is left."""
    root = copy(folder / "begin", folder / "place")
    begun = []
    for name in names:
        begun.append(begin(root, name))
        time.sleep(seconds)
    ends = [end(process) for process in begun]
    taken = "takedown" in names
    finish(root, taken=taken)
    here, there = content(root), calm(taken)
    differs = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    return Met(tuple(code for code, _ in ends), tuple(said for _, said in ends), tuple(differs))


if __name__ == "__main__":
    scrub(Path(sys.argv[1]))

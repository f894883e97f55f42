"""Commands on releases that get a signal at a chosen step: ``signalled.py FOLDER MOMENTS`` prints a line for each.

A step is a call that opens or changes something, so a signal comes at the same point every time. Each command runs in a
forked child, its signals and its end included, and costs no start-up; then it runs again, undisturbed.
"""

import hashlib
import itertools
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from danbooru_pipeline.cli.main import main as command_line
from danbooru_pipeline.release import apply_takedown, plan_takedown, verify_release  # noqa: F401 - for all children
from danbooru_pipeline_tests.support.yard import small_yard

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: Of the way to the end.
FAST: Final = (0.1, 0.4, 0.7)
_CALLS: Final = ("open", "scandir", "link", "rename", "replace", "unlink", "mkdir", "rmdir")
#: What versions and dates are in, which the time of a run changes.
_DATED: Final = (
    ".json", ".md", ".html", ".atom", ".cff", ".bib", ".txt", ".torrent", "SHA256SUMS", ".sh", ".intoto.jsonl",
)  # fmt: skip


def words(root: Path, name: str) -> list[str]:
    """The command line of a command."""
    release = str(root / "releases/danbooru2021")
    return {
        "verify": ["verify", "--full", release],
        "export": ["export", "captions", release, str(root / "exported")],
        "takedown": ["takedown", "1002", "5002"],
    }[name]


def run(root: Path, name: str, *, number: signal.Signals | None = None, at: int = 0) -> tuple[int, int, str]:
    """Run a command in a child, which gets a signal at its step `at`. Returns exit code, steps, and what it said."""
    said = root.parent / "said"
    child = os.fork()
    if child == 0:
        steps = _signal_at(number, at)
        code: object = 70
        try:
            file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            os.environ["DANBOORU_ROOT"] = str(root)
            command_line(words(root, name))
        except SystemExit as end:
            code = end.code
        finally:
            os.write(1, f"\n{next(steps) - 1}".encode())
            os._exit(code if isinstance(code, int) else 0 if code is None else 70)
    _, status = os.waitpid(child, 0)
    text, _, steps_taken = said.read_text().rpartition("\n")
    return os.waitstatus_to_exitcode(status), int(steps_taken), text


def _signal_at(number: signal.Signals | None, at: int) -> Iterator[int]:
    numbers = itertools.count(1)

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(numbers) == at and number is not None:
                os.kill(os.getpid(), number)
                time.sleep(0.25)  # the main thread hears it meanwhile
            return real(*args, **kwargs)

        return call

    for name in _CALLS:
        setattr(os, name, wrap(getattr(os, name)))
    return numbers


def content(root: Path) -> str:
    """A digest of releases, store and what was exported, but for what quotes dates and versions."""
    total = hashlib.sha256()
    for path in sorted(
        path for path in root.rglob("*") if path.is_file() and not path.name.endswith((*_DATED, "lock"))
    ):
        total.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return total.hexdigest()


def main(folder: Path, moments: int) -> None:
    """Try every command, every signal, and that many moments; three are the same in every run."""
    begin, place = folder / "begin" / "root", folder / "place" / "root"
    child = os.fork()
    if child == 0:  # since it starts threads, and a process with threads must not be forked
        small_yard(begin).release()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    parts = FAST if moments == len(FAST) else tuple((n + 0.5) / moments for n in range(moments))
    for name in ("verify", "export", "takedown"):
        _begin_anew(begin, place)
        calm = run(place, name)
        assert calm[0] == 0, calm
        undisturbed = content(place)
        for number, part in itertools.product(SIGNALS, parts):
            _begin_anew(begin, place)
            began = time.monotonic()
            code, _, text = run(place, name, number=number, at=max(1, int(calm[1] * part)))
            seconds = time.monotonic() - began
            again = run(place, name) if code else calm  # an export that is there is refused a second time
            same = content(place) == undisturbed
            told = {"command": name, "signal": int(number), "part": part, "code": code, "said": text}
            print(json.dumps({**told, "seconds": seconds, "again": again[0], "same": same}), flush=True)


def _begin_anew(begin: Path, place: Path) -> None:
    shutil.rmtree(place.parent, ignore_errors=True)
    shutil.copytree(begin, place, symlinks=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""Publishes a release, killed at random moments and run again: ``publishing.py ROOT YEAR ADDRESS SEED KILLS LOG``.

Each attempt is a forked child, which costs no start-up. It is killed before or after a random one of its uploads,
removals and lines of its journal; what it uploaded is in LOG, one path a line.
"""

import importlib
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.publish import apply_publication, plan_publication
from danbooru_pipeline.publish.hub import HubPlace
from danbooru_pipeline.publish.journal import Journal
from danbooru_pipeline.publish.place import Place
from danbooru_pipeline.publish.static import StaticPlace


def place_of(address: str) -> Place:
    """A place by its address; ``hub:OWNER`` is the Hub."""
    return HubPlace(address.removeprefix("hub:")) if address.startswith("hub:") else StaticPlace(address)


def publish(root: Path, year: int, address: str) -> None:
    """Publish once."""
    apply_publication(plan_publication(Layout(root), year, place_of(address)))


def watch(kill_at: int | None, log: Path) -> None:
    """Count the moments of this process, and kill it at one of them."""
    moments = 0

    def moment() -> None:
        nonlocal moments
        moments += 1
        if moments == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(kind: type[Any], name: str, after: Callable[..., None] = lambda *_: None) -> None:
        real = getattr(kind, name)

        def work(self: Any, *arguments: Any) -> Any:
            moment()
            done = real(self, *arguments)
            after(*arguments)
            moment()
            return done

        setattr(kind, name, work)

    def note(files: Any) -> None:
        with log.open("a") as lines:
            lines.writelines(f"{path}\n" for path in files)

    for kind in (StaticPlace, HubPlace):
        around(kind, "put", note)
        around(kind, "remove")
    around(Journal, "_append")


def attempt(root: Path, year: int, address: str, *, kill_at: int | None, log: Path) -> int:
    """One attempt in a child. Returns how it ended."""
    child = os.fork()
    if child == 0:
        watch(kill_at, log)
        publish(root, year, address)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(root: Path, year: int, address: str, seed: int, kills: int, log: Path) -> None:
    """Kill it so many times, then let it end."""
    importlib.import_module("huggingface_hub" if address.startswith("hub:") else "s3fs")  # once for all children
    dice = random.Random(seed)
    ended = [attempt(root, year, address, kill_at=dice.randrange(1, 40), log=log) for _ in range(kills)]
    ended.append(attempt(root, year, address, kill_at=None, log=log))
    print(ended)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), Path(sys.argv[6]))

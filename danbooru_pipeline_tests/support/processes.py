"""Small things that tests of whole processes share."""

import os
import random
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def free_port() -> int:
    """A port that nobody listens on, from outside the range of which the system gives ports to connections.

    Whoever is to listen binds it seconds later; until then a connection of another test could take one of that range.
    """
    lowest_of_system = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(10_000, lowest_of_system)
        with socket.socket() as server, suppress(OSError):
            server.bind(("127.0.0.1", port))
            return port


def wait_until(ready: Callable[[], object], *, seconds: float, every: float = 0.2, what: str = "it") -> None:
    """Wait for something to be true, and fail when it does not come true."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{what} was not ready within {seconds} s"
        time.sleep(every)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(pid: int, command: bytes) -> list[int]:
    """Processes that a process started, with these bytes in their command line; one that ends meanwhile is left out."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in path.read_text().split():
                with suppress(FileNotFoundError, ProcessLookupError):
                    if command in Path(f"/proc/{child}/cmdline").read_bytes():
                        found.append(int(child))
    return found


def kill(pid: int, *, seconds: float = 30) -> None:
    """Kill a process, and wait for its end: a busy system delivers SIGKILL when it comes to it."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), seconds=seconds, every=0.002, what=f"the end of process {pid}")

"""Small things that tests of whole processes share."""

import random
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

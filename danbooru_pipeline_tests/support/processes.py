"""Small things that tests of whole processes share."""

import socket
import time
from collections.abc import Callable


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def wait_until(ready: Callable[[], object], *, seconds: float, every: float = 0.2, what: str = "it") -> None:
    """Wait for something to be true, and fail when it does not come true."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{what} was not ready within {seconds} s"
        time.sleep(every)

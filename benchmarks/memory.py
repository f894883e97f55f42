"""The most memory that a process has used, and that its children have."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def peak_mib(pid: int | str = "self") -> float:
    """MiB. Of the process alone: `ru_maxrss` begins with what the process had that started it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@contextmanager
def watching_children() -> Iterator[list[float]]:
    """A list whose only number is the most that all children of this process had together, in MiB."""
    most, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            found = 0.0
            with suppress(OSError, IndexError):  # one has ended
                children = [pid for task in Path("/proc/self/task").iterdir() for pid in _children(task)]
                found = sum(map(peak_mib, children))
            most[0] = max(most[0], found)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def _children(task: Path) -> list[str]:
    return (task / "children").read_text().split()

"""The most memory that a process has used."""

from pathlib import Path


def peak_mib(pid: int | str = "self") -> float:
    """MiB. Of the process alone: `ru_maxrss` begins with what the process had that started it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

"""Leases: the locks of buckets, which a worker loses that stands still or is cut off from the store.

The kernel frees a lock of `locks` when its holder dies, but a process that is stopped, or whose machine hangs, would
hold it for ever. So the holder of a lease renews it: a thread touches its file. Whoever waits, and sees no renewal for
minutes, puts a file of its own in the place of the old one. No clocks of two machines are compared: the one who waits
measures, or lets the store's own clock tell, and watches for two renewals then.

A file server may as well have given the lock away while its holder could not reach it. Either way the holder finds,
when it goes on, that the file no longer bears its mark. It asks by `Lease.check` before it writes.
"""

import contextlib
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from danbooru_pipeline import stop
from danbooru_pipeline.errors import LeaseLost
from danbooru_pipeline.io.atomic import commit_part
from danbooru_pipeline.io.locks import lock_file, noted, refuse_own

#: Time between two renewals of a lease.
RENEW_SECONDS: Final = 15.0
#: A lease that was not renewed for so long is lost. Clients of NFS may show times that are a minute old.
LOST_SECONDS: Final = 180.0
_MOST_POLL_SECONDS: Final = 0.25
_MARK_BYTES: Final = 32


class Lease:
    """A lock file that this process holds and renews, as long as no other one has put its own in its place."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        with contextlib.suppress(OSError):  # no room: that the file is another one shows without a mark
            os.pwrite(descriptor, secrets.token_hex(16).encode(), 0)
        self._mark = os.pread(descriptor, _MARK_BYTES, 0)

    def check(self) -> None:
        """Make sure that the lease is held still.

        Raises:
            LeaseLost: another process has taken it over.
        """
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            is_ours = os.path.samestat(os.fstat(file.fileno()), os.fstat(self._descriptor))
            if is_ours and file.read(_MARK_BYTES) == self._mark:
                return
        raise LeaseLost(
            f"this process stood still for minutes, and another one took over what {self._path} locks; it wrote "
            "nothing since; run again"
        )

    def renew(self) -> None:
        """Show whoever waits that this process is alive."""
        os.utime(self._descriptor)


@contextlib.contextmanager
def leased(path: Path, *, renew: float = RENEW_SECONDS, lost: float = LOST_SECONDS) -> Iterator[Lease]:
    """Hold a lease for the length of the block; waits for another holder as long as that one is alive.

    Args:
        path: of the lock file. Creates missing folders.
        renew: seconds between two renewals.
        lost: after so many seconds without a renewal another holder has lost its lease.

    Raises:
        RuntimeError: this thread holds it, and would wait for itself.
    """
    refuse_own(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(path, watch=min(2 * renew, lost), lost=lost)
    try:
        with noted(path), _renewed(Lease(path, descriptor), every=renew) as lease:
            yield lease
    finally:
        os.close(descriptor)


def is_abandoned(path: Path, *, renew: float = RENEW_SECONDS, lost: float = LOST_SECONDS) -> bool:
    """Whether whoever held a lease is gone, or stands still; False where there is no lease.

    One that was renewed a moment ago is held: its file is there before its lock is.
    """
    if (seen := _renewal(path)) is None or (age := _age(path, seen)) <= 2 * renew:
        return False
    descriptor = _lock(path)
    if descriptor is None:
        return age > lost
    os.close(descriptor)
    return True


@contextlib.contextmanager
def _renewed(lease: Lease, *, every: float) -> Iterator[Lease]:
    over = threading.Event()

    def renew() -> None:
        while not over.wait(every):
            with contextlib.suppress(OSError):  # the store is away; if it is for long, `check` says what came of it
                lease.renew()

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        over.set()
        thread.join()


def _acquire(path: Path, *, watch: float, lost: float) -> int:
    """Wait for a lock file, and return the descriptor that locks it.

    Args:
        path: of the file.
        watch: seconds to watch a lease that was not renewed for `lost` seconds by the store's clock.
        lost: seconds without a renewal after which it is lost, whatever that clock says.
    """
    seen, watched, poll = _renewal(path), 0.0, 0.005
    while True:
        stop.check()
        if (descriptor := _lock(path)) is not None:
            return descriptor
        if (now := _renewal(path)) != seen:
            seen, watched = now, 0.0
        elif (
            _is_lost(path, now, watched=watched, watch=watch, lost=lost)
            and (taken := _take_over(path, now)) is not None
        ):
            return taken
        threading.Event().wait(poll)
        watched += poll  # not what a clock says: if this process stood still, so may have the other one
        poll = min(2 * poll, _MOST_POLL_SECONDS)


def _lock(path: Path) -> int | None:
    """Lock a file unless it is locked elsewhere, or was replaced before it was locked."""
    try:
        descriptor = lock_file(path, wait=False)
    except BlockingIOError:
        return None
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    os.close(descriptor)
    return None


def _renewal(path: Path) -> tuple[int, int] | None:
    """Which file is there, and when it was renewed."""
    try:
        with path.open("rb") as file:  # clients of NFS ask the server when a file is opened
            facts = os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    return facts.st_ino, facts.st_mtime_ns


def _is_lost(path: Path, seen: tuple[int, int] | None, *, watched: float, watch: float, lost: float) -> bool:
    return watched > lost or (watched > watch and _age(path, seen) > lost)


def _age(path: Path, seen: tuple[int, int] | None) -> float:
    """Seconds since a renewal by the clock of the store, which gives a file that is touched now its time as well."""
    with tempfile.TemporaryFile(dir=path.parent) as touched:
        os.utime(touched.fileno())
        return (os.fstat(touched.fileno()).st_mtime_ns - seen[1]) / 1e9 if seen else 0.0


def _new(path: Path) -> Path:
    """The file that is put in the place of a lock file."""
    return path.with_name(f"{path.stem}.new{path.suffix}")


def _take_over(path: Path, seen: tuple[int, int] | None) -> int | None:
    """Put a file of our own in the place of one whose holder stands still, unless somebody else just did."""
    new = _new(path)
    if (descriptor := _lock(new)) is None:
        return None
    if _renewal(path) != seen:
        os.close(descriptor)
        return None
    commit_part(new, path, flush_folder=False)
    return descriptor

"""Reads files of a folder that somebody else made: a release that was downloaded, and may have been made to do harm.

Below the root no link is followed, not even as a folder on the way; what is opened is a regular file, so no pipe or
device is waited for; and no read takes more bytes than the caller expects. Names are relative, with ``/``.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from danbooru_pipeline import stop

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: `O_NONBLOCK`: a pipe is opened at once, and then refused.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Smaller files are read whatever they hold.
_SMALL_BYTES = 2**24


class TooLong(ValueError):  # noqa: N818 - the name says what is wrong
    """A file has more bytes than may be read."""


def open_folder(root: Path, name: str = "") -> int:
    """A descriptor of a folder below `root`, which itself may be a link.

    Raises:
        OSError: a part of the name is missing, a link or no folder, or leads up.
    """
    parts = [part for part in name.split("/") if part]
    if ".." in parts:
        raise OSError(errno.EINVAL, "is not a path inside the folder", name)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts:
        try:
            below = os.open(part, _FOLDER, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder


def open_file(folder: int, name: str) -> int:
    """A descriptor of what has a name in an open folder and is no link. The caller checks that it is a regular file.

    Raises:
        OSError: it is missing, a link, or may not be opened.
    """
    return os.open(name, _FILE, dir_fd=folder)


def open_in(folder: int, name: str) -> int:
    """A descriptor of a regular file in an open folder.

    Raises:
        OSError: it is missing, a link or anything else.
    """
    descriptor = open_file(folder, name)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file", name)
    return descriptor


@contextmanager
def opened(root: Path, name: str) -> Iterator[BinaryIO]:
    """A regular file below `root`, open for reading.

    Raises:
        OSError: it is missing, a link, below a link, or anything else; or it has a hole.
        Stopped: a signal asked this process to stop.
    """
    stop.check()
    if set(name.split("/")) & {"", ".", ".."}:
        raise OSError(errno.EINVAL, "is not a path inside the folder", name)
    above, _, last = name.rpartition("/")
    folder = open_folder(root, above)
    try:
        descriptor = open_in(folder, last)
    finally:
        os.close(folder)
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(descriptor).st_size > _SMALL_BYTES and has_hole(file):
            raise OSError(errno.EINVAL, "pretends to be larger than it is", name)
        yield file


def read_bytes(root: Path, name: str, *, limit: int) -> bytes:
    """The whole of a small file.

    Raises:
        OSError: as `opened`.
        TooLong: it has more than `limit` bytes.
    """
    with opened(root, name) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise TooLong(f"has more than {limit:,} bytes")
    return data


def is_plain(root: Path, name: str) -> bool:
    """Whether a name is a regular file, in folders that are no links."""
    path = root
    *folders, last = name.split("/")
    try:
        for part in folders:
            path /= part
            if not stat.S_ISDIR(path.lstat().st_mode):
                return False
        return stat.S_ISREG((path / last).lstat().st_mode)
    except (OSError, ValueError):
        return False


def names_in(root: Path, folder: str, *, plain: bool = False) -> list[str]:
    """Sorted names of what is in a folder below `root`; none where it is missing or reached by a link.

    Args:
        root: whose links are followed.
        folder: below it.
        plain: only regular files.
    """
    try:
        descriptor = open_folder(root, folder)
    except OSError:
        return []
    try:
        with os.scandir(descriptor) as entries:
            return sorted(entry.name for entry in entries if not plain or entry.is_file(follow_symlinks=False))
    finally:
        os.close(descriptor)


def plain_names(root: Path, folder: str) -> list[str]:
    """Sorted names of the regular files in a folder below `root`; see `names_in`."""
    return names_in(root, folder, plain=True)


def size_of(root: Path, name: str) -> int:
    """Bytes of a file; 0 where it does not exist."""
    try:
        return (root / name).lstat().st_size
    except OSError:
        return 0


def has_hole(file: BinaryIO) -> bool:
    """Whether a file pretends to be larger than it is: a terabyte of zeros takes no space, and hours to read."""
    size = os.fstat(file.fileno()).st_size
    try:
        first = os.lseek(file.fileno(), 0, os.SEEK_HOLE)
    except OSError:
        return False
    finally:
        os.lseek(file.fileno(), 0, os.SEEK_SET)
    return first < size

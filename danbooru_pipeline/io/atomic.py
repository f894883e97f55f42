"""The one way bytes reach the store or a release.

A file is written beside its target under a hidden ``.part`` name, flushed to disk and renamed. So every reader sees the
old file or the new one, whole; and nothing ever writes through a hard link that releases share, since the rename always
brings a new inode. Model: borgbackup's SaveFile.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from danbooru_pipeline.layout import PART_SUFFIX


def part_path(path: Path) -> Path:
    """A fresh hidden name beside `path`, for a file that is not finished."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART_SUFFIX}")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears at `path` only when the block ends without an error. Creates missing folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(path)
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        commit_part(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def commit_part(part: Path, path: Path, *, flush_folder: bool = True) -> None:
    """Give a file or folder that is already whole and flushed its final name.

    Args:
        part: the file.
        path: its final name.
        flush_folder: make the name survive a power cut now. A caller that adds many files to a folder flushes it once
            for all of them, before it records that they exist.
    """
    part.replace(path)
    if flush_folder:
        fsync_folder(path.parent)


def write_atomic(path: Path, data: bytes) -> None:
    """Write all of `data` to `path`, or nothing."""
    with atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a new folder that replaces `path` as a whole when the block ends without an error.

    A crash between the two renames leaves neither folder at `path`, so callers must be able to make it again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_parts(path.parent)
    part = part_path(path)
    part.mkdir()
    try:
        yield part
        for file in part.iterdir():
            fsync_file(file)
        fsync_folder(part)
        if path.exists():
            path.rename(part_path(path))
        commit_part(part, path)
    finally:
        remove_parts(path.parent)


def fsync_file(path: Path) -> None:
    """Flush the bytes of a file that is already written, so they survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


#: The file system has no hard links, the other name is on another file system, or the file has all the links it may.
_CANNOT_LINK = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.ENOSYS})


def link_or_copy(source: Path, target: Path, *, flush: bool = True) -> bool:
    """Give a whole file a second name, which must be free; copy it where linking is impossible.

    The caller creates the folder, and flushes it when all names are in place; without `flush` it flushes copies, too.
    Returns whether it is a link.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        copy_file(source, target, flush=flush)
        return False
    return True


def copy_file(source: Path, target: Path, *, flush: bool) -> None:
    """Copy a file to a name that is free, with its times, by which rsync knows that a mirror has it already.

    File systems that can share blocks do so until either is changed.
    """
    with source.open("rb") as original, atomic_file(target) if flush else target.open("xb") as copy:
        if not _reflinked(original, copy):
            shutil.copyfileobj(original, copy, 2**20)
        copy.flush()
        state = os.fstat(original.fileno())
        os.utime(copy.fileno(), ns=(state.st_atime_ns, state.st_mtime_ns))


#: ``FICLONE`` of linux/fs.h: share the blocks of another file, where the file system can (btrfs, XFS, bcachefs).
_FICLONE = 0x40049409


def _reflinked(source: BinaryIO, target: BinaryIO) -> bool:
    try:
        fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
    except OSError:
        return False
    return True


#: The mode of files in releases, and of those in the store that a manifest has seen.
READ_ONLY: Final = 0o444


def make_read_only(path: Path | str | bytes, *, folder: int | None = None) -> None:
    """Make a file read-only. A linked file changes its mode under all its names, which is intended.

    Args:
        path: of the file, relative to `folder` if given.
        folder: descriptor of an open folder.
    """
    if os.stat(path, dir_fd=folder).st_mode & 0o777 != READ_ONLY:
        os.chmod(path, READ_ONLY, dir_fd=folder)


def make_own_read_only(path: Path) -> None:
    """Make a file read-only; one whose mode is not ours to set, as another user's is linked, is replaced by a copy."""
    try:
        path.chmod(READ_ONLY)
    except PermissionError:
        part = part_path(path)
        try:
            copy_file(path, part, flush=True)
            part.chmod(READ_ONLY)
            commit_part(part, path)
        finally:
            part.unlink(missing_ok=True)


def symlink_atomic(link: Path, target: str) -> None:
    """Point `link` at `target`; every reader sees the old target or the new one."""
    part = part_path(link)
    try:
        part.symlink_to(target)
        commit_part(part, link)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_unpublished(path: Path, data: bytes) -> None:
    """Write a new file of a tree that nobody sees yet. It survives a power cut once `sync_file_system` was called.

    A release has two thousand small lists, and to flush each by itself takes longer than all the rest of them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(data)


def sync_file_system(folder: Path) -> None:
    """Flush all files and folders of the file system that a folder is on, so that they survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            os.sync()
    except AttributeError:  # not Linux
        os.sync()
    finally:
        os.close(descriptor)


#: What network shares and some FUSE file systems say: their server keeps folders, or they cannot.
_NO_FOLDER_FLUSH = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})


def fsync_folder(folder: Path) -> None:
    """Flush a folder, so renames in it survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_FLUSH:
            raise
    finally:
        os.close(descriptor)


def remove_parts(folder: Path, *, keep: Collection[str] = ()) -> int:
    """Remove unfinished files and folders that killed writers left. Returns how many were removed.

    Args:
        folder: the caller must hold the lock that covers it.
        keep: names of parts that will be resumed.
    """
    if not folder.is_dir():
        return 0
    parts = (path for path in folder.iterdir() if path.name.startswith(".") and path.name.endswith(PART_SUFFIX))
    left = [path for path in parts if path.name not in keep]
    for path in left:
        remove_part(path)
    return len(left)


def remove_parts_of(path: Path) -> None:
    """Remove what killed writers left of one file; the caller holds the lock that covers it."""
    for part in path.parent.glob(f".{path.name}.*{PART_SUFFIX}"):
        remove_part(part)


def remove_part(part: Path) -> None:
    """Remove one unfinished file or folder."""
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it, if it is there.

    Raises:
        OSError: something in it cannot be removed. It is not passed over, since what is left could be a removed post.
    """
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)

"""``releases/current``, which leads to the newest release: a symbolic link, or a file with the name of its folder.

A file where the file system has no symbolic links (exFAT, many network shares). It holds one line, the name of a
release beside it, and nothing else is followed: a release is a folder that somebody else may have written.
"""

import errno
import os
import re
from pathlib import Path
from typing import Final

from danbooru_pipeline.io.atomic import symlink_atomic, write_atomic
from danbooru_pipeline.layout import Layout

_NO_SYMLINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS})
_LINE: Final = re.compile(rb"(danbooru[0-9]{4})\r?\n?")
_LONGEST: Final = 64


def point_at(layout: Layout, newest: Path) -> None:
    """Have `current` lead to a release beside it. Every reader sees the old release or the new one."""
    if layout.current.is_symlink() and layout.current.readlink() == Path(newest.name):
        return
    try:
        symlink_atomic(layout.current, newest.name)
    except OSError as error:
        if error.errno not in _NO_SYMLINKS:
            raise
        if _named_in(layout.current) != newest.name:
            write_atomic(layout.current, f"{newest.name}\n".encode())


def followed(path: Path) -> Path:
    """Where a link or a file like ``releases/current`` leads; any other path as it is."""
    if path.is_symlink():
        return followed(path.resolve())
    name = _named_in(path)
    return path if name is None else path.with_name(name)


def is_pointer(path: Path) -> bool:
    """Whether a path is `current` in either form: it leads to an entry beside it, and holds nothing itself."""
    if path.is_symlink():
        return path.resolve().parent == path.parent.resolve()
    return _named_in(path) is not None


def _named_in(path: Path) -> str | None:
    """The name in the file, None if this is anything else."""
    try:
        if not path.is_file() or path.stat().st_size > _LONGEST:
            return None
        line = _LINE.fullmatch(path.read_bytes())
    except OSError:
        return None
    return os.fsdecode(line[1]) if line else None

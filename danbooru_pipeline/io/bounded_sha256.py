"""SHA-256 of files that somebody else made, read only if each is the plain file of just the size that is expected.

Needs the standard library alone, and little of that: the processes of `hash_processes` run it, and start in 20 ms.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from danbooru_pipeline.io.untrusted import has_hole, open_file, open_folder

_BLOCK_BYTES = 2**20


class Expected(Protocol):
    """A file below a root, and its size in bytes."""

    @property
    def path(self) -> str:
        """Relative to the root."""

    @property
    def size(self) -> int:
        """In bytes."""


class ModeRule(NamedTuple):
    """Bits of a mode that a file must have, and bits that it must not have."""

    needed: int = 0
    forbidden: int = 0


#: Any mode will do.
ANY_MODE = ModeRule()


def digests_of(root: Path, files: Sequence[tuple[str, int]], rule: ModeRule = ANY_MODE) -> Iterator[str | None]:
    """SHA-256 of each (path, size); None unless it is a regular file of that size and such a mode, and can be read.

    Files beside each other are opened in their folder, which saves the kernel the way to it.
    """
    folder, descriptor = None, -1
    try:
        for path, size in files:
            above, _, name = path.rpartition("/")
            if above != folder:
                if descriptor >= 0:
                    os.close(descriptor)
                folder, descriptor = above, -1
                descriptor = _folder_or_none(root, above)
            yield None if descriptor < 0 else _digest(descriptor, name, size, rule)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _folder_or_none(root: Path, name: str) -> int:
    try:
        return open_folder(root, name)
    except (OSError, ValueError):
        return -1


def _digest(folder: int, name: str, size: int, rule: ModeRule) -> str | None:
    try:
        descriptor = open_file(folder, name)
    except (OSError, ValueError):
        return None
    try:
        facts = os.fstat(descriptor)
        mode = facts.st_mode
        if facts.st_size != size or not stat.S_ISREG(mode) or mode & rule.forbidden or rule.needed & ~mode:
            return None
        if size >= _BLOCK_BYTES:
            return _digest_of_large(descriptor, size)
        # One byte more than expected, since it may grow meanwhile; a short read is the end of a regular file.
        data = os.read(descriptor, size + 1)
        return hashlib.sha256(data).hexdigest() if len(data) == size else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _digest_of_large(descriptor: int, size: int) -> str | None:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        if has_hole(file):
            return None
        digest, left = hashlib.sha256(), size
        while (block := os.read(descriptor, min(left + 1, _BLOCK_BYTES))) and left >= 0:
            digest.update(block)
            left -= len(block)
    return digest.hexdigest() if not left else None

"""SHA-256 of a file, the one way in which this project computes it.

A symbolic link is refused everywhere. Neither a store nor a release may contain one: in a release it could lead out of
the tree that is being verified, and in a store its bytes could change without the store noticing.
"""

import hashlib
import os
from pathlib import Path

_BLOCK_BYTES = 2**20


def sha256_of(path: Path | str) -> str:
    """SHA-256 of a file as 64 hexadecimal digits.

    Raises:
        OSError: the file is missing, unreadable or a symbolic link (ELOOP). Links in the folders above are followed.
    """
    # Bare descriptors and a buffer of the file's own size: for a small file, Python's file objects and a zeroed
    # megabyte cost more than its hash.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        digest = hashlib.sha256()
        size = min(_BLOCK_BYTES, os.fstat(descriptor).st_size + 1)
        while block := os.read(descriptor, size):
            digest.update(block)
        return digest.hexdigest()
    finally:
        os.close(descriptor)


def sha256_or_none(path: Path | str) -> str | None:
    """SHA-256 of a file; None when it is missing, a symbolic link, or the disk cannot read it."""
    try:
        return sha256_of(path)
    except OSError:
        return None

"""MD5, by which the site names its files; nothing here relies on it for security, so it works under FIPS rules."""

import hashlib
from pathlib import Path


def md5_of(path: Path) -> str:
    """MD5 of a file as 32 hexadecimal digits.

    Raises:
        OSError: it cannot be read. A symbolic link is followed.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def md5_of_bytes(data: bytes) -> str:
    """MD5 of bytes as 32 hexadecimal digits."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()

"""SHA-256 of a file."""

import hashlib
from pathlib import Path

import pytest

from danbooru_pipeline.io.sha256 import sha256_of, sha256_or_none


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20])
def test_digest_is_that_of_the_bytes(tmp_path: Path, size: int) -> None:
    """Files of any size, larger than the buffer or empty, have the digest of their bytes."""
    data = bytes(range(256)) * (size // 256 + 1)
    path = tmp_path / "file"
    path.write_bytes(data[:size])
    assert sha256_of(path) == sha256_or_none(str(path)) == hashlib.sha256(data[:size]).hexdigest()


def test_links_are_refused(tmp_path: Path) -> None:
    """A symbolic link is an error even if its target is fine; a link to the folder above is followed."""
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(folder / "file")
    (tmp_path / "folder").symlink_to(folder)
    with pytest.raises(OSError, match="symbolic links"):
        sha256_of(tmp_path / "link")
    assert sha256_or_none(tmp_path / "link") is None
    assert sha256_of(tmp_path / "folder/file") == hashlib.sha256(b"x").hexdigest()


def test_what_cannot_be_read_has_no_digest(tmp_path: Path) -> None:
    """A missing file and a folder raise an error, or give None where that is asked for."""
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(OSError, match=r"No such file|Is a directory"):
            sha256_of(path)
        assert sha256_or_none(path) is None

"""Errors that nobody foresaw, as one of ours."""

import errno
import os
import resource
from pathlib import Path

import pytest

from danbooru_pipeline.errors import DiskFull, InternalError, ReleaseReplaced, StoreError, full_disk_named
from danbooru_pipeline.operate.faults import as_ours


def missing(path: Path) -> FileNotFoundError:
    """What a read of a file that is gone raises."""
    return FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))


def test_file_of_a_release_that_was_replaced_meanwhile_is_told_as_that(tmp_path: Path) -> None:
    """A build that reads an earlier release while another run makes a newer version of it: exit code 75, run again."""
    release = tmp_path / "releases/danbooru2021"
    release.mkdir(parents=True)
    assert type(as_ours(missing(release / "parquet"), tmp_path)) is StoreError  # there is no release
    (release / "RELEASE.json").write_text("{}")
    told = as_ours(missing(release / "parquet"), tmp_path)
    assert isinstance(told, ReleaseReplaced)
    assert str(told) == f"{release} was replaced while it was read; run again"
    assert type(as_ours(missing(tmp_path / "store/x"), tmp_path)) is StoreError


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ENOMEM])
def test_what_the_machine_cannot_do_is_no_fault_of_the_program(tmp_path: Path, number: int) -> None:
    """An error of a file that is open already names none; the line says what is wrong and what to do all the same."""
    told = as_ours(OSError(number, os.strerror(number)), tmp_path)
    assert type(told) is StoreError
    assert str(told).startswith(f"a file, most likely below {tmp_path}: {os.strerror(number)}; ")
    assert str(told).endswith(", then run again")
    assert "see to it" not in str(told)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.ECONNRESET])
def test_other_errors_without_a_file_are_faults_of_the_program(tmp_path: Path, number: int) -> None:
    """What a program that is right does not meet leaves its traceback."""
    assert type(as_ours(OSError(number, os.strerror(number)), tmp_path)) is InternalError


def test_a_limit_on_the_size_of_files_is_no_full_disk(tmp_path: Path) -> None:
    """A file that the process may not make so large is told as that, whoever meets it first."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, limits[1]))
    try:
        with pytest.raises(DiskFull) as named, full_disk_named(tmp_path):
            (tmp_path / "file").write_bytes(b"x" * 4096)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    told = as_ours(OSError(errno.EFBIG, "File too large"), tmp_path)
    assert type(told) is DiskFull
    assert str(told) == str(named.value)
    assert str(told).startswith(f"{tmp_path} takes no file of this size (File too large); raise the limit (ulimit -f)")

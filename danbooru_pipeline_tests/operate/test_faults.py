"""Errors that nobody foresaw, as one of ours."""

import errno
from pathlib import Path

from danbooru_pipeline.errors import ReleaseReplaced, StoreError
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

"""Readers of a release that is replaced meanwhile say so, with an exit code of its own."""

from pathlib import Path

import pytest

from danbooru_pipeline.cli.reading import held_release
from danbooru_pipeline.errors import NotARelease, ReleaseReplaced


def make(folder: Path) -> Path:
    """Something with a RELEASE.json."""
    folder.mkdir()
    (folder / "RELEASE.json").write_text("{}")
    return folder


def swap(folder: Path, new: Path) -> None:
    """Replace a release as a snapshot does."""
    folder.rename(folder.with_name(".retired"))
    new.rename(folder)


def test_release_that_is_replaced_meanwhile_is_told_as_that(tmp_path: Path) -> None:
    """Cases swap_under_verify and swap_under_export: whether the read failed by it or seemed to succeed."""
    old, new = make(tmp_path / "danbooru2022"), make(tmp_path / "new")
    with pytest.raises(ReleaseReplaced, match="was replaced while it was read; run again"), held_release(old):
        swap(old, new)
    swap_again = make(tmp_path / "newer")
    (tmp_path / ".retired").rename(tmp_path / "gone")
    with pytest.raises(ReleaseReplaced), held_release(old) as held:
        swap(old, swap_again)
        raise FileNotFoundError(held / "manifest")
    assert ReleaseReplaced.exit_code == 75


def test_link_is_followed_once(tmp_path: Path) -> None:
    """`current` may point to another release meanwhile; what is read is the one that it pointed to."""
    release = make(tmp_path / "danbooru2022")
    current = tmp_path / "current"
    current.symlink_to("danbooru2022")
    with held_release(current) as held:
        assert held == release
        current.unlink()


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    """A folder that is no release, and a release that is damaged, are told as before."""
    with pytest.raises(NotARelease), held_release(tmp_path):
        raise NotARelease("x")
    release = make(tmp_path / "danbooru2022")
    with pytest.raises(FileNotFoundError), held_release(release):
        raise FileNotFoundError

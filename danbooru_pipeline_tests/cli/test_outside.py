"""Commands that write for their user write nothing into a release, nor among those that a root publishes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.release.outside import release_around, require_outside
from danbooru_pipeline_tests.support.damage import linked_copy
from danbooru_pipeline_tests.support.yard import Yard, tree_state

#: What is typed before the place, with a release in place of None.
COMMANDS: dict[str, tuple[object, ...]] = {
    "changes": ("changes", None, None, "--into"),
    "reconstruct": ("reconstruct", 2021, "--from", None, "--into"),
    "select": ("select", None, "--out"),
    "captions": ("export", "captions", None),
    "sqlite": ("export", "sqlite", None),
    "metrics": ("metrics", "--into"),
    "demo": ("demo", "--root"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_written_into_a_release(
    released: Yard, tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """A place in any release, also by a link, or beside those of a root, is refused, and makes no file or folder."""
    monkeypatch.setenv("DANBOORU_ROOT", str(released.layout.root))
    release = released.layout.release(2021)
    other = linked_copy(release, tmp_path / "other")
    (tmp_path / "link").symlink_to(other / "changes")
    before = tree_state(released.layout.root), tree_state(other)
    words = [str(release) if word is None else word for word in COMMANDS[command]]
    for place in (release / "new", other / "new", other / "parquet/new", tmp_path / "link/new", release.parent / "new"):
        done = run(*words, place)
        assert done.exit_code == 2, (place, done.output)
        assert "give a path outside of" in done.output.splitlines()[-1], done.output
    assert (tree_state(released.layout.root), tree_state(other)) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "other"]


def test_places_outside_are_free(released: Yard, tmp_path: Path) -> None:
    """Beside a copy of a release, in a folder called releases that is of no root, and in a root, there is room."""
    copy = linked_copy(released.layout.release(2021), tmp_path / "releases/danbooru2021")
    for place in (tmp_path / "new", tmp_path / "releases/new", released.layout.root / "new"):
        require_outside(place)
    require_outside(copy, itself=False)
    with pytest.raises(SettingsError, match="is inside the release"):
        require_outside(copy)
    assert (release_around(copy), release_around(copy / "x/y")) == (None, copy.resolve())


def test_place_that_is_no_path_is_refused(tmp_path: Path) -> None:
    """A link to itself, and a null byte, are one line each."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place in (tmp_path / "loop/new", tmp_path / "a\0b"):
        with pytest.raises(SettingsError, match="cannot be a path"):
            require_outside(place)

"""Where commands write for their user: not in a release, which is only read, and not where a root publishes its own."""

import os
from pathlib import Path

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release_paths import RELEASE_JSON


def require_outside(target: Path, *, itself: bool = True) -> None:
    """Refuse a file or folder to write that lies in a release, or among the releases of a root.

    Args:
        target: that need not exist.
        itself: whether it may be no release itself, either.

    Raises:
        SettingsError: it does, or cannot be a path.
    """
    if (release := release_around(target, itself=itself)) is not None:
        raise SettingsError(f"{target} is inside the release {release}, which is only read; give a path outside of it")
    if (root := root_around(target)) is not None:
        raise SettingsError(f"{target} is among the published releases of {root}; give a path outside of them")


def release_around(target: Path, *, itself: bool = False) -> Path | None:
    """The release that a path lies in, wherever links lead; None where it lies in none.

    Raises:
        SettingsError: it cannot be a path.
    """
    place = _resolved(target)
    folders = [place, *place.parents] if itself else place.parents
    return next((folder for folder in folders if os.path.lexists(folder / RELEASE_JSON)), None)


def root_around(target: Path) -> Path | None:
    """The root among whose published releases a path lies, or which are that path; None where there is none.

    Raises:
        SettingsError: it cannot be a path.
    """
    place = _resolved(target)
    roots = (Layout(folder.parent) for folder in (place, *place.parents) if folder == Layout(folder.parent).releases)
    return next((root.root for root in roots if root.store.is_dir()), None)


def _resolved(target: Path) -> Path:
    try:
        return target.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a link to itself, a null byte
        raise SettingsError(f"{str(target)!r} cannot be a path ({error}); give another one") from error

"""Reads of a release that may be replaced meanwhile: a newer version of it takes its name in one rename."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from danbooru_pipeline.errors import ReleaseReplaced
from danbooru_pipeline.release_paths import RELEASE_JSON


@contextlib.contextmanager
def held_release(folder: Path) -> Iterator[Path]:
    """The folder of a release for the length of a block; ``releases/current`` is followed once.

    Raises:
        ReleaseReplaced: another version took its place meanwhile, so what was read is of two releases.
    """
    # Here, since the whole room comes with it, which help need not wait for.
    from danbooru_pipeline.release.pointer import followed

    held = followed(folder)
    before = _identity(held)
    try:
        yield held
    except Exception as error:
        if before is not None and _identity(held) != before:
            raise _replaced(held) from error
        raise
    if before is not None and _identity(held) != before:
        raise _replaced(held)


def _identity(folder: Path) -> tuple[int, int] | None:
    """What a rename changes; None where there is no release."""
    with contextlib.suppress(OSError):
        return folder.stat().st_ino, (folder / RELEASE_JSON).stat().st_ino
    return None


def _replaced(folder: Path) -> ReleaseReplaced:
    return ReleaseReplaced(f"{folder} was replaced while it was read; run again")

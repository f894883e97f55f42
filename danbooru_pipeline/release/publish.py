"""Which release is the newest: the link ``releases/current``."""

from pathlib import Path

from danbooru_pipeline.atomic import symlink_atomic
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release.record import published


def flip_current(layout: Layout) -> Path:
    """Let ``releases/current`` point to the newest year that is published. Returns that release's folder.

    The link is relative, so the whole folder may move; a transfer that runs keeps the tree it began with.

    Raises:
        ReleaseError: nothing is published yet.
    """
    releases = published(layout)
    if not releases:
        raise ReleaseError(f"{layout.releases} has no release yet; build one first")
    newest = releases[max(releases)]
    if not layout.current.is_symlink() or layout.current.readlink() != Path(newest.name):
        symlink_atomic(layout.current, newest.name)
    return newest

"""Files of a release that an export takes: those that lie in it, and not where a link would lead."""

from pathlib import Path

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.io.untrusted import is_plain


def file_of(release: Path, path: str) -> Path:
    """A file of a release.

    Raises:
        ReleaseError: this copy lacks it, or has a link or something else in its place.
    """
    if not is_plain(release, path):
        raise ReleaseError(f"{release / path} is missing, or is a link or no file; verify {release} first")
    return release / path

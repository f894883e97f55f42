"""What a folder of a dump or an archive has, links followed; a folder that cannot be listed is an error, not empty."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.sources.table_names import Found, is_of_a_year, may_matter


def list_folder(root: Path, *, deep: bool) -> list[Found]:
    """All that may matter in a folder, and below it if `deep`, each folder once under each name that counts.

    Raises:
        SourceUnusable: a folder cannot be listed.
    """
    listed: dict[tuple[int, int, str], list[Found]] = {}
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            facts = (root / folder).stat()
            # A link may lead back up, or be another name of a folder: the name matters if it is a year.
            key = (facts.st_dev, facts.st_ino, Path(folder).name if is_of_a_year(Path(folder).name) else "")
            if key in listed:
                continue
            with os.scandir(root / folder) as entries:
                below = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise SourceUnusable(
                f"{root / folder} cannot be listed ({error.strerror}), so nobody knows what it has; let this user read "
                "it, or set the source to a folder without it"
            ) from None
        folders = [entry for entry in below if _is_folder(entry)]
        listed[key] = list(_found(below, {entry.name for entry in folders}, folder))
        pending += [_below(folder, entry) for entry in reversed(folders) if deep]
    of_years = {key[:2] for key in listed if key[2]}
    return [each for key, found in listed.items() if key[2] or key[:2] not in of_years for each in found]


def _found(entries: list[os.DirEntry[str]], folders: set[str], folder: str) -> Iterator[Found]:
    for entry in entries:
        if may_matter(entry.name, is_folder=entry.name in folders):
            yield Found(_below(folder, entry), _trouble(entry))


def _below(folder: str, entry: os.DirEntry[str]) -> str:
    return f"{folder}/{entry.name}" if folder else entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that cannot be followed
        return False


def _trouble(entry: os.DirEntry[str]) -> str:
    """Why something cannot be read as a file; empty for a file, or for a link to one."""
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        if entry.is_symlink():
            return f"is a link to {Path(entry.path).readlink()}, which cannot be followed ({error.strerror})"
        return f"cannot be looked at ({error.strerror})"
    if stat.S_ISREG(mode):
        return ""
    return "is a folder" if stat.S_ISDIR(mode) else "is no regular file"

"""The folder that a release is brought into: new, a release, or what an unfinished run left. Files of others are safe.

What a run may remove or replace is what lists of checksums name: that of the folder, and those of killed runs, which
are kept in the hidden folder beside it until the release is whole.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.io.atomic import commit_part
from danbooru_pipeline.io.untrusted import is_plain, plain_names, read_bytes
from danbooru_pipeline.layout import PART_SUFFIX
from danbooru_pipeline.release.checksums import LONGEST_LIST, parse_sums
from danbooru_pipeline.release.outside import require_outside
from danbooru_pipeline.release_paths import RELEASE_JSON, SHA256SUMS

#: In the hidden folder: the lists of killed runs. It is made with the target, so it is the mark that this is ours.
_LISTS: Final = ".lists"


@dataclass(frozen=True, slots=True)
class Target:
    """A folder that gets a release."""

    folder: Path

    @property
    def work(self) -> Path:
        """The hidden folder beside it, for what is not whole yet."""
        return self.folder.with_name(f".{self.folder.name}{PART_SUFFIX}")

    def check(self) -> None:
        """Refuse a folder whose files are somebody else's. Changes nothing.

        Raises:
            SettingsError: it has files and is neither a release nor of an unfinished run, or lies in a release.
        """
        require_outside(self.folder, itself=False)
        if not os.path.lexists(self.folder):
            return
        if not self.folder.is_dir():
            raise SettingsError(f"{self.folder} is no folder; give a new one")
        is_ours = is_plain(self.folder, RELEASE_JSON) or self._is_begun()
        if not is_ours and any(self.folder.iterdir()):
            raise SettingsError(
                f"{self.folder} has files, and is neither a release nor what an unfinished get left; give a new folder"
            )

    def begin(self) -> None:
        """Make the folder, and the mark that it is ours."""
        (self.work / _LISTS).mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)

    def keep_list(self) -> None:
        """Keep the list of a killed run, before another one takes its place."""
        if self._is_begun() and is_plain(self.work, SHA256SUMS):
            data = (self.work / SHA256SUMS).read_bytes()
            commit_part(self.work / SHA256SUMS, self.work / _LISTS / hashlib.sha256(data).hexdigest())

    def lists(self) -> Iterator[Mapping[str, str]]:
        """Path -> SHA-256 of what the folder may have, by each list that is known and well-formed."""
        for root, name in (
            (self.folder, SHA256SUMS),
            *((self.work, f"{_LISTS}/{name}") for name in plain_names(self.work, _LISTS)),
        ):
            with contextlib.suppress(OSError, ValueError):
                yield parse_sums(read_bytes(root, name, limit=LONGEST_LIST))

    def remove(self, path: str) -> bool:
        """Remove a file, and folders that it leaves empty. Returns whether it was there."""
        if not is_plain(self.folder, path):
            return False
        (self.folder / path).unlink()
        for above in list(Path(path).parents)[:-1]:
            with contextlib.suppress(OSError):  # it has other files
                (self.folder / above).rmdir()
        return True

    def _is_begun(self) -> bool:
        return (self.work / _LISTS).is_dir() and not self.work.is_symlink()

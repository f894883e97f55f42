"""What unpacking a tar file would leave: which member has the bytes of each name.

A name may come twice, and the last one counts. A hard link has the bytes that its target had when the link came, a
symbolic link those that its target has in the end.
"""

import posixpath
import tarfile
from collections.abc import Iterator
from typing import Final

from danbooru_pipeline.sources.table_names import Found, may_matter

#: As many links one after the other as systems follow.
_MOST_LINKS: Final = 40


class TarNames:
    """The names in a tar file, from its members in their order."""

    def __init__(self) -> None:
        self._members: dict[str, int] = {}
        self._links: dict[str, str] = {}
        self._troubles: dict[str, str] = {}
        self._folders: set[str] = set()

    def add(self, number: int, member: tarfile.TarInfo) -> None:
        """Add the next member; `number` is its place in the file."""
        name = _plain(member.name)
        target = _plain(member.linkname)
        if member.islnk() and target == name:
            return
        self._members.pop(name, None)
        self._links.pop(name, None)
        self._troubles.pop(name, None)
        self._folders.update(_above(name))
        if member.isreg():
            self._members[name] = number
        elif member.isdir():
            self._folders.add(name)
        elif member.issym():
            is_absolute = member.linkname.startswith("/")  # it leads out of the archive
            here = posixpath.join(posixpath.dirname(name), member.linkname)
            self._links[name] = member.linkname if is_absolute else posixpath.normpath(here)
        elif member.islnk() and target in self._members:
            self._members[name] = self._members[target]
        elif member.islnk() and target in self._links:
            self._links[name] = self._links[target]
        elif member.islnk():
            self._troubles[name] = f"is a hard link to {member.linkname}, which is not there before it"
        else:
            self._troubles[name] = "is no regular file"

    def found(self) -> list[Found]:
        """All that may matter."""
        return [each for each in self._all() if may_matter(each.base, is_folder=each.name in self._folders)]

    def member_of(self, name: str) -> int:
        """The place of the member that has the bytes of a file."""
        return self._members[self._end_of(name)]

    def _all(self) -> Iterator[Found]:
        yield from (Found(name) for name in self._members)
        yield from (Found(name, trouble) for name, trouble in self._troubles.items())
        yield from (Found(name, "is a folder") for name in self._folders)
        for name, target in self._links.items():
            if self._end_of(name) in self._members:
                yield Found(name)
            else:
                what = "a folder" if target in self._folders else "nothing in the archive"
                yield Found(name, f"is a link to {what} ({target})")

    def _end_of(self, name: str) -> str:
        for _ in range(_MOST_LINKS):
            if name not in self._links:
                break
            name = self._links[name]
        return name


def _plain(name: str) -> str:
    """A name as it is below the folder that is unpacked to."""
    return posixpath.normpath(name).lstrip("/")


def _above(name: str) -> Iterator[str]:
    while name := posixpath.dirname(name):
        yield name

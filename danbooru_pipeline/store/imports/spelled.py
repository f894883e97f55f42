"""How a place writes its names: extensions and MD5s may be in any case, since their files are proven by what they hold.

Names are still built and looked up. A listing says only which ways of writing occur, so a folder of millions of files
costs no memory. Only MD5s that mix both cases have too many ways: those few are remembered where they lie.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Final, Self

from danbooru_pipeline.layout import EXTENSIONS
from danbooru_pipeline.store.imports.candidates import Skipped, spellings

_FOLDER: Final = re.compile(r"[0-9a-fA-F]{2}")
_MD5_NAME: Final = re.compile(r"([0-9a-fA-F]{32})\.(\w+)")
#: Folders of MD5s are at most this many deep: ``ab/cd/MD5.EXT``.
_DEPTH: Final = 2
#: Names whose MD5 is in both cases that are remembered, some 60 MB of them; further ones are named in the report.
MAX_MIXED: Final = 200_000


def is_md5_name(name: str) -> bool:
    """Whether a folder of files by MD5 may have this name in it: ``MD5.EXT``, or the folder ``ab``."""
    return bool(_FOLDER.fullmatch(name) or _MD5_NAME.fullmatch(name))


@dataclass(frozen=True, slots=True)
class Extensions:
    """The ways in which extensions are written, other than in lower case."""

    others: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def of_folder(cls, folder: Path) -> Self:
        """Those of the files in a folder; of one that cannot be listed, none."""
        found = cls()
        for name in _names_in(folder):
            found.add(name.rpartition(".")[2])
        return found

    def add(self, ext: str) -> None:
        """Note an extension as it is written."""
        if not ext.islower() and ext.lower() in EXTENSIONS:
            self.others.setdefault(ext.lower(), set()).add(ext)

    def ways_of(self, ext: str) -> Iterator[str]:
        """All ways in which a file of this extension may be filed, the usual first."""
        for spelling in spellings(ext):
            yield spelling
            yield from sorted(self.others.get(spelling, ()))


@dataclass(slots=True)
class Md5Names:
    """The ways in which MD5s, their folders and extensions are written, other than in lower case.

    Attributes:
        extensions: those of the files.
        folders: names of folders by their first digits.
        has_upper: whether any MD5 is in upper case.
        mixed: MD5 in lower case -> paths of files that have it in both cases.
    """

    extensions: Extensions = field(default_factory=Extensions)
    folders: set[str] = field(default_factory=set)
    has_upper: bool = False
    mixed: dict[bytes, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of_folder(cls, folder: Path, skipped: Skipped) -> Self:
        """Those of the files in a folder and its folders; notes MD5s in both cases beyond `MAX_MIXED`."""
        found = cls()
        found._list(folder, "", skipped, _DEPTH)
        return found

    def _list(self, top: Path, below: str, skipped: Skipped, depth: int) -> None:
        for name in _names_in(top / below):
            if depth and _FOLDER.fullmatch(name):
                self.folders.add(name)
                self._list(top, f"{below}{name}/", skipped, depth - 1)
            elif match := _MD5_NAME.fullmatch(name):
                md5, ext = match.groups()
                self.extensions.add(ext)
                self.has_upper |= md5.isupper()
                if md5 in {md5.lower(), md5.upper()}:
                    continue
                if len(self.mixed) < MAX_MIXED:
                    key = bytes.fromhex(md5)
                    self.mixed[key] = (*self.mixed.get(key, ()), f"{below}{name}")
                else:
                    skipped.note(top / below / name, "an MD5 in upper and lower case; rename it to lower case")

    def paths_of(self, md5: str, ext: str) -> Iterator[str]:
        """Where a file may be, the usual places first."""
        first, second = self._folders_of(md5[:2]), self._folders_of(md5[2:4])
        folders = (*(f"{a}/{b}/" for a in first for b in second), "", *(f"{a}/" for a in first))
        stems = (md5, md5.upper()) if self.has_upper else (md5,)
        for folder, stem in product(folders, dict.fromkeys(stems)):
            for way in self.extensions.ways_of(ext):
                yield f"{folder}{stem}.{way}"
        for path in self.mixed.get(bytes.fromhex(md5), ()):
            if path.rpartition(".")[2].lower() in spellings(ext):
                yield path

    def _folders_of(self, digits: str) -> list[str]:
        cases = map("".join, product(*((digit, digit.upper()) for digit in digits)))
        return list(dict.fromkeys((digits, *(case for case in cases if case in self.folders))))


def _names_in(folder: Path) -> Iterator[str]:
    """Names in a folder; none if it cannot be listed. What cannot be read either is told of when it is looked up."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name

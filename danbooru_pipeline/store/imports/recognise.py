"""Recognises what a path holds that was given to an import."""

import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.release_paths import RELEASE_JSON
from danbooru_pipeline.store.imports.candidates import Finder, Holding, kind_of
from danbooru_pipeline.store.imports.folders import Md5Holding, TreeHolding
from danbooru_pipeline.store.imports.releases import ReleaseHolding
from danbooru_pipeline.store.imports.spelled import is_md5_name
from danbooru_pipeline.store.imports.tars import TarHolding

_TAR: Final = re.compile(r".+\.(tar(\.(gz|xz|bz2))?|tgz|txz|tbz2?)", re.IGNORECASE)
_OTHER_TAR: Final = re.compile(r".+\.(tar\.(zst|zstd|lz4|lz|lzo|br|z)|tzst)", re.IGNORECASE)
_FORMS: Final = "give a release, a tree, tars (plain, gz, xz or bz2) or a folder of files by MD5"
#: How many folders deep it is looked for what a folder holds: releases, or tars by site and by year.
_DEPTH: Final = 2


def open_holdings(paths: Iterable[Path]) -> list[Holding]:
    """Recognise what each path holds.

    Raises:
        StoreError: a path is neither a folder nor a tar.
    """
    return [holding for path in paths for holding in _recognise(path)]


@dataclass(frozen=True, slots=True)
class _Unread:
    """What cannot be imported; the import goes on without it, and says why."""

    place: Path
    why: str
    can_move: bool = field(default=True, init=False)

    @property
    def title(self) -> str:
        """What it is, for people."""
        return str(self.place)

    def buckets(self) -> Iterator[tuple[str, Finder]]:
        """None.

        Raises:
            StoreError: always.
        """
        raise StoreError(f"{self.place} {self.why}")


def _recognise(path: Path) -> list[Holding]:
    if path.is_file() and _TAR.fullmatch(path.name):
        return [TarHolding(path)]
    if not path.is_dir():
        raise StoreError(f"{path} is neither a folder nor a tar; {_FORMS}")
    return _within(path, _DEPTH) or [_Unread(path, f"holds nothing that can be imported; {_FORMS}")]


def _within(path: Path, depth: int) -> list[Holding]:
    """What a folder holds, or the folders in it, newest release first."""
    try:
        if (path / RELEASE_JSON).is_file() and (path / "manifest").is_dir():
            return [ReleaseHolding(path)]
        top = path / "original" if (path / "original").is_dir() else path
        names = sorted(entry.name for entry in top.iterdir())
    except OSError as error:
        return [_Unread(path, f"cannot be read ({error.strerror})")]
    found: list[Holding] = [_tar_or_why_not(top / name) for name in names if _TAR.fullmatch(name)]
    found += (_Unread(top / name, f"cannot be read; {_FORMS}") for name in names if _OTHER_TAR.fullmatch(name))
    if not set(BUCKETS).isdisjoint(names):
        found.append(TreeHolding(top))
    if any(map(is_md5_name, names)):
        found.append(Md5Holding(top))
    if found or depth == 0:
        return found
    folders = (top / name for name in reversed(names) if name[0] != "." and _is_other_folder(top / name))
    return [holding for folder in folders for holding in _within(folder, depth - 1)]


def _tar_or_why_not(path: Path) -> Holding:
    """A tar by its name, if it is a file: whoever opens a pipe waits for ever, and a device need not end."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return _Unread(path, f"is a symbolic link that leads nowhere; {_FORMS}")
    except OSError as error:
        return _Unread(path, f"cannot be read ({error.strerror})")
    return TarHolding(path) if stat.S_ISREG(mode) else _Unread(path, f"is {kind_of(mode)} and no tar; {_FORMS}")


def _is_other_folder(path: Path) -> bool:
    """Whether a path is a folder, and not a second name of one beside it, like ``releases/current``."""
    try:
        return path.is_dir() and not (path.is_symlink() and path.resolve().parent == path.parent.resolve())
    except OSError:
        return True  # it is said when it is read

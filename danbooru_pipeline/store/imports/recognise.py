"""Recognises what a path holds that was given to an import."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.release_paths import RELEASE_JSON
from danbooru_pipeline.store.imports.candidates import Holding
from danbooru_pipeline.store.imports.folders import Md5Holding, TreeHolding
from danbooru_pipeline.store.imports.releases import ReleaseHolding
from danbooru_pipeline.store.imports.tars import TarHolding

_TAR: Final = re.compile(r".+\.tar(\.(gz|xz|bz2))?", re.IGNORECASE)


def open_holdings(paths: Iterable[Path]) -> list[Holding]:
    """Recognise what each path holds.

    Raises:
        StoreError: a path holds nothing that can be imported.
    """
    return [holding for path in paths for holding in _recognise(path)]


def _recognise(path: Path) -> list[Holding]:
    if path.is_file() and _TAR.fullmatch(path.name):
        return [TarHolding(path)]
    if not path.is_dir():
        raise StoreError(f"{path} is no folder and no tar; give a release, a tree, tars or a folder of files by MD5")
    if (path / RELEASE_JSON).is_file() and (path / "manifest").is_dir():
        return [ReleaseHolding(path)]
    top = path / "original" if (path / "original").is_dir() else path
    names = sorted(entry.name for entry in top.iterdir())
    found: list[Holding] = [TarHolding(top / name) for name in names if _TAR.fullmatch(name)]
    if not set(BUCKETS).isdisjoint(names):
        found.append(TreeHolding(top))
    if not found or _looks_like_md5(top, names):
        found.append(Md5Holding(top))
    return found


def _looks_like_md5(folder: Path, names: Iterable[str]) -> bool:
    return any(re.fullmatch(r"[0-9a-f]{2}|[0-9a-f]{32}\.\w+", name) for name in names if (folder / name).exists())
